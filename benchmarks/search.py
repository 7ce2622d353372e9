"""How good is the best of so many full trainings, by who chooses them?

    python -m benchmarks search --nasbench TABLE --hardware TABLE

replays searches on beds whose truth is known (`benchmarks/beds.py`): a search sees one training of
what it chooses; what counts is the mean test accuracy of what it would hand over. The rows of
``--json`` have that as ``mean``; ``best_trained`` is the best by truth of all that it trained,
which nobody can know.
"""

import json as json_module
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from jsonargparse import auto_cli

from benchmarks.beds import Array, Bed, cells, convnets, scored_cells
from benchmarks.results import save, table
from benchmarks.searchers import SEARCHERS, SLOW, applies
from nasproxy.errors import UserError, nearest

TRAININGS = (5, 10, 20, 50, 100)
NEAR = 0.1  # points: what is so near the pool's best is as good
CHANCE = 10.0  # percent, of ten classes
DATA = ("cifar10", "cifar100", "imagenet16")
CONVNETS = ("cifar10", "fashion_mnist")
NASBENCH = "../shared/data/nasbench201.csv.gz"
HARDWARE = "../shared/data/nasbench201_hardware.csv.gz"
BEDS = (
    *(f"nasbench201-{data}{kind}" for kind in ("", "-whole", "-shuffled") for data in DATA),
    "nasbench201-cifar10-160",
    *(f"convnet-{data}{kind}" for kind in ("", "-shuffled") for data in CONVNETS),
)


def measure(
    beds: tuple[str, ...] = BEDS,
    methods: tuple[str, ...] = tuple(SEARCHERS),
    trainings: int = TRAININGS[-1],
    repetitions: int = 50,
    slow: int = 10,
    seed: int = 0,
    nasbench: str = NASBENCH,
    hardware: str = HARDWARE,
    name: str | None = None,
    json: bool = False,
) -> None:
    """Replay searches.

    Args:
        beds: some of those above.
        methods: who searches.
        trainings: of each search, at most.
        repetitions: of each search, each on a pool of its own; the pools are those of all methods.
        slow: repetitions, at most, of Optuna's samplers, which take seconds for each training.
        seed: of the first pool; the next ones are those of the next seeds.
        nasbench: the table of published accuracies.
        hardware: the table of published seconds.
        name: under which the results are kept; by default they are not.
        json: print JSON rows instead of tables.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    for kind, given, known in (("bed", beds, BEDS), ("method", methods, SEARCHERS)):
        for each in given:
            if each not in known:
                raise UserError(f"unknown {kind} {each!r}{nearest(each, known)}")
    rows: list[dict[str, Any]] = []
    start = time.perf_counter()
    asked = f"--seed {seed} --repetitions {repetitions} --slow {slow} --trainings {trainings}"
    for which in beds:
        bed = make_bed(which, nasbench, hardware)
        for method in methods:
            if not applies(method, bed):
                continue
            count = min(repetitions, slow) if method in SLOW else repetitions
            print(f"{which}: {method}", file=sys.stderr, flush=True)
            rows += _replayed(bed, which, method, trainings, range(seed, seed + count))
    if name:
        seconds = round(time.perf_counter() - start)
        about = {"command": f"python -m benchmarks search {asked}", "seconds": seconds}
        save(name, rows, about)
    if json:
        print(json_module.dumps(rows, allow_nan=False))
    else:
        print("\n\n".join(f"### {bed}\n\n{shown(rows, bed)}" for bed in beds))


def make_bed(name: str, nasbench: str = NASBENCH, hardware: str = HARDWARE) -> Bed:
    """One of `BEDS`."""
    space, data, *kind = name.split("-")
    if space == "convnet":
        return convnets(data)
    if kind == ["160"]:
        return scored_cells(nasbench, hardware)
    bed = cells(data, nasbench, hardware)
    return replace(bed, size=None) if kind == ["whole"] else bed


def _replayed(
    bed: Bed, name: str, method: str, trainings: int, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Rows of a method on a bed, one for so many trainings."""
    handed, best, hours, until, ceiling = [], [], [], [], []
    for seed in seeds:
        pool = bed.pool(seed)
        if name.endswith("-shuffled"):
            pool = pool.shuffled(seed)
        found = SEARCHERS[method](pool, seed, trainings)
        truth = np.where(np.isfinite(pool.truth), pool.truth, CHANCE)  # of what breaks
        handed.append(_padded(truth[found.handed], trainings))
        best.append(_padded(np.maximum.accumulate(truth[found.trained]), trainings))
        spent = found.seconds_before + np.nancumsum(pool.seconds[found.trained])
        hours.append(_padded(spent / 3600, trainings))
        ceiling.append(truth.max())
        near = np.flatnonzero(handed[-1] >= truth.max() - NEAR)
        until.append(near[0] + 1 if len(near) else np.inf)
    median = float(np.median(until))
    return [
        {
            "bed": name,
            "method": method,
            "trainings": count,
            "mean": _rounded(np.mean(handed, 0)[count - 1]),
            "std": _rounded(np.std(handed, 0)[count - 1]),
            "repetitions": len(seeds),
            "best_trained": _rounded(np.mean(best, 0)[count - 1]),
            "best_of_pool": _rounded(np.mean(ceiling)),
            "hours": _rounded(np.mean(hours, 0)[count - 1]),
            "trainings_until_near": int(median) if np.isfinite(median) else None,
        }
        for count in TRAININGS
        if count <= trainings
    ]


def _padded(curve: Array, length: int) -> Array:
    """A curve that stays where it ends: the pool was trained."""
    return np.concatenate([curve, np.full(length - len(curve), curve[-1])])


def _rounded(value: float) -> float:
    return round(float(value), 3)


def shown(rows: Sequence[dict[str, Any]], bed: str) -> str:
    """A bed's rows as a Markdown table, a line a method."""
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows if row["bed"] == bed):
        of_method = [row for row in rows if (row["bed"], row["method"]) == (bed, method)]
        at_20 = next((row for row in of_method if row["trainings"] == 20), of_method[-1])
        until = of_method[0]["trainings_until_near"]
        lines.append(
            {
                "method": method,
                **{str(r["trainings"]): f"{r['mean']:.2f} +- {r['std']:.2f}" for r in of_method},
                f"within {NEAR} of the best": until or f"> {of_method[-1]['trainings']}",
                "best trained of 20": f"{at_20['best_trained']:.2f}",
                "hours for 20": f"{at_20['hours']:.1f}",
                "n": of_method[0]["repetitions"],
            }
        )
    best = next(row["best_of_pool"] for row in rows if row["bed"] == bed)
    return f"{table(lines)}\n\nThe best of a pool has {best:.2f} in the mean."


def main(arguments: Sequence[str]) -> None:
    arguments = ["--json=true" if a == "--json" else a for a in arguments]
    auto_cli(measure, args=arguments, as_positional=False)
