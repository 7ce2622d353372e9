"""How well does a network do that is trained on a condensed set, beside random real images?

Test accuracy of a ConvNet of width 64 on all test images, for condensed sets from several seeds
with several networks each. ``--root`` holds the data sets (see `nasproxy.load_dataset`).
"""

import statistics

from jsonargparse import auto_cli

import nasproxy
from benchmarks.results import save, table
from nasproxy.data.named import DEFAULT_ROOT


def measure(
    data: list[str] = ["cifar10", "fashion_mnist"],  # noqa: B006 - read by jsonargparse
    root: str = DEFAULT_ROOT,
    method: str = "dm",
    ipc: int = 10,
    sets: int = 3,
    networks: int = 2,
) -> None:
    """Condense `sets` times, train `networks` networks on each and on random images."""
    rows = []
    for name in data:
        dataset = nasproxy.load_dataset(name, root)
        seconds, proxy, random = [], [], []
        for seed in range(sets):
            made = nasproxy.condense(dataset, method, ipc=ipc, seed=seed, progress=True)
            found = nasproxy.evaluate(
                made, dataset, networks=networks, seed=seed * networks, progress=True
            )
            seconds.append(made.seconds or 0.0)
            proxy += found.proxy.values
            random += found.random.values
        rows.append(
            {
                "data": name,
                "images per class": ipc,
                f"{method}, %": _percent(proxy),
                "random real, %": _percent(random),
                "networks": len(proxy),
                "seconds to condense": _spread(seconds),
            }
        )
        print(table(rows[-1:]), flush=True)
    about = {"command": "python -m benchmarks proxy-quality", "sets": sets, "recipe": found.recipe}
    save("proxy-quality", rows, {key: str(value) for key, value in about.items()})


def _percent(values: list[float]) -> str:
    return _spread([100 * value for value in values])


def _spread(values: list[float]) -> str:
    return f"{statistics.fmean(values):.1f} +- {statistics.stdev(values):.1f}"


def main(arguments: list[str]) -> None:
    auto_cli(measure, args=arguments, as_positional=False)
