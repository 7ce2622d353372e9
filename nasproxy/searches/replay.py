"""What a search would have needed where every truth is known already."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasproxy.estimators.ranks import Array
from nasproxy.searches.pool import Pool
from nasproxy.searches.sampler import Chooser

_REPETITIONS = 5  # that differ in what is drawn blindly
_MOST = 200  # architectures; more would take a while


@dataclass(frozen=True)
class Needed:
    """Full trainings until the best is among those trained, in the mean.

    Attributes:
        search: of a search by the pool's rankings.
        random: of random search.
        among: architectures.
    """

    search: float
    random: float
    among: int

    def __str__(self) -> str:
        return (
            f"A search by these rankings would have trained the best of {self.among} within "
            f"{self.search:.1f} trainings, random search within {self.random:.1f}, in the mean."
        )


def trainings_needed(pool: Pool, truth: Sequence[float] | Array) -> Needed | None:
    """Replay searches on a pool; None where there is nothing to find, or too much to replay.

    Args:
        pool: with its rankings.
        truth: (n,), higher is better; minus infinity is what broke.
    """
    values = np.asarray(truth, float)
    best = values == values.max(initial=-np.inf)
    if not np.isfinite(values).any() or best.all() or len(values) > _MOST:
        return None
    found = [_until(best, Chooser(pool, seed), values) for seed in range(_REPETITIONS)]
    return Needed(float(np.mean(found)), (len(values) + 1) / (best.sum() + 1), len(values))


def _until(best: np.ndarray, chooser: Chooser, truth: Array) -> int:
    known: dict[int, float] = {}
    while True:
        pick = chooser.choose(chooser.believe(known), ())
        assert pick is not None  # one of the best is left
        known[pick.index] = float(truth[pick.index])
        if best[pick.index]:
            return len(known)
