"""What architectures cost: the second objective, and limits beyond parameters and FLOPs."""

import numpy as np

from nasproxy.errors import UserError
from nasproxy.estimators.making import parse_by
from nasproxy.estimators.ranks import Array
from nasproxy.searches.job import Job
from nasproxy.searches.pool import Pool
from nasproxy.training.recipe import LOWER

LATENCY = "latency"


def with_costs(job: Job, drawn: Pool, objective: str | None, max_latency: float | None) -> Pool:
    """Those of a pool that keep the limit, with what they cost by the objective.

    What was measured is kept in ``costs.csv``, so that a search that goes on has the same pool.

    Args:
        job: of the search.
        drawn: the pool.
        objective: as `rank` takes it: latency, params, flops, a table's column or a function, of
            which less is better; None is none.
        max_latency: in ms an image; None is no limit.

    Raises:
        UserError: nothing keeps the limit, or has a cost.
    """
    wanted = [] if objective is None else [objective]
    if max_latency is not None:
        wanted.append(LATENCY)
    if not wanted:
        return drawn
    measured, path = drawn.those(range(len(drawn))), job.folder / "costs.csv"
    if path.is_file():
        measured.load(path)
    for by in wanted:
        if by not in measured.columns:
            measured.add(by, "free", _costs(job, drawn, by))
            measured.save(path)
    keeps = np.ones(len(drawn), bool)
    if max_latency is not None:
        keeps &= measured.columns[LATENCY] <= max_latency
        if not keeps.any():
            fastest = np.nanmin(measured.columns[LATENCY])
            raise UserError(
                f"no architecture of the pool takes {max_latency:g} ms or less an image; the "
                f"fastest takes {fastest:.3g}"
            )
    costs = None if objective is None else measured.columns[objective]
    if costs is not None:
        keeps &= np.isfinite(costs)
        if len(np.unique(costs[keeps])) < 2:
            raise UserError(f"{objective} is the same for all: expected a cost that differs")
    if keeps.sum() < len(drawn):
        job.tell(f"{int(keeps.sum())} of them keep the limit and have a cost")
    return drawn.those(np.flatnonzero(keeps).tolist(), costs)


def _costs(job: Job, pool: Pool, by: str) -> Array:
    """(n,), lower is better; NaN for what has none."""
    meant = parse_by(by)
    sign = meant.column[:1] if meant.name == "table" else ""
    if meant.name == "table" and sign not in ("+", "-"):
        by = f"table:{meant.file}:+{meant.column}"
    scores = job.scoring.score(pool, job.scoring.estimator(by))
    # such a score is the negative of what was measured
    less_is_better = sign == "-" or by in LOWER or meant.options.get("read") in LOWER
    costs: Array = np.where(np.isfinite(scores), -scores if less_is_better else scores, np.nan)
    return costs
