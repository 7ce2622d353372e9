"""How far a ranking agrees with itself: what can be known of it without any truth.

Two questions. Does another training of the same networks give the same ranking? What chance does
to it bounds its correlation with anything: by the correction for attenuation (Spearman, 1904) a
ranking of reliability r shows at most sqrt(r). And was it done when it stopped? A ranking that
still changed in the second half of the updates would have changed in twice as many, too.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import optuna

from nasproxy.estimators.training import HALF, score_of
from nasproxy.studies.identity import reading_of
from nasproxy.studies.record import Ending, Record, read_records
from nasproxy.studies.statistics import (
    Array,
    Interval,
    bootstrap_spearman,
    finite,
    interval,
    reliability_of_mean,
    resample_count,
    spearman,
)

FEWEST = 5  # architectures that a figure is given for
JUDGED = 10  # and from which it is judged: of fewer, chance alone may turn the order round
SETTLED = 0.7  # least agreement of halves; a guess (docs/LOG.md, 2026-11-29)
LEARNT = 0.5  # least share of networks that learnt anything


@dataclass(frozen=True)
class Agreement:
    """Spearman's rho of two rankings of the same networks, and its 95% bootstrap interval."""

    spearman: float | None
    ci: Interval


@dataclass(frozen=True)
class Reliability:
    """What a ranking by trainings says of itself.

    Attributes:
        n: networks that were trained to their end.
        seeds: trainings of each.
        of_seeds: one training of all against another, the mean of all pairs; None of one seed.
        ceiling: what a ranking of these means can show beside any truth that has no noise: the
            root of its reliability, by Spearman and Brown's formula; None of one seed.
        of_halves: the score after half of the updates against the score; None of trainings of a
            single pass, and of those of older versions.
        chance: validation accuracy of who always says the largest class; None when unknown.
        linear: that of ridge regression on what was trained on; None when unknown.
        above_chance, above_linear: share of networks with more than that; None when unknown.
        is_settled: whether the trainings were long enough to rank by; None when unknown.
    """

    n: int
    seeds: int
    of_seeds: Agreement | None
    ceiling: float | None
    of_halves: Agreement | None
    chance: float | None
    linear: float | None
    above_chance: float | None
    above_linear: float | None
    is_settled: bool | None

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with None for what is not known."""
        return asdict(self)

    def in_words(self, name: str, with_seeds: bool = True) -> list[str]:
        """A sentence of each thing that is known, what is wrong first; of seeds, if asked for."""
        said, learnt, halves = [], "", ""
        if self.above_chance is not None and self.above_chance < LEARNT:
            learnt = f"{self.above_chance:.0%} of its networks learnt anything"
        if self.of_halves and self.of_halves.spearman is not None:
            halves = f"{_shown(self.of_halves)} between half and all of the updates"
        if self.is_settled is False:
            why = "; ".join(filter(None, (learnt, halves)))
            cure = "Train for more updates (steps, epochs, doublings)."
            said.append(f"{name} is not settled: {why}. {cure}")
        elif halves:
            said.append(f"{name}: {halves}.")
        if with_seeds and self.of_seeds and self.of_seeds.spearman is not None:
            most = "" if self.ceiling is None else f"; no truth agrees beyond {self.ceiling:.2f}"
            said.append(f"{name}: {_shown(self.of_seeds)} between two seeds{most}.")
        if self.linear is not None and self.above_linear is not None:
            said.append(
                f"{name}: {self.above_linear:.0%} of its networks do better than a linear "
                f"classifier of the same images, {self.linear:.3f}."
            )
        return said


def reliability_of(study: optuna.Study, read: str | None = None) -> Reliability | None:
    """The reliability of a study of trainings; None of another, or of too few.

    Args:
        study: of our making.
        read: by what its trainings are read; None is the study's own reading.
    """
    attributes = study.user_attrs
    if attributes.get("kind") not in ("proxy", "full"):
        return None
    records = [r for r in read_records(study) if r.ending is Ending.SCORED and r.twin is None]
    if len(records) < FEWEST:
        return None
    read = read or reading_of(study) or "accuracy"
    seeds = int(attributes.get("seeds", 1))
    of_seeds = _of_seeds(records, read, seeds)
    accuracies = np.array([r.numbers.get("accuracy", math.nan) for r in records])

    def above(name: str) -> tuple[float | None, float | None]:
        floor = attributes.get(name)
        return floor, None if floor is None else float(np.mean(accuracies > floor))

    chance, above_chance = above("chance")
    linear, above_linear = above("linear_accuracy")
    of_halves = _of_halves(records, read)
    return Reliability(
        n=len(records),
        seeds=seeds,
        of_seeds=of_seeds,
        ceiling=None if of_seeds is None else _ceiling(of_seeds.spearman, seeds),
        of_halves=of_halves,
        chance=chance,
        linear=linear,
        above_chance=above_chance,
        above_linear=above_linear,
        is_settled=_is_settled(len(records), above_chance, of_halves),
    )


def _is_settled(n: int, above_chance: float | None, of_halves: Agreement | None) -> bool | None:
    if above_chance is not None and above_chance < LEARNT:
        return False  # of however many
    if of_halves is None or of_halves.spearman is None or n < JUDGED:
        return None
    return of_halves.spearman >= SETTLED


def _of_halves(records: Sequence[Record], read: str) -> Agreement | None:
    pairs = []
    for record in records:
        halves = {
            name.removesuffix(HALF): v for name, v in record.numbers.items() if name.endswith(HALF)
        }
        half, end = score_of(halves, read), score_of(record.numbers, read)
        if half is not None and end is not None:
            pairs.append((half, end))
    if len(pairs) < FEWEST:
        return None
    half, end = np.array(pairs, float).T
    return _agreement([(half, end)])


def _of_seeds(records: Sequence[Record], read: str, seeds: int) -> Agreement | None:
    rows = []
    for record in records:
        by_seed: list[Any] = [record.of_seed(k) or {} for k in range(seeds)]
        scores = [score_of(numbers, read) for numbers in by_seed]
        if None not in scores:
            rows.append(scores)
    if seeds < 2 or len(rows) < FEWEST:
        return None
    return _agreement(list(combinations(np.array(rows, float).T, 2)))


def _agreement(pairs: Sequence[tuple[Array, Array]]) -> Agreement:
    """The mean over pairs, with an interval from the same resampled architectures for all."""
    resamples = resample_count(len(pairs[0][0]))
    samples = [bootstrap_spearman(a, b[None], resamples)[0] for a, b in pairs]
    rho = float(np.mean([spearman(a, b) for a, b in pairs]))
    return Agreement(finite(rho), interval(np.mean(samples, axis=0)))


def _ceiling(rho: float | None, seeds: int) -> float | None:
    if rho is None:
        return None
    return math.sqrt(reliability_of_mean(rho, seeds)) if rho > 0 else 0.0


def _shown(found: Agreement) -> str:
    low, high = found.ci
    ends = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"Spearman {found.spearman:.2f}{ends}"
