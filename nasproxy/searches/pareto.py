"""Two objectives: the truth, the higher the better, and a cost that is known for all of a pool.

Costs are compared by their place in the pool, in (0, 1), so that parameters, milliseconds and
prices count alike. A front's hypervolume is the area that it dominates: over costs, up to the
pool's dearest, how far the best that is no dearer lies above a worst. The cost of a candidate is
known, so that its expected hypervolume improvement (Emmerich et al., 2011) is an integral over
costs of an expected improvement, a sum over the steps of the front.
"""

from collections.abc import Sequence

import numpy as np
import scipy  # its parts are imported when they are used
from numpy.typing import NDArray

from nasproxy.estimators.ranks import Array

Indices = NDArray[np.int64]


def places(costs: Array) -> Array:
    """Costs (n,) as their places in (0, 1), equal ones at their mean."""
    ranks: Array = scipy.stats.rankdata(costs)
    return (ranks - 0.5) / len(costs)


def front(truth: Array, costs: Array) -> Indices:
    """Indices of what nothing else is both as good and as cheap as, from the cheapest.

    Args:
        truth: (n,), higher is better; what isn't finite broke.
        costs: (n,).
    """
    order = np.lexsort((-truth, costs))
    order = order[np.isfinite(truth[order])]
    best = np.maximum.accumulate(np.concatenate([[-np.inf], truth[order]]))
    return order[truth[order] > best[:-1]]


def hypervolume(truth: Array, place: Array, worst: float) -> float:
    """The area above `worst` that architectures (k,) dominate, costs in (0, 1)."""
    steps = front(truth, place)
    widths = np.diff(np.append(place[steps], 1.0))
    return float((widths * np.maximum(truth[steps] - worst, 0.0)).sum())


def expected_improvement(
    mean: Array, std: Array, place: Array, taken: Sequence[int] | Indices, worst: float
) -> Array:
    """How much hypervolume each architecture is expected to add.

    Args:
        mean, std: (n,) of the truth as it is believed.
        place: (n,) of the costs.
        taken: indices of those that are trained or under way, which count at their mean.
        worst: see `hypervolume`.

    Returns:
        (n,), 0 or more.
    """
    taken = np.asarray(taken, int)
    steps = taken[front(mean[taken], place[taken])]
    starts = np.concatenate([[0.0], place[steps]])
    ends = np.append(place[steps], 1.0)
    levels = np.maximum(np.concatenate([[worst], mean[steps]]), worst)
    widths = np.clip(ends - np.maximum(starts, place[:, None]), 0.0, None)  # (n, steps + 1)
    away = (mean[:, None] - levels) / std[:, None]
    gains = std[:, None] * (away * scipy.stats.norm.cdf(away) + scipy.stats.norm.pdf(away))
    total: Array = (widths * gains).sum(1)
    return total
