"""Rank statistics: pure functions on arrays of scores, higher is better.

Minus infinity is a legal score: it stands for an architecture that could not be scored and
ranks last. Ties take their average rank.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
_CHUNK = 2**22  # numbers ranked at a time, so that 15,625 architectures take little memory


def spearman(a: Array, b: Array) -> float:
    """Spearman's rho; NaN with fewer than two points or where one side is constant."""
    return float(_row_correlation(_ranks(a[None]), _ranks(b[None]))[0]) if len(a) > 1 else np.nan


def kendall(a: Array, b: Array) -> float:
    """Kendall's tau-b; NaN as for `spearman`."""
    if len(a) < 2 or len(set(a)) == 1 or len(set(b)) == 1:
        return np.nan
    # ranks in place of values, because scipy takes no infinity
    return float(stats.kendalltau(_ranks(a[None])[0], _ranks(b[None])[0]).statistic)


def bootstrap_spearman(truth: Array, scores: Array, resamples: int = 2000, seed: int = 0) -> Array:
    """Spearman's rho of several rankings on the same resampled architectures.

    Args:
        truth: (n,).
        scores: (rankings, n).
        resamples: B, how often n architectures are drawn with replacement.
        seed: of the draws.

    Returns:
        (rankings, B); NaN where a resample is constant.
    """
    generator = np.random.default_rng(seed)
    n = len(truth)
    found = np.empty((len(scores), resamples))
    step = max(1, _CHUNK // max(n, 1))
    for start in range(0, resamples, step):
        index = generator.integers(n, size=(min(step, resamples - start), n))
        of_truth = _ranks(truth[index])
        for row, score in enumerate(scores):
            found[row, start : start + len(index)] = _row_correlation(
                of_truth, _ranks(score[index])
            )
    return found


def percentile_interval(samples: Array, level: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval, NaN resamples left out; (NaN, NaN) if all are."""
    kept = samples[~np.isnan(samples)]
    if not len(kept):
        return np.nan, np.nan
    tail = (1 - level) / 2
    low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)


def top(values: Array, fraction: float) -> NDArray[np.int64]:
    """Indices of the best `fraction` (at least two), best first; ties in order of appearance."""
    count = max(2, round(fraction * len(values)))
    return np.argsort(-values, kind="stable")[:count]


def regret(truth: Array, scores: Array) -> float:
    """Best truth minus the mean truth of those that share the best score, at least 0."""
    return float(truth.max() - truth[scores == scores.max()].mean())


def _ranks(rows: Array) -> Array:
    ranks: Array = stats.rankdata(rows, axis=1)
    return ranks


def _row_correlation(a: Array, b: Array) -> Array:
    """Pearson's correlation of each row of `a` with that of `b`; NaN where one is constant."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    scale = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        # a constant row's deviations are exactly 0, since ranks are halves of integers
        return np.where(scale > 0, np.clip((a * b).sum(1) / scale, -1, 1), np.nan)
