"""Samplers that steer by the scores so far: TPE, a batch at a time."""

import warnings
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import Trial

from nasproxy.spaces.draw import steered_trial
from nasproxy.studies.ledger import Ledger
from nasproxy.studies.loop import Loop
from nasproxy.studies.record import ARCHITECTURE, DRAWN, Ending, Record
from nasproxy.studies.twins import Twins

STEERED = ("tpe",)
_BATCH = 4  # architectures that are asked for before their scores are seen
_LOOK = 20  # architectures drawn, of which the largest shows how much memory one may take
_PATIENCE = 25  # batches without anything new after which a space counts as exhausted


@dataclass(frozen=True)
class Steering:
    """A sampler that chooses what a study's loop scores.

    Each batch gets a new sampler, seeded by the number of trials: what it asks depends neither on
    the number of workers nor on interruptions.

    Attributes:
        loop: that scores.
        twins: of its ledger.
        sampler: a name in `STEERED`.
        input_shape: (C, H, W) of the data.
        seed: of what is asked.
    """

    loop: Loop
    twins: Twins
    sampler: str
    input_shape: tuple[int, int, int]
    seed: int

    @property
    def _ledger(self) -> Ledger:
        return self.loop.ledger

    def run(self, trials: int, bar: Any) -> None:
        """Ask and score until the study holds `trials` architectures that can be built."""
        ledger, idle = self._ledger, 0
        if ledger.buildable < trials:
            some = ledger.space.sample(_LOOK, self.seed, self.input_shape, ledger.num_classes)
            self.loop.heed_memory(some)
        while True:
            left = ledger.learn()
            self.twins.learn()
            bar.update(ledger.buildable - len(left) - bar.n)
            self.loop.run(left, bar)
            if idle < _PATIENCE and ledger.buildable < trials:
                before = len(ledger.known)
                self.loop.run(self._ask_some(trials), bar)
                idle = idle + 1 if len(ledger.known) == before else 0
            elif not ledger.wait(bar):
                return

    def _ask_some(self, trials: int) -> list[Record]:
        """A batch of running trials that the sampler chose, without known or invalid ones."""
        asked: list[Record | None] = []
        steering: BaseSampler | None = None
        ledger = self._ledger
        while len(asked) < _BATCH:
            ledger.known |= ledger.driver.names()
            if ledger.buildable >= trials:
                break
            trial_id = ledger.driver.start({DRAWN: self.sampler})
            if steering is None:  # seeded by a number that no other driver gets
                number = ledger.record(trial_id).number
                steering = _tpe((self.seed * 1_000_003 + number) % 2**32)
            asked.append(self._ask(trial_id, steering))
        return [record for record in asked if record is not None]

    def _ask(self, trial_id: int, sampler: BaseSampler) -> Record | None:
        """Let a sampler choose what a trial is of; None if it is known or can't be built."""
        ledger = self._ledger
        fresh = optuna.load_study(  # its cache of trials lasts for one trial
            study_name=ledger.study.study_name, storage=ledger.study._storage, sampler=sampler
        )
        architecture = ledger.space.trace(
            steered_trial(Trial(fresh, trial_id)), self.input_shape, ledger.num_classes
        )
        known = architecture.key in ledger.known or self.twins.has_twin(architecture)
        record = ledger.record(trial_id)
        if known:  # first: what is named has the name
            ledger.write(record, {Ending.DUPLICATE: True})
        ledger.write(record, {ARCHITECTURE: architecture.key})
        if known or not ledger.driver.is_alone(trial_id, architecture.key):
            ledger.prune(record, Ending.DUPLICATE, True)
            return None
        ledger.known.add(architecture.key)
        if architecture.error is not None:
            ledger.invalid.add(architecture.key)
            ledger.prune(record, Ending.INVALID, architecture.error)
            return None
        return ledger.record(trial_id)


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(multivariate=True, constant_liar=True, seed=seed)
