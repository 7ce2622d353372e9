"""What a search trains next, as long as there is something to be gained."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from optuna.trial import TrialState

from nasproxy.searches.job import Job
from nasproxy.searches.pool import Pool
from nasproxy.searches.result import AHEAD
from nasproxy.searches.sampler import Chooser
from nasproxy.searches.surrogate import Belief
from nasproxy.studies.ledger import Ledger
from nasproxy.studies.record import Record
from nasproxy.system.files import alone

_LEAST = 8  # trainings before a search may end early


class Picks:
    """Running trials of a search, chosen as workers come free.

    Attributes:
        chooser: that chooses them.
        ledger: of the study.
        ended: why there are no more, in words; empty as long as there are.
    """

    def __init__(self, job: Job, pool: Pool, chooser: Chooser, ledger: Ledger) -> None:
        self._job, self._pool, self.chooser, self.ledger = job, pool, chooser, ledger
        self._place = {a.key: i for i, a in enumerate(pool.architectures)}
        self.ended = ""

    def seen(self) -> tuple[dict[int, float], set[int]]:
        """What came out, by index in the pool, minus infinity if it broke; what is under way."""
        records = self._of_the_pool()
        truth = {self._place[r.key or ""]: _truth(r) for r in records if r.is_finished}
        return truth, {self._place[r.key or ""] for r in records if not r.is_finished}

    def trained(self) -> list[tuple[int, float, str]]:
        """Index in the pool, what came out and what chose it, in the order of the choices."""
        return [
            (self._place[r.key or ""], _truth(r), r.drawn or "")
            for r in self._of_the_pool()
            if r.is_finished
        ]

    def _of_the_pool(self) -> list[Record]:
        return [r for r in self.ledger.records() if r.counts and r.key in self._place]

    def records(self) -> Iterator[Record]:
        """Trials that nobody else is at, until the budget is spent or nothing is to be gained."""
        yield from self.ledger.learn()
        self.ended = ""  # others may have died since, and left something to do
        while not self.ended:
            # One driver at a time looks, decides and claims: all who share a search see the same
            # trainings when they decide that it is over.
            with alone(self._job.folder, "another search chooses", show=False):
                record = self._next()
            if record is not None:
                yield record

    def _next(self) -> Record | None:
        """A claim of what is worth the most; none if another has it, or if the search is over."""
        truth, pending = self.seen()
        belief = self.chooser.believe(truth)
        if self._is_over(belief, pending):
            return None
        pick = self.chooser.choose(belief, pending)
        if pick is None:
            self.ended = "the whole pool was trained"
            return None
        architecture = self._pool.architectures[pick.index]
        record = self.ledger.claim(replace(architecture, drawn=pick.by))
        return record if record is not None and self._is_within(record) else None

    def _is_within(self, record: Record) -> bool:
        """Whether a claim is not one too many, since other drivers claim, too; else it is gone."""
        claims = sorted(r.id for r in self._of_the_pool())
        if claims.index(record.id) < self._job.trainings:
            return True
        self.ledger.driver.end(record.id, TrialState.FAIL)
        return False

    def _is_over(self, belief: Belief, pending: set[int]) -> bool:
        job, trained = self._job, len(belief.known)
        spent = time.monotonic() - job.start
        if trained + len(pending) >= min(job.trainings, len(self._pool)):
            self.ended = "all trainings that were asked for are done"
            if job.trainings > len(self._pool):
                self.ended = "the whole pool was trained"
        elif job.seconds_in_all is not None and spent >= job.seconds_in_all:
            self.ended = "the time was over"
        elif trained >= _LEAST and not pending and belief.is_settled(AHEAD, _generator()):
            self.ended = "no more than the noise of a training was to be gained"
        return bool(self.ended)


def _truth(record: Record) -> float:
    return -math.inf if record.score is None else record.score


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)  # the same for the same, in any process
