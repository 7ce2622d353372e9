"""How many architectures an hour are trained, beside a plain loop, at equal epochs?

24 architectures (12 vision transformers) drawn uniformly, 500 real CIFAR-10 images, batches of 50,
and few epochs, so that validation has a larger share than by default; both sides train and
validate the same architectures, first one, then the other, in processes of their own.
"""

import statistics
from pathlib import Path
from typing import Any

import torch

import nasproxy
from benchmarks import plain
from benchmarks.results import Figure, of_rounds
from benchmarks.sides import Stopwatch, apart, photographs
from nasproxy.estimators.making import make_estimator
from nasproxy.system.machine import seeded
from nasproxy.training.recipe import PROXY_RECIPE, Recipe
from nasproxy.workers.local import Workers
from nasproxy.workers.task import Candidate, Task

SPACES = {
    "train-convnet": "convnet:widths=[16,32,64]",
    "train-nasbench201": "nasbench201:C=8,N=1",
    "train-inverted-residual": "inverted_residual",
    "train-vit": str(Path(__file__).parent / "vit.py"),
}
NUMBER_EPOCHS_ROUNDS = {  # of some minutes
    "train-convnet": (24, 12, 2),
    "train-nasbench201": (24, 3, 1),
    "train-inverted-residual": (24, 6, 2),
    "train-vit": (12, 12, 2),
}
TARGET = 1.6  # times the plain loop's architectures an hour


def measure(name: str, quick: bool, root: str) -> Figure:
    """Ratio of architectures an hour, ours over the plain loop's."""
    n, epochs, rounds = (8, 3, 1) if quick else NUMBER_EPOCHS_ROUNDS[name]
    ratios, ours, theirs = [], [], []
    for k in range(rounds):
        slow = apart(_plain, SPACES[name], n, epochs, k, root)
        fast = apart(_ours, SPACES[name], n, epochs, k, root)
        ratios.append(slow["seconds"] / fast["seconds"])
        ours += fast["accuracies"]
        theirs += slow["accuracies"]
    differences = [100 * (a - b) for a, b in zip(ours, theirs, strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5
    figure, _, spread = of_rounds(ratios)
    return Figure(
        name=name,
        figure=figure,
        target=TARGET,
        unit="times the plain loop's architectures an hour",
        better="more",
        n=n * rounds,
        spread=spread,
        note=(
            f"{Path(SPACES[name]).name}, {epochs} epochs of 500 images, {rounds} rounds of {n}; "
            f"{3600 * n / fast['seconds']:.0f} against {3600 * n / slow['seconds']:.0f} an hour; "
            f"validation accuracy ours - plain {statistics.fmean(differences):+.2f} "
            f"+- {error:.2f} points (standard error)"
        ),
    )


def _setting(space: str, n: int, seed: int, root: str) -> tuple[Any, ...]:
    data = photographs(root)
    made = nasproxy.load_space(space)
    proxy = nasproxy.condense(data, "random", ipc=50, seed=seed)
    return data, made, proxy, made.sample(n, seed, data.input_shape, data.num_classes)


def _plain(space: str, n: int, epochs: int, seed: int, root: str) -> dict[str, Any]:
    data, made, proxy, architectures = _setting(space, n, seed, root)
    watch, accuracies = Stopwatch(), []
    validation = data.normalisation(data.validation.images), data.validation.labels
    for architecture in architectures:
        torch.manual_seed(seed)
        network = made.build(architecture.choices, data.input_shape, data.num_classes)
        if hasattr(network, "blocks"):  # ours takes the pixels in the order of its own layout
            network.forward = lambda x, n=network: n.classifier(n.blocks(x).flatten(1))
        accuracies.append(
            plain.train(
                network,
                proxy.images,
                proxy.labels,
                validation,
                epochs,
                PROXY_RECIPE.batch_size,
                PROXY_RECIPE.lr,
            )
        )
    return {"seconds": watch.seconds, "accuracies": accuracies}


def _ours(space: str, n: int, epochs: int, seed: int, root: str) -> dict[str, Any]:
    data, made, proxy, architectures = _setting(space, n, seed, root)
    recipe = Recipe(**{**vars(PROXY_RECIPE), "epochs": epochs})
    with Workers() as workers:
        start(workers, data, proxy)
        watch = Stopwatch()
        study = nasproxy.rank(
            made, proxy, data=data, like=architectures, seed=seed, recipe=recipe, workers=workers
        )
        seconds = watch.seconds
    scores = {t.user_attrs["architecture"]: t.value or 0.0 for t in study.trials}
    return {"seconds": seconds, "accuracies": [scores[a.key] for a in architectures]}


def start(
    workers: Workers, data: nasproxy.Dataset, proxy: nasproxy.ProxySet, device: str = "cpu"
) -> None:
    """Have the worker processes started: what a study waits for once is not a rate."""
    estimator = make_estimator(proxy, data, Recipe(steps=1, batch_size=2), device)
    with seeded(0):
        candidate = Candidate("line", _Line(data))
    for _ in workers.outcomes(Task(estimator, candidate, 0) for _ in range(2 * workers.jobs)):
        pass


class _Line:
    def __init__(self, data: nasproxy.Dataset) -> None:
        self.size = data.train.images[0].numel(), data.num_classes

    def __call__(self) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(*self.size))
