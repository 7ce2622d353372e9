"""What a report holds: plain data, of which words, tables and figures are made."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nasproxy.report.rankings import Ranking
from nasproxy.studies.reliability import Reliability
from nasproxy.studies.statistics import Array


@dataclass(frozen=True)
class Document:
    """Rankings beside the study named as truth.

    Attributes:
        truth: name of the study.
        truth_estimator: what gave its scores.
        metric: what the truth measures.
        n: architectures that the truth and all rankings have in common.
        drawn: how they were drawn: ``uniform``; ``all`` of the space, or the ``part`` of it that
            all sources have; ``table``, what tables have, however that came about; ``given``, some
            of them by hand.
        truth_seconds_per_architecture: mean, all seeds together; None when unknown.
        ceiling: Spearman of one truth training with another, ``{"seeds", "spearman",
            "spearman_top20"}``, and what a ranking without error would show with their mean,
            ``perfect_ranking``; None where the truth has one seed.
        rankings: in the order given, then the combined ones.
        pareto: architectures that no other beats in truth and cost, by cost: ``params``, ``macs``,
            ``latency`` (ms an image, measured in batches).
        provenance: identity, versions and hardware of the truth.
        points: per architecture its ``architecture`` (the key), its ``truth`` and its ``scores`` by
            ranking (None: no score), for figures.
        architectures: of each point its ``choices`` by name (empty if only tables have it), and
            its ``params``, ``macs`` and ``latency`` where known.
        broken: architectures that have no truth; they rank last.
        broken_why: the first of them broke, in words.
        regret_unit: of all regrets; empty for the truth's own unit.
        regret_factor: from the truth's own unit to it.
        truth_reliability: how far the truth agrees with itself; None of what trains nothing.
    """

    truth: str
    truth_estimator: str
    metric: str
    n: int
    drawn: str
    truth_seconds_per_architecture: float | None
    ceiling: dict[str, float | int | None] | None
    rankings: tuple[Ranking, ...]
    pareto: dict[str, list[dict[str, Any]]]
    provenance: dict[str, Any]
    points: tuple[dict[str, Any], ...]
    architectures: tuple[dict[str, Any], ...]
    broken: int = 0
    broken_why: str | None = None
    regret_unit: str = ""
    regret_factor: float = 1.0
    truth_reliability: Reliability | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with None for what is not defined."""
        return asdict(self)

    def truths(self) -> Array:
        """The truth (n,); minus infinity where there is none."""
        return _array([point["truth"] for point in self.points])

    def scores(self, name: str) -> Array:
        """Scores (n,) of a ranking; minus infinity where there is none.

        ``truth`` and the truth's own name give the truth, unless a ranking has that name.
        """
        if name in ("truth", self.truth) and all(r.study != name for r in self.rankings):
            return self.truths()
        return _array([point["scores"][name] for point in self.points])


def _array(values: list[float | None]) -> Array:
    return np.array([-math.inf if value is None else value for value in values], float)
