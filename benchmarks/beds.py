"""Spaces whose every architecture has a known truth, for searches to be replayed on.

Of NAS-Bench-201 a published table has the truth; of 160 of its cells, and of the ConvNets, there
are proxy scores, too (`fidelity` and `cheap` made them).
"""

import csv
import gzip
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from benchmarks import results
from benchmarks.truth import FOLDER as TRUTHS
from nasproxy.errors import UserError
from nasproxy.searches.scoring import FREE
from search_spaces.nasbench201 import OPERATIONS

Array = NDArray[np.float64]
POOL = 2000
EARLY = 50  # cells, most of them promising by what is free, are trained for 12 epochs first
_SEEN = {  # of each data set: what one training shows, and what a training of 12 epochs does
    "cifar10": ("cifar10_test_acc_s1", "cifar10_test_acc_e12"),
    "cifar100": ("cifar100_valid_acc", "cifar100_valid_acc_e12"),
    "imagenet16": ("imagenet16_valid_acc", "imagenet16_valid_acc_e12"),
}
_SHORT = {"cifar10": "c10", "cifar100": "c100", "imagenet16": "im16"}
# the published seconds are of 12 epochs of 25,000 images of 32x32; of a training of 200 epochs
_FULL = {  # of 50,000, and of 151,700 of 16x16, whose pixels are a quarter
    "cifar10": 200 / 12 * 2,
    "cifar100": 200 / 12 * 2,
    "imagenet16": 200 / 12 * 151.7 / 25 / 4,
}


