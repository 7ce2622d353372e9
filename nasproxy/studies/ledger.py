"""What a study holds, as one driver of it knows it, and what that driver writes into it."""

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import TrialState

from nasproxy.estimators.estimator import Estimator
from nasproxy.spaces.size import params_without_weights
from nasproxy.spaces.space import Architecture, Space
from nasproxy.studies.claims import Driver, Ended, Finished
from nasproxy.studies.record import Ending, Record, read_record, read_records, written
from nasproxy.workers.task import Candidate, Failure, Outcome

POLL = 2.0  # seconds between looks at what other drivers are at


@dataclass
class Ledger:
    """One study being filled with scores of one estimator.

    Attributes:
        study, driver, space, estimator: whose.
        input_shape: (C, H, W) of the images that networks are built for.
        num_classes: outputs that they have.
        known: keys of the architectures that are in the study, or about to be.
        invalid: those of them that can't be built.
    """

    study: optuna.Study
    driver: Driver
    space: Space
    estimator: Estimator
    input_shape: tuple[int, int, int]
    num_classes: int
    known: set[str] = field(default_factory=set)
    invalid: set[str] = field(default_factory=set)
    _sizes: dict[str, int] = field(default_factory=dict)  # parameters by key

    def records(self, *states: TrialState) -> list[Record]:
        """All trials, or those in some states."""
        return read_records(self.study, states or None)

    def record(self, trial_id: int) -> Record:
        """One trial, as it is now."""
        return read_record(self.study._storage.get_trial(trial_id))

    def done(self, plan: Iterable[Architecture]) -> int:
        """How many of the plan have ended, by whichever driver."""
        ended = {r.key for r in self.records() if r.is_finished and r.counts}
        return sum(architecture.key in ended for architecture in plan)

    def is_over(self, plan: Iterable[Architecture]) -> bool:
        """Whether all of the plan have ended, and no driver's second claim of one is left."""
        keys = {architecture.key for architecture in plan}
        records = [record for record in self.records() if record.key in keys]
        ended = {r.key for r in records if r.is_finished and r.counts}
        return ended == keys and all(record.is_finished for record in records)

    @property
    def buildable(self) -> int:
        """How many architectures there are that can be built."""
        return len(self.known) - len(self.invalid)

    def learn(self) -> list[Record]:
        """Learn what the study holds; what dead drivers left is taken over, and given back."""
        for waiting in self.records(TrialState.WAITING):
            self.driver.end(waiting.id, TrialState.FAIL)  # not ours: nothing here waits
        records = self.records()
        self.driver.learn(records)
        left: list[Record] = []
        for record in reversed(self.driver.left_by_others(records)):  # the first of several stays
            if record.has_ended and record.key is not None:  # one without a name never was
                last = max(record.by_epoch, default=None)
                value = None if last is None else record.by_epoch[last]
                self.driver.end(record.id, TrialState.PRUNED, value)
            elif not self._can_go_on(record):
                self.driver.end(record.id, TrialState.FAIL)
            else:
                left.insert(0, record)
        for record in self.records():
            if record.key is None or not record.counts:
                continue
            self.known.add(record.key)
            if record.ending is Ending.INVALID:
                self.invalid.add(record.key)
        return left

    def wait(self, bar: Any) -> bool:
        """Give other drivers some time; whether there are any at work."""
        running = len(self.records(TrialState.RUNNING))
        bar.set_postfix_str(f"waiting for {running} at other drivers" if running else "")
        if running:
            time.sleep(POLL)
        return bool(running)

    def _can_go_on(self, record: Record) -> bool:
        """Whether a dead driver's trial is worth going on with; what was a copy is copied anew."""
        try:
            named = self.space.key(record.choices, record.distributions) == record.key
        except Exception:  # it died before all was stored
            return False
        if not named or record.key is None or not self.estimator.seeded or record.twin:
            return False
        return self.driver.is_alone(record.id, record.key)

    def claim(self, architecture: Architecture) -> Record | None:
        """A running trial for a given architecture; None if it is another's or can't be built."""
        trial_id = self.driver.claim(architecture, written(architecture))
        self.known.add(architecture.key)
        if trial_id is None:
            return None
        if architecture.error is not None:
            self.invalid.add(architecture.key)
            self.driver.end(trial_id, TrialState.PRUNED)
            return None
        return self.record(trial_id)

    def add(self, finished: Sequence[Finished]) -> None:
        """Record what is known already, unless other drivers have done so."""
        self.driver.add(finished)
        self.known.update(each.architecture.key for each in finished)

    def finished(
        self,
        architecture: Architecture,
        outcome: Outcome | None,
        more: Mapping[str, Any] | None = None,
        by_epoch: Mapping[int, float] | None = None,
        again: bool = False,
    ) -> Finished:
        """What is known of an architecture, for `add`.

        Args:
            architecture: what the trial is of.
            outcome: None where it can't be built, or was stopped by a pruner.
            more: attributes beside the outcome's.
            by_epoch: what was reported on the way.
            again: a second trial of what a search has scored, this time drawn blindly.
        """
        value = None
        if outcome is not None and not isinstance(outcome, Failure):
            value = float(outcome["score"])
        return Finished(
            architecture,
            {**(more or {}), **written(architecture, outcome)},
            value,
            by_epoch or {},
            again,
        )

    def write(self, record: Record, attributes: Mapping[str, Any]) -> None:
        """Add attributes to a running trial, in order, unless who took it over has ended it."""
        with contextlib.suppress(Ended):
            for name, value in attributes.items():
                self.study._storage.set_trial_user_attr(record.id, name, value)

    def report(self, record: Record, value: float, epoch: int) -> None:
        """Add to what was reported on the way of a running trial."""
        with contextlib.suppress(Ended):
            self.study._storage.set_trial_intermediate_value(record.id, epoch, value)

    def prune(
        self, record: Record, ending: Ending, why: str | int | bool, value: float | None = None
    ) -> None:
        """End a trial without a score."""
        self.write(record, {ending: why})
        self.driver.end(record.id, TrialState.PRUNED, value)

    def candidate(self, architecture: Architecture) -> Candidate:
        """What workers are given of an architecture."""
        return self.space.candidate(architecture, self.input_shape, self.num_classes)

    def num_params(self, architecture: Architecture, seed: int) -> int:
        """Parameters of an architecture's network, 0 where it can't be built."""
        if architecture.error is not None:
            return 0
        key = architecture.key
        if key not in self._sizes:  # asked for once to heed memory, and again to order the plan
            build = self.candidate(architecture).build
            self._sizes[key] = params_without_weights(build, self.input_shape, seed)
        return self._sizes[key]
