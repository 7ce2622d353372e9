"""The architectures that a search chooses from, and what cheap rankings say of them."""

import csv
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nasproxy.errors import UserError
from nasproxy.estimators.ranks import Array, Kind, normal_scores
from nasproxy.spaces.space import Architecture, Space
from nasproxy.system.files import write_text

_LOOK = 30  # architectures that show how many a space holds


@dataclass
class Pool:
    """Distinct architectures that can be built, and their cheap scores.

    Attributes:
        architectures: in the order of the draw.
        columns: scores (n,) by name, higher is better; minus infinity is what broke, NaN what was
            not scored.
        kinds: of each column, ``free`` or ``proxy``.
        costs: (n,) of the second objective, lower is better; None without.
    """

    architectures: tuple[Architecture, ...]
    columns: dict[str, Array] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    costs: Array | None = None

    def __len__(self) -> int:
        return len(self.architectures)

    @property
    def scores(self) -> Array:
        """(rankings, n)."""
        return np.array(list(self.columns.values())).reshape(-1, len(self))

    def add(self, name: str, kind: Kind, scores: Array) -> None:
        """Take in a ranking (n,)."""
        self.columns[name], self.kinds[name] = scores, kind

    def promising(self, count: int, seed: int) -> list[int]:
        """Indices of `count` architectures for a proxy: four of five by the mean of the rankings.

        The others are drawn blindly, so that a space in which the free rankings mislead has some
        of what they dislike.
        """
        rows = [normal_scores(row) for row in self.columns.values()]
        mean = np.nanmean(np.array(rows), 0) if rows else np.zeros(len(self))
        order = np.argsort(-np.nan_to_num(mean, nan=-math.inf), kind="stable")
        best = order[: count - count // 5]
        rest = np.random.default_rng(seed).permutation(order[len(best) :])
        return [*best.tolist(), *rest[: count - len(best)].tolist()]

    def those(self, index: Sequence[int], costs: Array | None = None) -> "Pool":
        """Some of the architectures, not scored yet, with what each of all costs."""
        chosen = tuple(self.architectures[i] for i in index)
        return Pool(chosen, costs=None if costs is None else costs[list(index)])

    def save(self, path: Path) -> None:
        """Write a table: a row an architecture, a column a score, such as ``free_params``."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["arch", *(f"{kind}_{name}" for name, kind in self.kinds.items())])
        for i, architecture in enumerate(self.architectures):
            values = [column[i] for column in self.columns.values()]
            cells = ["" if math.isnan(value) else repr(float(value)) for value in values]
            writer.writerow([architecture.key, *cells])
        write_text(path, text.getvalue())

    def load(self, path: Path) -> None:
        """Take in what `save` wrote of the same architectures.

        Raises:
            UserError: the table is of others, or damaged.
        """
        try:
            header, *rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
            keys = [row[0] for row in rows]
            if keys != [architecture.key for architecture in self.architectures]:
                raise ValueError("it is of other architectures")
            for place, name in enumerate(header[1:], 1):
                kind, _, name = name.partition("_")
                if kind not in ("free", "proxy"):
                    raise ValueError(f"a column is called {name!r}")
                values = [float(row[place] or "nan") for row in rows]
                self.add(name, "free" if kind == "free" else "proxy", np.array(values))
        except (OSError, ValueError, IndexError, csv.Error) as error:
            raise UserError(f"{path}: not the pool of this search ({error})") from None


def check_pool(size: int) -> None:
    """Refuse a pool in which there is nothing to choose from.

    Raises:
        UserError: it is.
    """
    if size < 2:
        raise UserError(f"expected a pool of 2 or more, got {size}")


def draw_pool(
    space: Space, input_shape: tuple[int, int, int], num_classes: int, size: int, seed: int
) -> Pool:
    """Up to `size` architectures drawn uniformly, one of those that compute the same.

    Raises:
        UserError: none can be built.
    """
    drawn = _of_a_small_space(space, input_shape, num_classes, size, seed)
    if drawn is None:
        drawn = space.sample(size, seed, input_shape, num_classes)
    buildable = [architecture for architecture in drawn if architecture.error is None]
    distinct = {space.canonical(a.choices, a.distributions): a for a in reversed(buildable)}
    return Pool(tuple(reversed(distinct.values())))


def _of_a_small_space(
    space: Space, input_shape: tuple[int, int, int], num_classes: int, size: int, seed: int
) -> list[Architecture] | None:
    """The same, where all of a space are built sooner than the last are drawn; else None."""
    some = space.sample(min(size, _LOOK), seed, input_shape, num_classes)
    distributions = {name: d for a in some for name, d in a.distributions.items()}
    if math.prod(map(_choices, distributions.values())) > 2 * size:
        return None
    every = space.enumerate(input_shape, num_classes)
    found = list(itertools.islice(every, 2 * size + 1))
    if len(found) > 2 * size:  # some parameter had not shown itself
        return None
    order = np.random.default_rng(seed).permutation(len(found))
    drawn = [replace(found[i], drawn="uniform") for i in order]
    return [a for a in drawn if a.error is None][:size]  # some can be built: `sample` has found one


def _choices(distribution: BaseDistribution) -> float:
    """How many values a parameter has."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, FloatDistribution | IntDistribution) and distribution.step:
        return (distribution.high - distribution.low) // distribution.step + 1
    return math.inf
