"""Cheap scores for a pool, in at most a quarter of the time that a search takes."""

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from nasproxy.errors import UserError
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.making import proxy_name
from nasproxy.estimators.training import TrainingEstimator
from nasproxy.proxies.checkpoint import checkpoint_beside
from nasproxy.proxies.methods import METHODS, condense
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.searches.job import Job
from nasproxy.searches.pool import Pool
from nasproxy.searches.scoring import FREE

CHEAP = 0.25  # of all time, at most, that goes into cheap scores
_SIZED = 60  # architectures whose sizes are looked at
_TIMED = (0.5, 0.8, 0.97)  # their quantiles at which time is taken: the large are promising
_LEAST_ON_PROXY = 10  # architectures; fewer are not worth a proxy set


def score_within_budget(job: Job, pool: Pool, scores: Sequence[str], method: str, ipc: int) -> None:
    """Score the pool by what is free, and the promising of it on a proxy set.

    Once a training has begun it is left as it is: what was chosen was chosen by these scores.

    Args:
        job: of the search.
        pool: to be scored, and kept in ``pool.csv``.
        scores: as `rank` takes them; without any, the free ones that there is time for.
        method: of the proxy set, a proxy file or ``none``; without data there is none either.
        ipc: images per class of the proxy set.
    """
    path, data = job.folder / "pool.csv", job.scoring.data
    if (job.folder / "study.db").is_file() and pool.columns:
        job.seconds.update(free=0.0, proxy=0.0)
        return
    clock = _Clock(job, pool)
    cheap = _seconds_for_cheap(job, clock)
    start = time.monotonic()
    if scores:
        job.scoring.add(pool, scores)
    elif data is not None:
        share = cheap if method == "none" else cheap / 2
        _score_by_what_is_free(job, pool, clock, start + share)
    pool.save(path)
    job.seconds["free"] = time.monotonic() - start
    if data is not None and method != "none":
        left = cheap - job.seconds["free"]
        _score_on_proxy(job, pool, clock, method, ipc, left)
        pool.save(path)
    job.seconds["proxy"] = time.monotonic() - start - job.seconds["free"]


class _Clock:
    """Tells what a score takes one worker, by some architectures of the pool, small to large."""

    def __init__(self, job: Job, pool: Pool) -> None:
        self._scoring, self._pool = job.scoring, pool

    @cached_property
    def _some(self) -> list[int]:
        few = np.random.default_rng(0).permutation(len(self._pool))[:_SIZED].tolist()
        sizes = self._pool.those(few)
        try:  # has the workers started, too
            self._scoring.add(sizes, ["flops"])
        except UserError:  # what none can be counted of: parameters always can
            self._scoring.add(sizes, ["params"])
        (work,) = sizes.columns.values()
        order = np.argsort(work)
        return sorted({few[order[int(at * len(few))]] for at in _TIMED})

    def seconds(self, estimator: Estimator) -> float:
        """Of one architecture, in the mean; of a training by a few of its updates."""
        if not isinstance(estimator, TrainingEstimator):
            return self._timed(estimator)
        recipe = estimator.recipe
        updates = recipe.steps or recipe.epochs * recipe.batches(len(estimator.images))
        few, more = min(4, updates), min(24, updates)
        short, longer = (
            self._timed(replace(estimator, recipe=replace(recipe, steps=steps)))
            for steps in (few, more)
        )
        return short + max(longer - short, 0.0) / max(more - few, 1) * (updates - few)

    def _timed(self, estimator: Estimator) -> float:
        start = time.monotonic()
        for i in self._some:  # one at a time: what one worker takes
            with contextlib.suppress(UserError):  # it broke: others may not
                self._scoring.score(self._pool, estimator, [i])
        return (time.monotonic() - start) / len(self._some)


def _seconds_for_cheap(job: Job, clock: _Clock) -> float:
    """How long cheap scores may take: a quarter of what the full trainings are expected to."""
    in_all = job.seconds_in_all or math.inf
    if isinstance(job.full, TrainingEstimator):
        each = clock.seconds(job.full)
        in_all = min(in_all, each * job.trainings / (1 - CHEAP) / job.scoring.workers.jobs)
        job.tell(f"one full training is expected to take {each:.0f} s")
    if math.isfinite(in_all):
        job.tell(f"cheap scores may take {CHEAP * in_all:.0f} s, a quarter of all")
    return CHEAP * in_all


def _score_by_what_is_free(job: Job, pool: Pool, clock: _Clock, until: float) -> None:
    """Sizes, and of `FREE` what there is time for, on the monotonic clock."""
    for by in FREE:
        if by in pool.columns:
            continue
        estimator = job.scoring.estimator(by)
        if estimator.seeded:  # sizes are always taken
            if time.monotonic() > until:
                job.tell(f"no time is left to score the pool by {by}")
                continue
            needed = clock.seconds(estimator) * len(pool) / job.scoring.workers.jobs
            if time.monotonic() + needed > until:
                job.tell(f"the pool is not scored by {by}: it would take {needed:.0f} s")
                continue
        try:
            pool.add(by, "free", job.scoring.score(pool, estimator))
        except UserError as error:  # nobody asked for this score
            job.tell(f"left out: {error}")
            continue
        pool.save(job.folder / "pool.csv")


def _score_on_proxy(
    job: Job, pool: Pool, clock: _Clock, method: str, ipc: int, left: float
) -> None:
    """Train the promising on a proxy set, as many as there are seconds left for."""
    proxy = None if left <= 0 else _proxy(job, method, ipc)
    if proxy is None or left <= (proxy.seconds or 0.0):
        job.tell("no time is left for a proxy set")
        return
    if (name := proxy_name(proxy)) in pool.columns:
        return
    left -= proxy.seconds or 0.0
    estimator = job.scoring.estimator(proxy)
    each = clock.seconds(estimator) / job.scoring.workers.jobs
    count = min(len(pool), int(min(left / each, 1e9)))
    if count < min(_LEAST_ON_PROXY, len(pool)):
        job.tell(f"no time is left to train {_LEAST_ON_PROXY} architectures on {name}")
        return
    job.tell(f"training {count} architectures on {name}, {each * count:.0f} s")
    index = pool.promising(count, job.scoring.seed)
    pool.add(name, "proxy", job.scoring.score(pool, estimator, index))


def _proxy(job: Job, method: str, ipc: int) -> ProxySet:
    """The proxy set of a method or a file, made once."""
    data, seed, show = job.scoring.data, job.scoring.seed, job.scoring.show
    assert data is not None
    if method.endswith(".safetensors"):
        return ProxySet.load(method)
    if method not in METHODS:
        raise UserError(f"expected {', '.join(METHODS)}, a proxy file or none, got {method!r}")
    path = job.folder / f"{method}-{ipc}.safetensors"
    if path.is_file():
        found = ProxySet.load(path)
        found.check_fits(data)
        return found
    kept = checkpoint_beside(path)
    made = condense(
        data, method, ipc=ipc, seed=seed, device=str(job.scoring.device), progress=show,
        checkpoint=kept,
    )  # fmt: skip
    made.save(path)
    return made
