"""Rank statistics: pure functions on arrays of scores, higher is better.

Minus infinity is a legal score: it stands for an architecture that could not be scored and
ranks last. Ties take their average rank, and where only some of them are among the first, each may
be: figures are means over all ways to draw lots. A score that is constant finds nothing.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy  # its parts are imported when they are used
from numpy.typing import NDArray

Array = NDArray[np.float64]
Interval = tuple[float | None, float | None]
FEW = 5  # fewest of the best that a figure is given for: it would be one of two or three
LOTS = 50  # draws of lots, where a tie is cut
_PAIRED = 2000  # architectures up to which all pairs are held at once
_CHUNK = 2**19  # numbers ranked at a time, so that 15,625 architectures take little memory


def spearman(a: Array, b: Array) -> float:
    """Spearman's rho; NaN with fewer than two points or where one side is constant."""
    return float(_row_correlation(_ranks(a[None]), _ranks(b[None]))[0]) if len(a) > 1 else np.nan


def kendall(a: Array, b: Array) -> float:
    """Kendall's tau-b; NaN as for `spearman`."""
    if len(a) < 2:
        return np.nan
    # ranks in place of values, because scipy takes no infinity
    return float(scipy.stats.kendalltau(_ranks(a[None])[0], _ranks(b[None])[0]).statistic)


