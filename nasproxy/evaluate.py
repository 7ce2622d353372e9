"""How good a proxy set is to train on: test accuracy beside random real images."""

import statistics
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from nasproxy.condense import condense
from nasproxy.convnet import ConvNet
from nasproxy.data import Dataset
from nasproxy.errors import UserError
from nasproxy.estimators import TrainingEstimator, make_estimator
from nasproxy.estimators.base import Candidate
from nasproxy.progress import progress as progress_bar
from nasproxy.proxy import ProxySet
from nasproxy.runtime import check_seed
from nasproxy.train import PROXY_RECIPE, Recipe
from nasproxy.workers import Workers


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


def evaluate(
    proxy: ProxySet | str | Path,
    data: Dataset,
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
        proxy: the set or its file.
        data: that it was made from; its test images are what accuracy is measured on.
        networks: trained on each, from different seeds.
        width: channels of the ConvNet (paper: 128).
        recipe: for both (paper: 1,000 epochs at lr 0.01, schedule `step`, not Nesterov).
        seed: of the first network and the first random set.
        jobs: worker processes.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        progress: show progress on stderr.

    Raises:
        UserError: the set is of other data, or an argument is out of its range.
    """
    check_seed(seed)
    if networks < 1 or width < 1:
        raise UserError(f"expected 1 or more networks and width, got {networks} and {width}")
    proxy = proxy if isinstance(proxy, ProxySet) else ProxySet.load(proxy)
    ipc = max(1, len(proxy) // data.num_classes)
    with (
        Workers(jobs, device) as workers,
        progress_bar("evaluating", 2 * networks, show=progress) as bar,
    ):
        futures = []
        for k in range(seed, seed + networks):
            for images in (proxy, condense(data, "random", ipc=ipc, seed=k)):
                made = make_estimator(images, data, recipe, device)
                assert isinstance(made, TrainingEstimator)
                estimator = replace(made, validation=data.test)
                build = partial(ConvNet, estimator.input_shape, data.num_classes, width)
                candidate = Candidate(f"ConvNet {width}", build)
                futures.append(workers.submit(estimator, candidate, k))
        outcomes = []
        for future in futures:
            outcome = future.result()
            if isinstance(outcome, str):
                raise UserError(f"training on the set failed: {outcome}")
            outcomes.append(outcome["accuracy"])
            bar.update()
    return ProxyQuality(
        method=str(proxy.metadata["method"]),
        images=len(proxy),
        proxy=Accuracies(tuple(outcomes[::2])),
        random=Accuracies(tuple(outcomes[1::2])),
        width=width,
        recipe=recipe,
    )
