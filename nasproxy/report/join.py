"""Sources joined on the architecture: what all of them have scored, side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasproxy.errors import UserError
from nasproxy.estimators.ranks import combine
from nasproxy.report.sources import COSTS, Entry, Source
from nasproxy.spaces.same import difference
from nasproxy.studies.statistics import (
    FEW,
    Array,
    finite,
    pareto_front,
    reliability_of_mean,
    spearman,
    tops,
)

LEAST = 3  # fewest architectures that a correlation is computed for


@dataclass(frozen=True)
class Column:
    """A source's scores of the compared architectures.

    Attributes:
        source: or what stands for a combination of several.
        scores: (n,), minus infinity for the broken.
        seconds: mean per architecture, all seeds together; None when unknown.
        broken: (n,), whether it could not be scored, of a combination by any of its parts.
        why: the first of them broke, in words.
    """

    source: Source
    scores: Array
    seconds: float | None
    broken: NDArray[np.bool_]
    why: str | None = None


class Join:
    """The architectures that may be compared, and each source's scores of them."""

    def __init__(self, truth: Source, rankings: Sequence[Source]) -> None:
        require_comparable(truth, rankings)
        self.sources = [truth, *rankings]
        self.keys = [k for k in truth.entries if all(k in s.entries for s in rankings)]
        if len(self.keys) < LEAST:
            raise UserError(
                f"studies {', '.join(s.name for s in self.sources)} have {len(self.keys)} "
                f"uniformly drawn architectures in common, {LEAST} is the least; score the same "
                "ones with --like"
            )
        self.entries = [[source.entries[key] for key in self.keys] for source in self.sources]
        self.truth, *self.columns = (
            _column(source, self.keys, entries)
            for source, entries in zip(self.sources, self.entries, strict=True)
        )

    @property
    def drawn(self) -> str:
        """How the architectures were drawn, by the studies; see `Document`."""
        drawn = {entry.drawn for entries in self.entries for entry in entries}
        if drawn == {"table"}:
            return "table"
        if "given" in drawn:
            return "given"
        if "uniform" in drawn:
            return "uniform"
        whole = [s for s in self.sources if any(e.drawn == "all" for e in s.entries.values())]
        n = len(self.keys)
        return "all" if all(len(s.entries) + s.missing == n for s in whole) else "part"

    def combined(self, names: Sequence[str], how: str) -> Column:
        """A column that combines the rankings of these names.

        Raises:
            UserError: a name is not among the rankings.
        """
        by_name = {column.source.name: column for column in self.columns}
        for name in names:
            if name not in by_name:
                raise UserError(f"can't combine {name!r}: it is not among {', '.join(by_name)}")
        parts = [by_name[name] for name in names]
        trained = list(
            {part.source.study: part for part in parts}.values()
        )  # once, however often read
        source = Source(
            name="+".join(names),
            study="+".join(names),
            metric="rank",
            estimator=f"{how}-rank of {', '.join(names)}",
            kind="combined",
            seeds=1,
            seconds_once=_sum([part.source.seconds_once for part in trained]),
            provenance={"combined": list(names), "how": how},
            entries={},
            relative=True,
        )
        scores = combine(np.stack([part.scores for part in parts]), how)
        broken = np.any([part.broken for part in parts], axis=0)
        return Column(source, scores, _sum([part.seconds for part in trained]), broken)

    def ceiling(self) -> dict[str, float | int | None] | None:
        """Spearman of one truth training with another, where the truth has several seeds."""
        seeds = self.sources[0].seeds
        pairs = list(combinations(np.array([entry.by_seed for entry in self.entries[0]]).T, 2))
        if not pairs:
            return None
        lots = tops(self.truth.scores, 0.2)
        rho = float(np.mean([spearman(a, b) for a, b in pairs]))
        among_best = float(np.mean([spearman(a[i], b[i]) for a, b in pairs for i in lots]))
        of_mean = reliability_of_mean(rho, seeds) if rho > 0 else math.nan
        return {
            "seeds": seeds,
            "spearman": finite(rho),
            "spearman_top20": finite(among_best) if lots.shape[1] >= FEW else None,
            "perfect_ranking": finite(math.sqrt(of_mean) if of_mean > 0 else math.nan),
        }

    def costs(self) -> dict[str, Array]:
        """What architectures cost (n,), infinity where unknown, by cost.

        A cost is taken from the first source, the truth before the others, that recorded it.
        """
        space = self.sources[0].provenance.get("space")
        found = {}
        for cost in COSTS:
            for source, entries in zip(self.sources, self.entries, strict=True):
                if source.provenance.get("space") != space:
                    continue  # a small copy has another size
                if all(cost in entry.costs or math.isinf(entry.score) for entry in entries):
                    found[cost] = np.array([entry.costs.get(cost, math.inf) for entry in entries])
                    break
        return found

    def pareto(self) -> dict[str, list[dict[str, Any]]]:
        """Architectures that no other beats in truth and in a cost, by cost."""
        return {
            cost: [
                {"architecture": self.keys[i], cost: values[i], "truth": self.truth.scores[i]}
                for i in pareto_front(self.truth.scores, values)
                if math.isfinite(values[i])
            ]
            for cost, values in self.costs().items()
        }

    def architectures(self) -> list[dict[str, Any]]:
        """The choices of each architecture, empty if only tables have it, and its known costs."""
        none: dict[str, Any] = {}
        choices = [next((e.choices for e in row if e.choices), none) for row in zip(*self.entries)]
        costs = self.costs()
        return [
            {"choices": chosen} | {cost: finite(values[i]) for cost, values in costs.items()}
            for i, chosen in enumerate(choices)
        ]


def require_comparable(truth: Source, others: Sequence[Source]) -> None:
    """Make sure that rankings are of the truth's data and space, and that it is a truth.

    Raises:
        UserError: they are not.
    """
    if any(entry.stopped for entry in truth.entries.values()):
        raise UserError(f"{truth.name!r} was stopped early by a pruner: it is no truth")
    for other in others:
        mine, its = truth.provenance, other.provenance
        why = difference(mine, its)
        data = [about.get("dataset_digest") for about in (mine, its)]
        if None not in data and data[0] != data[1]:
            why = f"dataset_digest is {data[0]} and {data[1]}"
        if why:
            raise UserError(f"studies {truth.name!r} and {other.name!r} can't be compared: {why}")


def _column(source: Source, keys: Sequence[str], entries: Sequence[Entry]) -> Column:
    seconds = [e.seconds * source.seeds for e in entries if e.seconds is not None]
    scores = source.scores(keys)
    return Column(
        source,
        scores,
        sum(seconds) / len(seconds) if seconds else None,
        np.isneginf(scores),
        next((entry.why for entry in entries if entry.why), None),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
