"""Several drivers on one study: each architecture belongs to one, and the dead are replaced.

A driver is a call of `rank`, in any process on any host that reaches the storage. There is no
other record than the study's running trials:

- **Claim**: a trial is created running, with its architecture and its driver, in one transaction.
  Storages number trials one after the other, so of several of one architecture the lowest has it,
  and a driver that finds a lower one than its own withdraws (FAIL). A steering sampler must make
  the trial before it knows the architecture: the trial is named later, out of order, and gives way
  to any other of that name.
- **Life**: a process of this machine is looked up. Of others, no clock is asked: every `BEAT`
  seconds a driver changes a running trial of its own, and who has seen no change of any of them
  for `GRACE` seconds of its own clock holds it for dead.
- **Takeover**: one conditional write of the trial's ``driver``, which only one can win. A driver
  that was only thought dead may still end the trial: it is one trial, and ends once.
"""

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import InMemoryStorage
from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel
from optuna.trial import FrozenTrial, TrialState, create_trial

from nasproxy.spaces.space import Architecture
from nasproxy.studies.database import write_trials
from nasproxy.studies.record import BEATS, CLAIMED, DRIVER, Claim, Record, read_claim
from nasproxy.studies.storage import database_of
from nasproxy.system.processes import is_alive, this_process

BEAT = 10.0  # seconds between signs of life
GRACE = 60.0  # seconds without one after which a driver on another machine counts as dead
# raised for a change of a trial that has ended; before optuna 4.3 a plain RuntimeError
Ended: type[Exception] = getattr(optuna.exceptions, "UpdateFinishedTrialError", RuntimeError)
_calls = itertools.count()
_active: set[str] = set()  # drivers of this process that are at work


@dataclass(frozen=True)
class Finished:
    """What is known of an architecture, all of it at once.

    Attributes:
        architecture: what the trial is of.
        attributes: see `record.written`.
        value: the score; None where there is none.
        by_epoch: what was reported on the way.
        again: a second trial of what a search has scored, this time drawn blindly.
    """

    architecture: Architecture
    attributes: Mapping[str, Any]
    value: float | None
    by_epoch: Mapping[int, float]
    again: bool

    @property
    def state(self) -> TrialState:
        return TrialState.PRUNED if self.value is None else TrialState.COMPLETE

    def trial(self) -> FrozenTrial:
        """As Optuna has it."""
        return create_trial(
            state=self.state,
            value=self.value,
            params=self.architecture.choices,
            distributions=self.architecture.distributions,
            user_attrs=dict(self.attributes),
            intermediate_values=dict(self.by_epoch),
        )


