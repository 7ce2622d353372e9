"""The figures of each ranking beside the truth."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from nasproxy.report.join import Column
from nasproxy.studies.reliability import Reliability
from nasproxy.studies.statistics import (
    FEW,
    Array,
    Interval,
    best_rank,
    bootstrap_kendall,
    bootstrap_spearman,
    chances,
    finite,
    interval,
    kendall,
    overlap,
    regret,
    resample_count,
    simultaneous,
    spearman,
    tops,
)

FRACTIONS = (0.2, 0.1, 0.05)  # shares of the best within which rankings are compared again
KS = (1, 5, 10)  # how many of a ranking's first might be trained in full


@dataclass(frozen=True)
class Subset:
    """The same figures among the best alone, where a search is decided.

    Attributes:
        by: ``truth`` or ``score``, whose best these are.
        fraction: of the architectures.
        n: how many that is.
    """

    by: str
    fraction: float
    n: int
    spearman: float | None
    spearman_ci: Interval
    kendall: float | None


@dataclass(frozen=True)
class AtK:
    """What training the ranking's first k in full finds, on the mean where equals share a place.

    Attributes:
        k: how many.
        overlap: share of the truth's first k that are among them.
        best_rank: place of the best of them by truth, 1 is first.
        regret: best truth minus the best truth among them, one that broke counting as the worst
            that did not; None if all that could be among them broke.
    """

    k: int
    overlap: float
    best_rank: float
    regret: float | None


@dataclass(frozen=True)
class Ranking:
    """One ranking beside the truth, over the architectures that all studies have.

    Attributes:
        study: its name.
        estimator: what gave the scores.
        kind: ``free``, ``proxy``, ``full``, ``table`` or ``combined``.
        n: architectures compared.
        broken: how many of them have no score here; they rank last.
        broken_why: the first of them broke, in words; None for a combination.
        relative: whether its scores are only defined among these architectures.
        spearman: rho with the truth, None where one side is constant; so for the others.
        spearman_ci: its 95% percentile bootstrap interval over architectures.
        spearman_ci_together: the same, wide enough to hold for all rankings at once.
        spearman_unbroken, spearman_unbroken_ci: rho and its interval without architectures that
            broke here or by truth; as above where none did.
        kendall, kendall_ci: tau-b with the truth, likewise.
        spearman_top20: rho among the 20% best by truth.
        subsets: the same among the best 20, 10 and 5%, by truth and by score.
        regret: best truth minus the truth of this ranking's first, in the report's `regret_unit`.
        first_broke: the chance that its first has no truth, 0 or 1 where it is alone in its place.
        at_k: what training its first 1, 5 and 10 in full finds.
        difference: rho minus that of each other ranking, by study name, with the interval from
            paired resamples, wide enough to hold for all pairs at once:
            {"value": ..., "ci": [lo, hi]}.
        seconds_per_architecture: mean over architectures, all seeds together.
        seconds_once: spent before any architecture (condensing), None when unknown.
        speedup: seconds per architecture of the truth over those of this ranking.
        break_even: architectures after which `seconds_once` has been earned back.
        reliability: how far its trainings agree with themselves; None of what trains nothing.
        provenance: what its study was made with: recipe, seeds, digests, versions, hardware.
    """

    study: str
    estimator: str
    kind: str
    n: int
    broken: int
    broken_why: str | None
    relative: bool
    spearman: float | None
    spearman_ci: Interval
    spearman_ci_together: Interval
    spearman_unbroken: float | None
    spearman_unbroken_ci: Interval
    kendall: float | None
    kendall_ci: Interval
    spearman_top20: float | None
    subsets: tuple[Subset, ...]
    regret: float | None
    first_broke: float
    at_k: tuple[AtK, ...]
    difference: dict[str, Any]
    seconds_per_architecture: float | None
    seconds_once: float | None
    speedup: float | None
    break_even: int | None
    reliability: Reliability | None
    provenance: dict[str, Any]


def rank_all(
    truth: Column, columns: Sequence[Column], seed: int, factor: float = 1.0
) -> tuple[Ranking, ...]:
    """The figures of every ranking, on the same resamples of architectures.

    Args:
        truth: what is ranked towards.
        columns: the rankings.
        seed: of the resamples.
        factor: that regrets are multiplied by; see `unit_of_regret`.
    """
    resamples = resample_count(len(truth.scores))
    resampled = bootstrap_spearman(
        truth.scores, np.stack([column.scores for column in columns]), resamples, seed
    )
    rhos = [spearman(truth.scores, column.scores) for column in columns]
    together = simultaneous(rhos, list(resampled))
    differences = _differences([c.source.name for c in columns], rhos, resampled)
    return tuple(
        _ranking(truth, column, (interval(resampled[i]), together[i]), differences[i], seed, factor)
        for i, column in enumerate(columns)
    )


def unit_of_regret(metric: str, truth: Array) -> tuple[float, str]:
    """What regrets are multiplied by, and the unit they have then.

    Accuracies are compared in percent points, whether they are fractions or percent; for anything
    else it is the truth's own unit, an empty text.
    """
    known = truth[np.isfinite(truth)]
    accuracy = re.search(r"(?<![a-z])acc(uracy|uracies|s)?(?![a-z])", metric.lower())
    if not accuracy or not len(known) or known.min() < 0 or known.max() > 100:
        return 1.0, ""
    return 100.0 if known.max() <= 1 else 1.0, "percent points"


def _differences(
    names: Sequence[str], rhos: Sequence[float], resampled: Array
) -> list[dict[str, Any]]:
    """Of each ranking to each other, by name; their intervals hold for all pairs at once."""
    pairs = list(combinations(range(len(names)), 2))
    values = [rhos[i] - rhos[j] for i, j in pairs]
    intervals = simultaneous(values, [resampled[i] - resampled[j] for i, j in pairs])
    found: list[dict[str, Any]] = [{} for _ in names]
    for (i, j), value, (low, high) in zip(pairs, values, intervals, strict=True):
        back = (None, None) if low is None or high is None else (-high, -low)
        found[i][names[j]] = {"value": finite(value), "ci": (low, high)}
        found[j][names[i]] = {"value": finite(-value), "ci": back}
    return found


def _ranking(
    truth: Column,
    column: Column,
    intervals: tuple[Interval, Interval],
    difference: dict[str, Any],
    seed: int,
    factor: float,
) -> Ranking:
    t, s = truth.scores, column.scores
    subsets = tuple(_subset(t, s, by, f, seed) for by in ("truth", "score") for f in FRACTIONS)
    few = max(100, resample_count(len(t)) * 250 // max(len(t), 250))  # tau is slow on many
    speedup = break_even = None
    if column.seconds and truth.seconds:
        speedup = truth.seconds / column.seconds
        if column.source.seconds_once is not None and truth.seconds > column.seconds:
            break_even = math.ceil(column.source.seconds_once / (truth.seconds - column.seconds))
    whole = ~(truth.broken | column.broken)
    unbroken, unbroken_ci = finite(spearman(t, s)), intervals[0]
    if not whole.all():
        unbroken, unbroken_ci = _correlation(t[whole], s[whole], seed)
    return Ranking(
        study=column.source.name,
        estimator=column.source.estimator,
        kind=column.source.kind,
        n=len(t),
        broken=int(column.broken.sum()),
        broken_why=column.why,
        relative=column.source.relative,
        spearman=finite(spearman(t, s)),
        spearman_ci=intervals[0],
        spearman_ci_together=intervals[1],
        spearman_unbroken=unbroken,
        spearman_unbroken_ci=unbroken_ci,
        kendall=finite(kendall(t, s)),
        kendall_ci=interval(bootstrap_kendall(t, s, few, seed)),
        spearman_top20=subsets[0].spearman,
        subsets=subsets,
        regret=finite(factor * regret(t, s)),
        first_broke=float(chances(s, 1) @ truth.broken),
        at_k=tuple(
            AtK(k, overlap(t, s, k), best_rank(t, s, k), finite(factor * regret(t, s, k)))
            for k in KS
            if k <= len(t)
        ),
        difference=difference,
        seconds_per_architecture=column.seconds,
        seconds_once=column.source.seconds_once,
        speedup=speedup,
        break_even=break_even,
        reliability=column.source.reliability,
        provenance=column.source.provenance,
    )


def _correlation(truth: Array, scores: Array, seed: int) -> tuple[float | None, Interval]:
    """Spearman's rho and its interval; None of fewer than `FEW`."""
    if len(truth) < FEW:
        return None, (None, None)
    samples = bootstrap_spearman(truth, scores[None], resample_count(len(truth)), seed)[0]
    return finite(spearman(truth, scores)), interval(samples)


def _subset(truth: Array, scores: Array, by: str, fraction: float, seed: int) -> Subset:
    lots = tops(truth if by == "truth" else scores, fraction, seed=seed)
    m, k = lots.shape
    if k < FEW:  # it would be a figure of two or three architectures
        return Subset(by, fraction, k, None, (None, None), None)
    some = -(-resample_count(k) // m)
    samples = [
        bootstrap_spearman(truth[i], scores[i][None], some, seed + n)[0] for n, i in enumerate(lots)
    ]
    rho = float(np.mean([spearman(truth[i], scores[i]) for i in lots]))
    tau = float(np.mean([kendall(truth[i], scores[i]) for i in lots]))
    return Subset(by, fraction, k, finite(rho), interval(np.concatenate(samples)), finite(tau))
