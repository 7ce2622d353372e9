"""How many of the paper's 720 ConvNets an hour does a GPU train, beside a plain loop on it?

500 real CIFAR-10 images, batches of 50. Several networks are trained at once, by several processes
on the one GPU; the best number of them is the figure, all are in the note. It is made to run
unattended in less than ten minutes.
"""

import torch

import nasproxy
from benchmarks import plain
from benchmarks.results import Figure
from benchmarks.sides import Stopwatch, apart, photographs
from benchmarks.train import start
from nasproxy.system.machine import cores
from nasproxy.training.recipe import PROXY_RECIPE, Recipe
from nasproxy.workers.local import Workers

SPACE = "convnet"
TARGET = 10.0  # times the plain loop's architectures an hour
JOBS = (1, 2, 4, 8, 12)


def measure(name: str, quick: bool, root: str) -> Figure:
    """Ratio of architectures an hour, with the best number of processes over the plain loop."""
    unit = "times the plain loop's architectures an hour"
    if not torch.cuda.is_available():
        why = "skipped: no CUDA device here"
        return Figure(name, None, TARGET, unit, "more", 0, None, why)
    few, many, epochs = (3, 12, 4) if quick else (12, 96, 40)
    slow = apart(_plain, few, epochs, root)
    rates = {}
    for jobs in JOBS:
        if jobs <= cores():
            n = min(many, few * max(2, jobs))
            rates[jobs] = apart(_ours, n, epochs, jobs, root)
    best = max(rates, key=lambda jobs: rates[jobs])
    by_jobs = ", ".join(f"{jobs}: {3600 * rate:.0f}" for jobs, rate in rates.items())
    return Figure(
        name=name,
        figure=rates[best] / slow,
        target=TARGET,
        unit=unit,
        better="more",
        n=few,
        spread=None,
        note=(
            f"{SPACE}, {epochs} epochs of 500 images on {torch.cuda.get_device_name()}; an hour: "
            f"plain {3600 * slow:.0f}, ours by processes {by_jobs}; all 720 at "
            f"{PROXY_RECIPE.epochs} epochs would take "
            f"{720 / rates[best] * PROXY_RECIPE.epochs / epochs / 60:.0f} minutes"
        ),
    )


def _setting(n: int, root: str):
    data = photographs(root)
    space = nasproxy.load_space(SPACE)
    proxy = nasproxy.condense(data, "random", ipc=50)
    return data, space, proxy, space.sample(n, 0, data.input_shape, data.num_classes)


def _plain(n: int, epochs: int, root: str) -> float:
    """Architectures a second."""
    data, space, proxy, architectures = _setting(n, root)
    validation = data.normalisation(data.validation.images), data.validation.labels
    watch = Stopwatch()
    for architecture in architectures:
        network = space.build(architecture.choices, data.input_shape, data.num_classes)
        plain.train(
            network.cuda(),
            proxy.images,
            proxy.labels,
            validation,
            epochs,
            PROXY_RECIPE.batch_size,
            PROXY_RECIPE.lr,
        )
    return n / watch.seconds


def _ours(n: int, epochs: int, jobs: int, root: str) -> float:
    """Architectures a second, once the processes have started."""
    data, space, proxy, architectures = _setting(n, root)
    recipe = Recipe(**{**vars(PROXY_RECIPE), "epochs": epochs})
    with Workers(jobs, "cuda") as workers:
        start(workers, data, proxy, "cuda")
        watch = Stopwatch()
        nasproxy.rank(
            space, proxy, data=data, like=architectures, recipe=recipe, workers=workers,
            device="cuda",
        )  # fmt: skip
        return n / watch.seconds
