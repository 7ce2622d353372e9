"""Architectures that have a score already: isomorphic ones, and those that a search came to."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nasproxy.estimators.training import score_of
from nasproxy.spaces.size import count_flops, count_params
from nasproxy.spaces.space import Architecture
from nasproxy.studies.identity import siblings
from nasproxy.studies.ledger import Ledger
from nasproxy.studies.record import TWIN, UNBIASED, Ending, Record, read_records
from nasproxy.system.machine import seeded
from nasproxy.workers.task import Failure, Outcome


@dataclass
class Twins:
    """Which architectures compute the same: one of them is scored, and the others get its score.

    Attributes:
        ledger: of the study.
        apart: whether each is scored nevertheless.
    """

    ledger: Ledger
    apart: bool
    _first: dict[str, str] = field(default_factory=dict)  # canonical name -> key
    _names: dict[str, str] = field(default_factory=dict)  # key -> canonical: it may take its time

    def learn(self) -> None:
        """Take in what the study holds."""
        for record in self.ledger.records():
            if record.key is None or not record.counts or record.ending is Ending.INVALID:
                continue
            if not record.is_finished or record.has_result:
                if record.key not in self._names:
                    self._names[record.key] = self._canonical(record)
                self._first.setdefault(self._names[record.key], record.key)

    def has_twin(self, architecture: Architecture) -> bool:
        """Whether an isomorphic architecture is, or is about to be, in the study."""
        if self.apart or not self.ledger.estimator.copies_twins or architecture.error is not None:
            return False
        canonical = self._canonical(architecture)
        return self._first.setdefault(canonical, architecture.key) != architecture.key

    def _canonical(self, one: Architecture | Record) -> str:
        return self.ledger.space.canonical(one.choices, one.distributions)

    def copy(self, architectures: Iterable[Architecture]) -> int:
        """Give architectures their twins' scores; how many: other drivers may be at some twins."""
        scored = {r.key: r for r in self.ledger.records() if r.has_result}
        copied = 0
        for architecture in architectures:
            key = self._first[self._canonical(architecture)]
            if key in scored:
                self._copy(architecture, key, scored[key])
                copied += 1
        return copied

    def _copy(self, architecture: Architecture, key: str, twin: Record) -> None:
        more: dict[str, float | str] = {TWIN: key}
        with seeded(0):  # its size is its own; nobody sees its weights
            network = self.ledger.candidate(architecture).build()
        if "params" in twin.numbers:
            more["params"] = float(count_params(network, self.ledger.input_shape))
        if "macs" in twin.numbers:
            more["macs"] = float(count_flops(network, self.ledger.input_shape))
        add_as(self.ledger, architecture, twin, more=more)


def add_as(
    ledger: Ledger,
    architecture: Architecture,
    other: Record,
    score: float | None = None,
    again: bool = False,
    more: Mapping[str, float | str] | None = None,
) -> None:
    """Record an architecture with what became of another trial.

    Args:
        ledger: where.
        architecture: what the trial is of.
        other: that has a result.
        score: instead of the other's.
        again: see `Ledger.finished`.
        more: attributes that it has of its own.
    """
    attributes: dict[str, Any] = {**other.numbers, **(more or {})}
    outcome: Outcome | None = None
    if other.ending is Ending.BROKEN:
        outcome = Failure(other.why or "")
    elif other.ending is Ending.STOPPED:
        attributes[Ending.STOPPED] = other.epochs
    else:
        outcome = {"score": (other.score or 0.0) if score is None else score}
    ledger.add([ledger.finished(architecture, outcome, attributes, other.by_epoch, again)])


def read_again(ledger: Ledger, plan: Iterable[Architecture], seeds: int) -> None:
    """Trainings that are stored in a study of another reading: no need to train again."""
    read = ledger.estimator.read
    if read is None:
        return
    for sibling in siblings(ledger.study):
        found = {r.key: r for r in read_records(sibling) if r.counts and r.has_result}
        for architecture in plan:
            record = found.get(architecture.key)
            if record is None or architecture.key in ledger.known or record.twin is not None:
                continue
            if record.ending is Ending.BROKEN:
                add_as(ledger, architecture, record)
            elif (again := _by(record, read, seeds)) is not None:
                add_as(ledger, architecture, *again)


def _by(record: Record, read: str, seeds: int) -> tuple[Record, float] | None:
    """A record, and its score, by another reading; None if it doesn't have the numbers."""
    score = score_of(record.numbers, read)
    of_seeds = [record.of_seed(k) or {} for k in range(seeds)] if seeds > 1 else []
    scores = [score_of(numbers, read) for numbers in of_seeds]
    known = [value for value in scores if value is not None]
    if score is None or len(known) < len(scores):
        return None
    numbers = {**record.numbers}
    for k, value in enumerate(known):
        numbers[f"score_seed{k}"] = value
    if known:
        numbers["spread"] = statistics.stdev(known)
    return replace(record, numbers=numbers), score


def draw_again(ledger: Ledger, plan: Iterable[Architecture]) -> None:
    """Uniform draws that a search had come to: their scores count as drawn uniformly too.

    Without them the draws that a correlation sees would lack what the search liked.
    """
    records = ledger.records()
    blind = {r.key for r in records if r.is_blind and r.counts}
    steered = {r.key: r for r in records if not r.is_blind and r.has_result}
    for architecture in plan:
        key = architecture.key
        if architecture.drawn in UNBIASED and key in steered and key not in blind:
            add_as(ledger, architecture, steered[key], again=True)