def reliability_of_mean(rho: float, count: int) -> float:
    """Of the mean of `count` trainings that correlate at `rho`, above 0 (Spearman and Brown, 1910).

    Its root is what a ranking without any error of its own would show (attenuation).
    """
    return count * rho / (1 + (count - 1) * rho)


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
    rows = np.concatenate(_draws(len(truth), resamples, seed))
    if len(truth) > _PAIRED:
        return np.array([kendall(truth[row], score[row]) for row in rows])
    a, b = (_ranks(of[None])[0] for of in (truth, score))
    a, b = np.sign(a[:, None] - a), np.sign(b[:, None] - b)  # (n, n): which of two is the better
    times = np.stack([np.bincount(row, minlength=len(truth)) for row in rows]).astype(float)
    agree, of_a, of_b = (((times @ of) * times).sum(1) for of in (a * b, a * a, b * b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(of_a * of_b > 0, agree / np.sqrt(of_a * of_b), np.nan)


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


def interval(samples: Array) -> Interval:
    """The 95% interval, None where more than a tenth of the resamples are not defined."""
    if np.isnan(samples).mean() > 0.1:
        return None, None
    low, high = percentile_interval(samples)
    return finite(low), finite(high)


def finite(value: float) -> float | None:
    """None for what JSON has no number for."""
    return float(value) if math.isfinite(value) else None


def simultaneous(values: Sequence[float], samples: Sequence[Array]) -> list[Interval]:
    """95% intervals that hold together: in 95 of 100 reports all of them do.

    The percentile interval of each is widened about its value by as much as the largest of the
    studentised deviations of all (max-T; Westfall and Young, 1993) exceeds its own. Of one there
    is nothing to widen.

    Args:
        values: m estimates.
        samples: m times (B,), of each on the same resamples.

    Returns:
        An interval of each, as `interval` gives it.
    """
    largest = np.zeros(len(samples[0]) if len(samples) else 0)
    alone = [interval(of) for of in samples]
    quantiles = []
    for of, (low, _) in zip(samples, alone, strict=True):
        far = _deviations(of) if low is not None else np.zeros(len(of))
        largest = np.fmax(largest, far)
        quantiles.append(np.nanquantile(far, 0.95))
    together = np.quantile(largest, 0.95) if len(largest) else 0.0
    found: list[Interval] = []
    for value, (low, high), own in zip(values, alone, quantiles, strict=True):
        wider = together / own if own > 0 else 1.0
        if low is None or high is None:
            found.append((None, None))
        else:
            found.append((value - wider * (value - low), value + wider * (high - value)))
    return found


def _deviations(samples: Array) -> Array:
    """How far each of the samples (B,) is from their mean, in standard deviations; NaN stays."""
    scale = np.nanstd(samples)
    far: Array = np.abs(samples - np.nanmean(samples)) / (scale if scale > 1e-12 else np.inf)
    return far


def best_first(values: Array) -> NDArray[np.int64]:
    """Indices by falling value, ties in order of appearance: to list, not to judge by."""
    return np.argsort(-values, kind="stable")


def chances(values: Array, k: int) -> Array:
    """The chance (n,) of each to be among the first k by value, where lots are drawn for ties."""
    last = np.sort(values)[-k]
    tied = values == last
    found: Array = (values > last) + tied * (k - (values > last).sum()) / tied.sum()
    return found


def tops(values: Array, fraction: float, lots: int = LOTS, seed: int = 0) -> NDArray[np.int64]:
    """Indices (m, k) of the best `fraction`, at least two, in each of m draws of lots for ties.

    Where no tie is cut there is one row, best first.
    """
    k = min(len(values), max(2, round(fraction * len(values))))
    chance = chances(values, k)
    sure = best_first(np.where(chance == 1, values, -np.inf))[: (chance == 1).sum()]
    tied = np.flatnonzero((chance > 0) & (chance < 1))
    if not len(tied):
        return sure[None]
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(tied)[: k - len(sure)] for _ in range(lots)]
    return np.array([[*sure, *some] for some in drawn])


def top(values: Array, fraction: float) -> NDArray[np.int64]:
    """One of `tops`: indices of the best `fraction`, at least two."""
    one: NDArray[np.int64] = tops(values, fraction, 1)[0]
    return one


def regret(truth: Array, scores: Array, k: int = 1) -> float:
    """What training the first k by score in full is expected to lose to the best, at least 0.

    Lots are drawn for ties. One that broke by truth counts as the worst that did not; if all that
    could be among the first k broke, the regret is infinite. NaN if all broke.
    """
    if not np.isfinite(truth).any():
        return math.nan
    if np.isneginf(truth[chances(scores, k) > 0]).all():
        return math.inf
    return float(truth.max() - _expected_best(_trained(truth), scores, k))


def regret_curve(truth: Array, scores: Array) -> Array:
    """`regret` of the first k for k of 1 to n: (n,)."""
    if not np.isfinite(truth).any():
        return np.full(len(truth), np.nan)
    values, best = _trained(truth), np.empty(len(truth))
    order = best_first(scores)
    starts = np.flatnonzero(np.append(True, scores[order][1:] != scores[order][:-1]))
    floor = -math.inf
    for start, end in zip(starts, [*starts[1:], len(order)]):
        tied = np.maximum(np.sort(values[order[start:end]])[::-1], floor)
        best[start:end] = [_best_of(tied, draws) for draws in range(1, len(tied) + 1)]
        floor = tied[0]
    curve: Array = truth.max() - best
    first = np.isneginf(truth[order]).argmin()  # that did not break
    curve[: starts[starts <= first].max()] = math.inf
    return curve


def chance_regret(truth: Array) -> Array:
    """The expected regret of training k architectures drawn blindly, for k of 1 to n."""
    return regret_curve(truth, np.zeros(len(truth)))


def _trained(truth: Array) -> Array:
    """The truth (n,), where one that broke counts as the worst that did not."""
    return np.maximum(truth, truth[np.isfinite(truth)].min())


def _expected_best(values: Array, scores: Array, k: int) -> float:
    """The mean of the best value (n,) among the first k by score, over lots drawn for ties."""
    chance = chances(scores, k)
    sure, tied = values[chance == 1], np.sort(values[(chance > 0) & (chance < 1)])[::-1]
    floor = sure.max() if len(sure) else -math.inf
    return float(floor) if not len(tied) else _best_of(np.maximum(tied, floor), k - len(sure))


def _best_of(ordered: Array, draws: int) -> float:
    """The mean of the best of `draws` of values (n,), best first, drawn without replacement."""
    n = len(ordered)
    at = np.arange(min(n - draws + 1, 1 + 40 * n // draws))  # the best is further back: exp(-40)
    drawn = draws / (n - at)  # the chance of each, if none before it was
    missed = np.concatenate(([1.0], np.cumprod(1 - drawn[:-1])))
    return float((missed * drawn) @ ordered[at])


def places(scores: Array) -> Array:
    """Places in percent, 0 last and 100 first; equals share theirs."""
    return 100 * (_ranks(scores[None])[0] - 1) / max(len(scores) - 1, 1)


def overlap(truth: Array, scores: Array, k: int) -> float:
    """Share in [0, 1] of the k best by truth among the k best by score; lots drawn for ties."""
    return float(chances(truth, k) @ chances(scores, k)) / k


def best_rank(truth: Array, scores: Array, k: int) -> float:
    """Expected place by truth, 1 is best, of the best among the k first by score."""
    place = scipy.stats.rankdata(-truth, method="min")
    return -_expected_best(-place, scores, k)


def pareto_front(value: Array, cost: Array) -> NDArray[np.int64]:
    """Indices, by rising cost, of points that no other beats in both value and cost."""
    order = np.lexsort((-value, cost))
    best_before = np.maximum.accumulate(np.concatenate(([-np.inf], value[order][:-1])))
    return order[value[order] > best_before]


def _ranks(rows: Array) -> Array:
    ranks: Array = scipy.stats.rankdata(rows, axis=1)
    return ranks


def _row_correlation(a: Array, b: Array) -> Array:
    """Pearson's correlation of each row of `a` with that of `b`; NaN where one is constant."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    scale = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        # a constant row's deviations are exactly 0, since ranks are halves of integers
        return np.where(scale > 0, np.clip((a * b).sum(1) / scale, -1, 1), np.nan)
