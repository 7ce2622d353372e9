"""``python -m benchmarks [NAME ...] [--quick] [--json] [--root DIR]``: is it as fast as it must be?

Without a name, all of `SPEED` are measured. ``python -m benchmarks table`` shows what was measured
last, of speed and of fidelity, as it stands in the README. Three studies have options of their own,
and are run by themselves: ``python -m benchmarks fidelity --help``, ``truth --help`` and
``proxy-quality --help``.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from benchmarks.draws import all_draws
from benchmarks.results import Figure, read, save, summary, table
from nasproxy.data.named import DEFAULT_ROOT
from nasproxy.errors import UserError

SPEED = {  # name: the module that measures it
    "condense-step": "condense",
    "condense-quality": "condense",
    "train-convnet": "train",
    "train-nasbench201": "train",
    "train-inverted-residual": "train",
    "train-vit": "train",
    "overhead": "overhead",
    "halving": "halving",
    "memory": "memory",
    "train-gpu": "train_gpu",
}
STUDIES = ("cheap", "fidelity", "reliability", "search", "truth", "proxy-quality")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is named and print it."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if given and given[0] in STUDIES:
            _module(given[0]).main(given[1:])
        elif given == ["table"]:
            print(summary(read(list(SPEED))), all_draws(), sep="\n\n")
        else:
            _speed(given)
    except UserError as error:
        sys.exit(f"benchmarks: error: {error}")


def _speed(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*SPEED, *STUDIES]))
    parser.add_argument("--quick", action="store_true", help="a smaller version, not kept")
    parser.add_argument("--json", action="store_true", help="one JSON list on stdout")
    parser.add_argument("--root", default=DEFAULT_ROOT, help="folder of CIFAR-10")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in SPEED:
            parser.error(f"unknown benchmark {name!r}: expected {', '.join(SPEED)}")
    figures = []
    for name in options.names or SPEED:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        figure: Figure = _module(SPEED[name]).measure(name, options.quick, options.root)
        figures.append(figure.to_dict())
        if not options.quick and figure.figure is not None:
            save(name, figures[-1:], {"command": f"python -m benchmarks {name}"})
    print(json.dumps(figures, allow_nan=False) if options.json else table(figures))


def _module(name: str):
    return importlib.import_module(f"benchmarks.{name.replace('-', '_')}")


if __name__ == "__main__":
    main()
