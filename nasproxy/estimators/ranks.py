"""Scores made of ranks: what counts is the order, not the unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy  # its parts are imported when they are used
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["free", "proxy"]  # whether a ranking needs no training, or one on little data


def combine(scores: Array, how: str = "log") -> Array:
    """One ranking out of several, by rank alone.

    Args:
        scores: (rankings, n); minus infinity ranks last.
        how: ``log`` sums log(rank / n), which a single bad rank weighs down (AZ-NAS, Lee and Ham,
            CVPR 2024, section 3.5); ``mean`` averages the ranks.

    Returns:
        (n,), higher is better.
    """
    ranks: Array = scipy.stats.rankdata(scores, axis=1)  # the worst has rank 1
    combined: Array = np.log(ranks / scores.shape[1]).sum(0) if how == "log" else ranks.mean(0)
    return combined


@dataclass(frozen=True)
class Part:
    """A ranking that makes one with others: of numbers by name, and its weight among them."""

    names: tuple[str, ...]
    weight: float = 1.0


def combine_parts(parts: Sequence[Part], numbers: Mapping[str, Array]) -> Array:
    """One ranking (n,) of weighted ones: the sum of the logarithms of their ranks, as `combine`.

    Args:
        parts: a part of several numbers is their combination, ranked again.
        numbers: (n,) by name; minus infinity ranks last.
    """
    rows = [combine(np.stack([numbers[name] for name in part.names])) for part in parts]
    ranks = scipy.stats.rankdata(np.stack(rows), axis=1) / len(rows[0])
    total: Array = np.array([part.weight for part in parts]) @ np.log(ranks)
    return total


def normal_scores(values: Sequence[float] | Array) -> Array:
    """Van der Waerden scores: the normal quantiles of the ranks (n,), ties averaged.

    Minus infinity ranks last; NaN, which stands for no score, stays.
    """
    found: Array = np.array(values, float)
    there = ~np.isnan(found)
    ranks = scipy.stats.rankdata(found[there])
    found[there] = scipy.stats.norm.ppf(ranks / (len(ranks) + 1))
    return found
