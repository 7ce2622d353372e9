"""The loop that every ranking is made by: claim, score, tell."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from nasproxy.estimators.keeping import Keeping
from nasproxy.spaces.space import Architecture
from nasproxy.studies.ledger import Ledger
from nasproxy.studies.made_with import note_differences
from nasproxy.studies.record import Ending, Record, numbers_of
from nasproxy.workers.local import Workers
from nasproxy.workers.task import Failure, Outcome, Scores, Task


@dataclass(frozen=True)
class Loop:
    """Scores running trials in workers, each seed by itself, and tells when all are in.

    Attributes:
        ledger: of the study.
        workers: that score.
        seeds: trainings of each architecture; the score is their mean.
        seed: of the first.
        in_rungs: whether trainings are put aside at rungs, and taken up again.
        ahead: see `Workers.outcomes`.
        made_with: what scores are made with; see `note_differences`.
        keeping: keeps the trained networks; None lets them go.
    """

    ledger: Ledger
    workers: Workers
    seeds: int
    seed: int
    in_rungs: bool = False
    ahead: int = 2
    made_with: Mapping[str, Any] = field(default_factory=dict)
    keeping: Keeping | None = None

    def heed_memory(self, architectures: Iterable[Architecture]) -> None:
        """Have no more workers than can train the largest of some architectures; see `Workers`."""
        probe = self.ledger.estimator.probe
        if probe is None or not self.workers.is_number_open:
            return
        buildable = (a for a in architectures if a.error is None)
        largest = max(buildable, key=lambda a: self.ledger.num_params(a, self.seed), default=None)
        if largest is not None:
            candidate = self.ledger.candidate(largest)
            self.workers.heed_memory(Task(probe, candidate, self.seed))

    def run(self, records: Iterable[Record], bar: Any, rung: int | None = None) -> None:
        """Score trials as workers come free.

        Args:
            records: running trials of this driver, taken one by one.
            bar: progress, in trials that have ended.
            rung: epochs after which trials report their score and go on running; None is the end.
        """
        found: dict[int, dict[int, Outcome]] = {}  # by trial and seed
        for task, outcome in self.workers.outcomes(self._tasks(records, bar, rung), self.ahead):
            record, k = task.of
            of_trial = found.setdefault(record.id, self._stored(record))
            of_trial[k] = outcome
            if rung is None and self.seeds > 1 and not isinstance(outcome, Failure):
                self.ledger.write(record, numbers_of(outcome, seed=k))
            if len(of_trial) == self.seeds:
                del found[record.id]
                bar.update(int(self._tell(record, [of_trial[i] for i in range(self.seeds)], rung)))

    def _tasks(self, records: Iterable[Record], bar: Any, rung: int | None) -> Iterator[Task]:
        for number, record in enumerate(records):
            if number == 0:
                note_differences(self.ledger.study, self.made_with)
            stored = self._stored(record)
            if len(stored) == self.seeds:  # its driver died with nothing left but to tell
                self._tell(record, [stored[k] for k in range(self.seeds)], None)
                bar.update()
            for k in range(self.seeds):
                if k not in stored:
                    yield self._task(record, k, rung)

    def _task(self, record: Record, k: int, rung: int | None) -> Task:
        architecture, seed = record.architecture(), self.seed + k
        candidate = self.ledger.candidate(architecture)
        if self.keeping is not None:
            candidate = replace(candidate, keep=self.keeping.of(architecture, seed))
        if self.in_rungs:
            checkpoint = _checkpoint(self.workers.folder, candidate.key, seed)
            candidate = replace(candidate, until=rung, checkpoint=checkpoint)
        return Task(self.ledger.estimator, candidate, seed, of=(record, k))

    def _stored(self, record: Record) -> dict[int, Outcome]:
        """Seeds finished before an interruption."""
        if self.seeds == 1:
            return {}
        found = {k: record.of_seed(k) for k in range(self.seeds)}
        return {k: scores for k, scores in found.items() if scores is not None}

    def _tell(self, record: Record, outcomes: list[Outcome], rung: int | None) -> bool:
        """Record the mean over the seeds; at a rung it is reported. Whether the trial ended."""
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        good: list[Scores] = [o for o in outcomes if not isinstance(o, Failure)]
        if not failures and not all(math.isfinite(scores["score"]) for scores in good):
            failures = [Failure("the score is NaN or infinite")]
        if failures:
            self.ledger.prune(record, Ending(failures[0].kind), failures[0].reason)
            return True
        means = {
            name: sum(scores[name] for scores in good) / len(good)
            for name in sorted(set.intersection(*(set(scores) for scores in good)))
        }
        if self.in_rungs:
            before = self.ledger.record(record.id).numbers.get("seconds", 0.0)
            means["seconds"] = means.get("seconds", 0.0) + before
        else:
            for name, value in means.items():
                if "@" in name:  # a point of a learning curve
                    self.ledger.report(record, value, int(name.partition("@")[2]))
        if len(good) > 1:
            squares = sum((scores["score"] - means["score"]) ** 2 for scores in good)
            means["spread"] = math.sqrt(squares / (len(good) - 1))
        self.ledger.write(record, numbers_of(means))
        if rung is not None:
            self.ledger.report(record, means["score"], rung)
            return False
        self.ledger.driver.end(record.id, TrialState.COMPLETE, means["score"])
        return True


def _checkpoint(folder: Path, key: str, seed: int) -> Path:
    """Where a training that is put aside is kept."""
    name = hashlib.sha256(f"{key}\n{seed}".encode()).hexdigest()[:32]
    return folder / f"{name}.safetensors"
