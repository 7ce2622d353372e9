"""How a search went, training by training: what was expected, what came out, which scores counted.

It is worked out afterwards, from the trainings in their order: the same for a search that was
interrupted or shared.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nasproxy.searches.pool import Pool
from nasproxy.searches.sampler import Chooser
from nasproxy.searches.surrogate import Belief

_REFITS = 60  # of the surrogate, at most


def trace(chooser: Chooser, trained: Sequence[tuple[int, float, str]]) -> list[dict[str, Any]]:
    """One JSON value a training.

    Args:
        chooser: of the search.
        trained: index in the pool, truth (minus infinity if it broke) and what chose it, in order.

    Returns:
        For each ``architecture``, ``by``, ``seen`` (None if it broke), ``expected`` before it was
        trained (``median`` and ``interval``, which holds two thirds; None for the first), the
        ``scores``' say by then, ``best``, the truth of what would be handed over after it, and its
        ``cost`` if there is a second objective.
    """
    pool, truth, steps = chooser.pool, dict[int, float](), list[dict[str, Any]]()
    belief = chooser.believe(truth)
    every = math.ceil(len(trained) / _REFITS) or 1
    for number, (index, seen, by) in enumerate(trained):
        expected = _expected(belief, index) if truth else None
        scores = _scores(pool, belief)
        truth[index] = seen
        if number % every == 0 or number == len(trained) - 1:
            belief = chooser.believe(truth)
        steps.append({
            "architecture": pool.architectures[index].key,
            "by": by,
            "seen": seen if math.isfinite(seen) else None,
            "expected": expected,
            "scores": scores,
            "best": _best(belief, truth),
            **({} if pool.costs is None else {"cost": float(pool.costs[index])}),
        })  # fmt: skip
    return steps


def _expected(belief: Belief, index: int) -> dict[str, Any]:
    median, low, high = (float(values[index]) for values in belief.predict())
    return {"median": median, "interval": [low, high]}


def _scores(pool: Pool, belief: Belief) -> dict[str, float]:
    return dict(zip(pool.columns, map(float, belief.weights()), strict=True))


def _best(belief: Belief, truth: Mapping[int, float]) -> float | None:
    seen = truth[belief.best()]
    return seen if math.isfinite(seen) else None