class Driver:
    """One call of `rank` among others that fill the same study; a context manager.

    On leaving, what it has not ended is given up, for others to take at once.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.name = f"{socket.gethostname()}/{this_process()}/{next(_calls)}"
        self._study = study
        self._storage = study._storage
        self._shared = not isinstance(self._storage, InMemoryStorage)
        self._mine: set[int] = set()  # ids of trials that are running here
        self._held: dict[str, dict[int, bool]] = {}  # architecture -> trial -> whether UNBIASED
        self._newest = -1  # the last trial that `_held` knows of
        self._nameless: set[int] = set()  # those before it that had no architecture yet
        self._signs: dict[str, tuple[Any, float]] = {}  # by driver: what was seen, since when
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="nasproxy-beat", daemon=True)

    def __enter__(self) -> "Driver":
        _active.add(self.name)
        if self._shared:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        _active.discard(self.name)
        # Ctrl-C may have cut a transaction off, whose lock this would wait for
        farewell = threading.Thread(target=self._give_up, name="nasproxy-farewell", daemon=True)
        farewell.start()
        farewell.join(1.0)
        if self._shared:
            self._thread.join(1.0)

    def _give_up(self) -> None:
        for trial_id in list(self._mine):
            with contextlib.suppress(Exception):  # others will find out
                self._storage.set_trial_user_attr(trial_id, DRIVER, "")

    def claim(
        self,
        architecture: Architecture,
        attributes: Mapping[str, Any],
        by_epoch: Mapping[int, float] | None = None,
        again: bool = False,
    ) -> int | None:
        """A running trial of an architecture, by its id; None if another driver has it.

        Args:
            architecture: what the trial is of.
            attributes: that the trial is made with; see `record.written`.
            by_epoch: intermediate values, likewise.
            again: a second trial of what a search has scored, this time drawn blindly.
        """
        if self._rivals(architecture.key, again):
            return None
        trial_id = self.start(
            attributes,
            params=architecture.choices,
            distributions=architecture.distributions,
            intermediate_values=dict(by_epoch or {}),
        )
        if any(other < trial_id for other in self._rivals(architecture.key, again)):
            self.end(trial_id, TrialState.FAIL)
            return None
        return trial_id

    def start(self, attributes: Mapping[str, Any], **more: Any) -> int:
        """A running trial of this driver, by its id; `more` goes to `optuna.create_trial`."""
        template = create_trial(
            state=TrialState.RUNNING, user_attrs={DRIVER: self.name, **attributes}, **more
        )
        trial_id = self._storage.create_new_trial(self._study._study_id, template)
        self._mine.add(trial_id)
        return trial_id

    def add(self, finished: Sequence[Finished]) -> None:
        """Trials that are known to their end, but for those that others have."""
        database = database_of(self._storage)
        if database is None or len(finished) < 2:
            for each in finished:
                self._add_one(each)
            return

        def free() -> list[FrozenTrial]:
            self._look()
            return [
                each.trial()
                for each in finished
                if not self._known_rivals(each.architecture.key, each.again)
            ]

        write_trials(database, self._study._study_id, free)

    def _add_one(self, finished: Finished) -> None:
        trial_id = self.claim(
            finished.architecture, finished.attributes, finished.by_epoch, finished.again
        )
        if trial_id is not None:
            self.end(trial_id, finished.state, finished.value)

    def names(self) -> set[str]:
        """Architectures that are in the study as of now, by whichever driver."""
        if self._shared:
            self._look()
        return {key for key, trials in self._held.items() if trials}

    def is_alone(self, trial_id: int, key: str) -> bool:
        """Whether no other trial, running or ended, has the architecture of this one."""
        return not self._rivals(key, False) - {trial_id}

    def end(self, trial_id: int, state: TrialState, value: float | None = None) -> None:
        """End a trial of this driver, unless one that took it over has done so."""
        values = None if value is None else [value]
        with contextlib.suppress(Ended):
            self._storage.set_trial_state_values(trial_id, state, values)
        self._mine.discard(trial_id)
        if state is TrialState.FAIL:
            for trials in self._held.values():
                trials.pop(trial_id, None)

    def learn(self, records: Iterable[Record]) -> None:
        """Take all trials of the study as what is claimed."""
        self._held, self._nameless = {}, set()
        for record in records:
            self._note(record.id, record)

    def left_by_others(self, records: Iterable[Record]) -> list[Record]:
        """Running trials of dead drivers, now this one's, in order; others may take some, too."""
        by_driver: dict[str, list[Record]] = {}
        for record in records:
            if not record.is_finished and record.id not in self._mine:
                by_driver.setdefault(record.driver or "", []).append(record)
        dead = itertools.chain.from_iterable(
            theirs
            for name, theirs in by_driver.items()
            if name == self.name or self._is_dead(name, theirs)  # its own, but unknown to it
        )
        return sorted((r for r in dead if self._take(r)), key=lambda record: record.number)

    def _rivals(self, key: str, again: bool) -> set[int]:
        """Trials that have an architecture, as of now; all but those of searches if `again`."""
        if self._shared:
            self._look()
        return self._known_rivals(key, again)

    def _known_rivals(self, key: str, again: bool) -> set[int]:
        return {trial for trial, blind in self._held.get(key, {}).items() if blind or not again}

    def _look(self) -> None:
        """Read what has come since: no more than that, since a study may hold thousands."""
        study_id = self._study._study_id
        database = database_of(self._storage)
        if database is None:
            for trial in self._storage.get_all_trials(study_id, deepcopy=False):
                if trial._trial_id > self._newest or trial._trial_id in self._nameless:
                    self._note(trial._trial_id, read_claim(trial.state, trial.user_attrs))
            return
        named = TrialUserAttributeModel
        query = (
            sqlalchemy.select(TrialModel.trial_id, TrialModel.state, named.key, named.value_json)
            .outerjoin(named, (named.trial_id == TrialModel.trial_id) & named.key.in_(CLAIMED))
            .where(TrialModel.study_id == study_id)
            .where(  # ids grow in the order in which trials appear
                (TrialModel.trial_id > self._newest) | TrialModel.trial_id.in_(self._nameless)
            )
        )
        found: dict[int, tuple[TrialState, dict[str, Any]]] = {}
        with database.engine.connect() as connection:
            for trial_id, state, key, value in connection.execute(query):
                attributes = found.setdefault(trial_id, (state, {}))[1]
                if key is not None:
                    attributes[key] = json.loads(value)
        for trial_id, (state, attributes) in found.items():
            self._note(trial_id, read_claim(state, attributes))

    def _note(self, trial_id: int, claim: Claim | Record) -> None:
        self._newest = max(self._newest, trial_id)
        self._nameless.discard(trial_id)
        if not claim.counts:
            return
        if claim.key is not None:
            self._held.setdefault(claim.key, {})[trial_id] = claim.is_blind
        elif not claim.is_finished:
            self._nameless.add(trial_id)

    def _take(self, record: Record) -> bool:
        """Make a dead driver's trial this one's; False if another was faster."""
        before, trial_id = record.driver, record.id
        database = database_of(self._storage)
        if database is not None and before is not None:
            table = TrialUserAttributeModel
            write = (
                sqlalchemy.update(table)
                .where(table.trial_id == trial_id, table.key == DRIVER)
                .where(table.value_json == json.dumps(before))
                .values(value_json=json.dumps(self.name))
            )
            with database.engine.begin() as connection:
                if connection.execute(write).rowcount != 1:
                    return False
        else:  # a storage that only one process at a time should write to
            self._storage.set_trial_user_attr(trial_id, DRIVER, self.name)
        self._mine.add(trial_id)
        return True

    def _is_dead(self, name: str, records: list[Record]) -> bool:
        known = _is_alive_here(name)
        if known is not None:
            return not known
        now = time.monotonic()
        sign = [(record.id, record.beat) for record in records]
        seen, since = self._signs.get(name, (None, now))
        if sign != seen:
            self._signs[name] = sign, now
            return False
        return now - since > GRACE

    def _beat(self) -> None:
        """Change one running trial every `BEAT` seconds."""
        for beat in itertools.count(1):
            if self._left.wait(BEAT):
                break
            for trial_id in list(self._mine):
                try:
                    self._storage.set_trial_system_attr(trial_id, BEATS, beat)
                except Ended:  # just now, or by another driver
                    continue
                except Exception:  # the storage may be back for the next beat
                    pass
                break
        self._storage.remove_session()  # this thread's own


def _is_alive_here(name: str) -> bool | None:
    """Whether a driver of this machine is at work; None if it is of another."""
    if not name:  # given up, or none at all
        return False
    process = name.split("/")[1] if name.count("/") == 2 else name
    return name in _active if process == this_process() else is_alive(process)
