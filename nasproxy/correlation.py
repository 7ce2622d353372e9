"""Rank statistics: pure functions on arrays of scores, higher is better.

Minus infinity is a legal score: it stands for an architecture that could not be scored and
ranks last. Ties take their average rank.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
_CHUNK = 2**19  # numbers ranked at a time, so that 15,625 architectures take little memory


def spearman(a: Array, b: Array) -> float:
    """Spearman's rho; NaN with fewer than two points or where one side is constant."""
    return float(_row_correlation(_ranks(a[None]), _ranks(b[None]))[0]) if len(a) > 1 else np.nan


def kendall(a: Array, b: Array) -> float:
    """Kendall's tau-b; NaN as for `spearman`."""
    if len(a) < 2:
        return np.nan
    # ranks in place of values, because scipy takes no infinity
    return float(stats.kendalltau(_ranks(a[None])[0], _ranks(b[None])[0]).statistic)


def resample_count(n: int) -> int:
    """How many bootstrap resamples of n architectures are worth their time."""
    return 2000 if n <= 2000 else 500


def bootstrap_spearman(truth: Array, scores: Array, resamples: int, seed: int = 0) -> Array:
    """Spearman's rho of several rankings on the same resampled architectures.

    Args:
        truth: (n,).
        scores: (rankings, n).
        resamples: B, how often n architectures are drawn with replacement.
        seed: of the draws.

    Returns:
        (rankings, B); NaN where a resample is constant.
    """
    found = np.empty((len(scores), resamples))
    start = 0
    for index in _draws(len(truth), resamples, seed):
        of_truth = _ranks(truth[index])
        for row, score in enumerate(scores):
            rho = _row_correlation(of_truth, _ranks(score[index]))
            found[row, start : start + len(index)] = rho
        start += len(index)
    return found


def bootstrap_kendall(truth: Array, score: Array, resamples: int, seed: int = 0) -> Array:
    """Kendall's tau-b on the resamples of `bootstrap_spearman` with the same seed, (B,)."""
    return np.array(
        [
            kendall(truth[row], score[row])
            for index in _draws(len(truth), resamples, seed)
            for row in index
        ]
    )


def _draws(n: int, resamples: int, seed: int) -> list[NDArray[np.int64]]:
    """Indices (some, n) of resampled architectures, in chunks of bounded size."""
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(n, 1))
    sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
    return [generator.integers(n, size=(size, n)) for size in sizes]


def percentile_interval(samples: Array, level: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval, NaN resamples left out; (NaN, NaN) if all are."""
    kept = samples[~np.isnan(samples)]
    if not len(kept):
        return np.nan, np.nan
    tail = (1 - level) / 2
    low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)


def best_first(values: Array) -> NDArray[np.int64]:
    """Indices by falling value, ties in order of appearance."""
    return np.argsort(-values, kind="stable")


def top(values: Array, fraction: float) -> NDArray[np.int64]:
    """Indices of the best `fraction`, at least two, best first."""
    return best_first(values)[: max(2, round(fraction * len(values)))]


def regret(truth: Array, scores: Array) -> float:
    """Best truth minus the mean truth of those that share the best score, at least 0."""
    return float(truth.max() - truth[scores == scores.max()].mean())


def overlap(truth: Array, scores: Array, k: int) -> float:
    """Share in [0, 1] of the k best by truth that are among the k best by score."""
    return len(set(best_first(truth)[:k]) & set(best_first(scores)[:k])) / k


def best_rank(truth: Array, scores: Array, k: int) -> int:
    """Place by truth, 1 is best, of the best among the k first by score."""
    place = stats.rankdata(-truth, method="min")
    return int(place[best_first(scores)[:k]].min())


def combine(scores: Array, how: str = "log") -> Array:
    """One ranking out of several, by rank alone.

    Args:
        scores: (rankings, n).
        how: ``log`` sums log(rank / n), which a single bad rank weighs down (AZ-NAS, Lee and Ham,
            CVPR 2024, section 3.5); ``mean`` averages the ranks.

    Returns:
        (n,), higher is better.
    """
    ranks = _ranks(scores)  # the worst has rank 1
    combined: Array = np.log(ranks / scores.shape[1]).sum(0) if how == "log" else ranks.mean(0)
    return combined


def pareto_front(value: Array, cost: Array) -> NDArray[np.int64]:
    """Indices, by rising cost, of points that no other beats in both value and cost."""
    order = np.lexsort((-value, cost))
    best_before = np.maximum.accumulate(np.concatenate(([-np.inf], value[order][:-1])))
    return order[value[order] > best_before]


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
