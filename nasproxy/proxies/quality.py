"""How good a proxy set is to train on: test accuracy beside random real images."""

import statistics
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nasproxy.data.dataset import Dataset, as_dataset
from nasproxy.data.images import ImageSet
from nasproxy.errors import UserError
from nasproxy.proxies.methods import condense
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.system.machine import check_seed, seeded
from nasproxy.system.progress import progress as progress_bar
from nasproxy.training.convnet import ConvNet
from nasproxy.training.recipe import PROXY_RECIPE, Recipe
from nasproxy.training.training import Training, check_network, evaluate_network
from nasproxy.workers.local import Workers
from nasproxy.workers.task import Candidate, Failure, Scores, Task


@dataclass(frozen=True)
class Accuracies:
    """Test accuracies, as fractions, of networks trained from different seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """Standard deviation over the networks; 0 for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f}% +- {100 * self.std:.1f} (n={len(self.values)})"


@dataclass(frozen=True)
class ProxyQuality:
    """What `evaluate` found.

    Attributes:
        method: that made the set.
        images: in the set, and in each random one.
        proxy: of networks trained on the set.
        random: of networks trained on as many random real images, drawn anew for each.
        width: of the ConvNet.
        recipe: for both.
    """

    method: str
    images: int
    proxy: Accuracies
    random: Accuracies
    width: int
    recipe: Recipe

    def to_dict(self) -> dict[str, Any]:
        """JSON values; accuracies are fractions in [0, 1]."""
        sides = {
            name: {"accuracy": a.mean, "std": a.std, "n": len(a.values), "values": list(a.values)}
            for name, a in (("proxy", self.proxy), ("random", self.random))
        }
        about = {"method": self.method, "images": self.images, "width": self.width}
        return {**about, **sides, "recipe": self.recipe.to_dict()}

    def __str__(self) -> str:
        return (
            f"test accuracy of a ConvNet of width {self.width} trained on {self.images} images\n"
            f"  {self.method:<12} {self.proxy}\n"
            f"  {'random real':<12} {self.random}"
        )


@dataclass(frozen=True)
class _TrainedOn:
    """Test accuracy of a network after training on the set that the candidate's key names."""

    sets: dict[str, ImageSet]
    data: Dataset
    recipe: Recipe
    device: str

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        data, device = self.data, torch.device(self.device)
        prepare = replace(data.normalisation, shorter_side=self.recipe.image_size)
        images, test = self.sets[candidate.key].to(device), data.test.to(device)
        with seeded(seed):
            network = candidate.build().to(device)
            check_network(network, prepare(test.images[:2]), data.num_classes)
            training = Training(network, images, self.recipe, prepare, flip=data.flip, seed=seed)
            training.run()
        tested = evaluate_network(training.network, test, prepare, self.recipe.precision)
        return {"accuracy": tested.accuracy}


def evaluate(
    proxy: ProxySet | str | Path,
    data: Dataset | str,
    *,
    networks: int = 3,
    width: int = 64,
    recipe: Recipe = PROXY_RECIPE,
    seed: int = 0,
    jobs: int | None = None,
    device: str = "auto",
    progress: bool = False,
) -> ProxyQuality:
    """Train ConvNets on a proxy set and on random real images, alike, and test both.

    Args:
        proxy: a proxy set or its file.
        data: that it was made from, or its name; its test images are what accuracy is measured on.
        networks: trained on each, from different seeds.
        width: channels of the ConvNet (paper: 128).
        recipe: for both (paper: 1,000 epochs at lr 0.01, schedule `step`, not Nesterov).
        seed: of the first network and the first random set.
        jobs: worker processes; by default one a core, or one a GPU.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        progress: show progress on stderr.

    Raises:
        UserError: the set is of other data, or an argument is out of its range.
    """
    check_seed(seed)
    if networks < 1 or width < 1:
        raise UserError(f"expected 1 or more networks and width, got {networks} and {width}")
    data = as_dataset(data)
    proxy = proxy if isinstance(proxy, ProxySet) else ProxySet.load(proxy)
    proxy.check_fits(data)
    ipc = max(1, len(proxy) // data.num_classes)
    channels, *sides = data.input_shape
    shape = channels, *replace(data.normalisation, shorter_side=recipe.image_size).sides(*sides)
    build = partial(ConvNet, shape, data.num_classes, width)
    seeds = range(seed, seed + networks)
    sets = {f"random {k}": condense(data, "random", ipc=ipc, seed=k).image_set for k in seeds}
    sets["proxy"] = proxy.image_set
    with (
        Workers(jobs, device) as workers,
        progress_bar("evaluating", 2 * networks, show=progress) as bar,
    ):
        trained = _TrainedOn(sets, data, recipe, str(workers.place(device)))
        tasks = [
            Task(trained, Candidate(key, build), k)
            for k in seeds
            for key in ("proxy", f"random {k}")
        ]
        found = {}
        for task, outcome in workers.outcomes(tasks):
            if isinstance(outcome, Failure):
                raise UserError(f"training on the set failed: {outcome.reason}")
            found[task] = outcome["accuracy"]
            bar.update()
    accuracies = [found[task] for task in tasks]
    return ProxyQuality(
        method=proxy.provenance.method,
        images=len(proxy),
        proxy=Accuracies(tuple(accuracies[::2])),
        random=Accuracies(tuple(accuracies[1::2])),
        width=width,
        recipe=recipe,
    )
