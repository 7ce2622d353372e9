"""Architectures as numbers, from what Optuna says of their parameters."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from nasproxy.estimators.ranks import Array


def encode(
    params: Sequence[Mapping[str, Any]],
    distributions: Sequence[Mapping[str, BaseDistribution]],
) -> Array:
    """Architectures as numbers: two that differ in one choice are at most 1 apart in it.

    Args:
        params: parameters of n architectures by name; a conditional one may be missing.
        distributions: where each came from, as Optuna says it; ranges may differ between trials.

    Returns:
        (n, d): a categorical parameter is a column a choice; a number is one column, its place in
        the range, logarithmic where the distribution is. A parameter is 0 where it is missing, and
        a number that some lack has a second column that says whether it is there.
    """
    columns = [np.empty((len(params), 0))]
    for name in sorted({name for each in params for name in each}):
        known = [each[name] for each in distributions if name in each]
        there = np.array([name in each for each in params])
        values = [each[name] for each in params if name in each]
        categorical = isinstance(known[0], CategoricalDistribution)
        block = (_one_hot if categorical else _scaled)(values, known)
        columns.append(np.zeros((len(params), block.shape[1])))
        columns[-1][there] = block
        if not categorical and not there.all():
            columns.append(there[:, None].astype(float))
    return np.concatenate(columns, 1)


def _one_hot(values: Sequence[Any], known: Sequence[Any]) -> Array:
    """(values, choices)."""
    # by how they are written, because True == 1 and a NaN is not itself
    choices = sorted({repr(choice) for each in known for choice in each.choices})
    rows = np.array([[repr(value) == choice for choice in choices] for value in values], float)
    scaled: Array = rows / math.sqrt(2)
    return scaled


def _scaled(values: Sequence[float], known: Sequence[Any]) -> Array:
    """(values, 1) in [0, 1]."""
    ends = min(each.low for each in known), max(each.high for each in known)
    shape: Callable[[Any], Any] = np.log if all(each.log for each in known) else np.asarray
    low, high = (float(shape(float(end))) for end in ends)
    if not high > low:
        return np.zeros((len(values), 1))
    place: Array = (shape(np.array(values, float)[:, None]) - low) / (high - low)
    return place