@dataclass(frozen=True)
class Bed:
    """Architectures, what is cheap to know of them, and their truth.

    Attributes:
        name: of the bed.
        params: of n architectures.
        free: rankings that need no training, by name, (n,) each.
        proxies: rankings by training, for a method each, (n,); NaN where not scored.
        proxy_cost: of a proxy's score, in full trainings.
        proxies_of: how many architectures have a proxy's score, most of them promising by what is
            free; None is all.
        seen: (n,) what one training shows, percent; minus infinity for what breaks.
        truth: (n,) mean test accuracy, percent.
        seconds: (n,) of one training, NaN where not known.
        same: (n,) architectures of the same number are one.
        size: of a pool that is drawn from it; None is all.
    """

    name: str
    params: Sequence[Mapping[str, Any]]
    free: Mapping[str, Array]
    proxies: Mapping[str, Array]
    proxy_cost: float
    proxies_of: int | None
    seen: Array
    truth: Array
    seconds: Array
    same: NDArray[np.int64]
    size: int | None = None

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Where each parameter came from."""
        names = self.params[0]
        values = {name: sorted({each[name] for each in self.params}) for name in names}
        return {name: CategoricalDistribution(values[name]) for name in names}

    def pool(self, seed: int) -> "Bed":
        """A pool of `size`, drawn uniformly, in which equal architectures are one."""
        order = np.random.default_rng(seed).permutation(len(self.params))
        first = np.sort(np.unique(self.same[order], return_index=True)[1])
        return self._those(order[first][: self.size])

    def shuffled(self, seed: int) -> "Bed":
        """The same with cheap scores that say nothing."""
        generator = np.random.default_rng(seed)
        free, proxies = (
            {name: generator.permutation(score) for name, score in scores.items()}
            for scores in (self.free, self.proxies)
        )
        return replace(self, free=free, proxies=proxies)

    def _those(self, index: NDArray[np.int64]) -> "Bed":
        return replace(
            self,
            params=[self.params[i] for i in index],
            free={name: score[index] for name, score in self.free.items()},
            proxies={name: score[index] for name, score in self.proxies.items()},
            seen=self.seen[index],
            truth=self.truth[index],
            seconds=self.seconds[index],
            same=self.same[index],
        )


def cells(data: str, nasbench: str, hardware: str) -> Bed:
    """NAS-Bench-201 on one of its three data sets: cifar10, cifar100 or imagenet16.

    Args:
        nasbench: the table of published accuracies and scores.
        hardware: the table of published seconds.
    """
    table, seconds = _read(nasbench), _read(hardware)
    short, (seen, early) = _SHORT[data], _SEEN[data]
    free = ["params_m", "flops_m", *(f"{s}_{short}" for s in ("synflow", "logsynflow", "naswot"))]
    free += [f"nregions_{short}"] if f"nregions_{short}" in table[0] else []
    of_arch = {row["arch"]: float(row["seconds_e12"]) for row in seconds}
    return Bed(
        name=f"nasbench201-{data}",
        params=[_operations(row["arch"]) for row in table],
        free={name: _column(table, name) for name in free},
        proxies={"early": _column(table, early)},
        proxy_cost=12 / 200,
        proxies_of=EARLY,
        seen=_column(table, seen),
        truth=_column(table, f"{data}_test_acc"),
        seconds=np.array([of_arch[row["arch"]] for row in table]) * _FULL[data],
        same=_column(table, "iso_class").astype(int),
        size=POOL,
    )


def scored_cells(nasbench: str, hardware: str) -> Bed:
    """The 160 cells that `fidelity` trained on 500 random images; equal ones are two there."""
    whole = cells("cifar10", nasbench, hardware)
    table = _read(results.FOLDER / "fidelity-nasbench201-cifar10-seed2033.csv")
    places = {tuple(each.values()): i for i, each in enumerate(whole.params)}
    index = np.array([places[tuple(_operations(row["arch"]).values())] for row in table])
    bed = whole._those(index)
    return replace(
        bed,
        name="nasbench201-cifar10-160",
        free={name: _column(table, name) for name in FREE},
        proxies={"random": _column(table, "random")},
        proxy_cost=0.0,  # 8 s of a core, of a small copy
        proxies_of=None,
        same=np.arange(len(index)),
        size=None,
    )


def convnets(data: str) -> Bed:
    """The 80 ConvNets of ``truth/``, with the scores that `cheap` made.

    Raises:
        UserError: there are none.
    """
    path = results.FOLDER / f"cheap-convnet-{data}.csv"
    if not path.is_file():
        raise UserError(f"no {path}: python -m benchmarks cheap --bed convnet-{data} makes it")
    truth = _read(TRUTHS / f"convnet-{data}.csv")
    scores = {row["arch"]: row for row in _read(path)}
    table = [scores[row["arch"]] for row in truth]
    seen = _column(truth, "test_acc_s1")
    return Bed(
        name=f"convnet-{data}",
        params=[_convnet(row["arch"]) for row in truth],
        free={name: _column(table, name) for name in FREE},
        proxies={
            name.replace("_", "-"): _column(table, name)
            for name in table[0]
            if re.fullmatch(r"(random|dm)_\d+", name)
        },
        proxy_cost=0.0,
        proxies_of=None,
        seen=np.where(np.isnan(seen), -np.inf, seen),
        truth=_column(truth, "test_acc"),
        seconds=_column(truth, "seconds"),
        same=np.arange(len(truth)),
    )


def _operations(arch: str) -> dict[str, str]:
    """Parameters of a cell's string."""
    names = re.findall(r"\|?([^|~+]+)~\d", arch)
    assert set(names) <= set(OPERATIONS)
    return {f"Op{i}": name for i, name in enumerate(names)}


def _convnet(arch: str) -> dict[str, Any]:
    """Parameters of a ConvNet's name, such as ``w16-d3-layer-relu-average``."""
    width, depth, norm, activation, pooling = arch.split("-")
    return {
        "width": int(width[1:]),
        "depth": int(depth[1:]),
        "norm": norm,
        "activation": activation,
        "pooling": pooling,
    }


def _read(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV, which may be compressed.

    Raises:
        UserError: it is not there.
    """
    if not Path(path).is_file():
        raise UserError(f"no such table: {path}")
    opened = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "rt") as file:
        return list(csv.DictReader(file))


def _column(table: Sequence[Mapping[str, str]], name: str) -> Array:
    return np.array([float(row[name] or "nan") for row in table])
