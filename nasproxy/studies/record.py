"""A trial, typed: the one place that knows how an architecture's fate is written into Optuna.

A trial of ours carries, as user attributes:

- ``architecture``: the readable key that studies are joined on;
- ``drawn``: ``uniform``, ``all`` (the whole space), ``given`` (by hand; a report says so), or the
  sampler that steered, such as ``tpe``;
- numbers: ``accuracy``, ``loss``, ``params`` (how many there are), ``macs``, ``seconds``, ... and
  ``spread``, the standard deviation of the score where there are several seeds, each of which has
  ``score_seed0``, ``accuracy_seed0``, ...;
- ``driver``, who is at it, and ``twin``, the isomorphic architecture that its score is of;
- where the state is PRUNED, one of the `Ending` values below: FAIL would make TPE forget the trial
  and ask for it again. FAIL is what never was: a claim that another driver was before, or a trial
  whose driver died while it was being made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from nasproxy.errors import UserError
from nasproxy.spaces.space import Architecture
from nasproxy.workers.task import Failure, Scores

UNBIASED = ("uniform", "all", "given")  # values of `drawn` that a correlation may use
ARCHITECTURE, DRAWN, DRIVER, TWIN = "architecture", "drawn", "driver", "twin"  # attributes
BEATS = "nasproxy:beats"  # system attribute, a driver's sign of life: no axis in the dashboard
CLAIMED = (ARCHITECTURE, DRAWN, "duplicate")  # attributes that `read_claim` looks at
_SEED = "_seed"  # before the number of a training, in the names of its numbers


class Ending(StrEnum):
    """What became of an architecture. All but the first and last two name attributes."""

    SCORED = "scored"
    DUPLICATE = "duplicate"  # a sampler asked for what is there already
    INVALID = "invalid"  # it can't be built
    BROKEN = "broken"  # it can't be scored, and ranks last
    MISSING = "missing"  # a table doesn't have it
    STOPPED = "stopped"  # after so many epochs, by a pruner
    LOST = "lost"
    UNFINISHED = "unfinished"


_SAID = (Ending.DUPLICATE, Ending.INVALID, Ending.BROKEN, Ending.MISSING, Ending.STOPPED)
WITHOUT_SCORE = (Ending.BROKEN, Ending.INVALID, Ending.MISSING)  # and the attribute says why


@dataclass(frozen=True)
class Record:
    """What a study holds of one architecture.

    Attributes:
        number: of the trial.
        id: of the trial in its storage.
        key: the architecture's readable name; None before a sampler has chosen.
        drawn: see the top of this file.
        choices: of the space, by name.
        distributions: where they came from.
        ending: what became of it.
        why: there is no score, in words; None where there is one.
        score: higher is better; of a stopped trial what was reported last; None without any.
        numbers: what else was measured; see the top of this file.
        by_epoch: what was reported on the way: scores at rungs, or training losses.
        epochs: after which it was stopped, None if it wasn't.
        driver: who is, or was, at it.
        twin: key of the architecture whose score it has, None for its own.
        has_ended: whether an ending is written, though the state may not be yet.
        beat: changes as long as its driver lives.
    """

    number: int
    id: int
    key: str | None
    drawn: str | None
    choices: dict[str, Any]
    distributions: dict[str, BaseDistribution] = field(repr=False)
    ending: Ending
    why: str | None
    score: float | None
    numbers: Mapping[str, float] = field(repr=False)
    by_epoch: Mapping[int, float] = field(repr=False)
    epochs: int | None
    driver: str | None
    twin: str | None
    has_ended: bool
    beat: int | None

    @property
    def is_finished(self) -> bool:
        return self.ending is not Ending.UNFINISHED

    @property
    def counts(self) -> bool:
        """Whether it is what its architecture has come to, or will."""
        return self.ending not in (Ending.LOST, Ending.DUPLICATE)

    @property
    def has_result(self) -> bool:
        """Whether it says how its architecture does: by a score, or that it broke."""
        return self.ending in (Ending.SCORED, Ending.BROKEN, Ending.STOPPED)

    @property
    def is_blind(self) -> bool:
        """Whether no score of ours had a say in it: it was drawn, or given by hand."""
        return self.drawn in UNBIASED

    def architecture(self) -> Architecture:
        """What the trial is of.

        Raises:
            UserError: it has no name, so that its study is not of our making.
        """
        if self.key is None or self.drawn is None:
            lacking = "architecture" if self.key is None else "drawn"
            raise UserError(f"trial {self.number} has no {lacking}: its study is not of our making")
        error = self.why if self.ending is Ending.INVALID else None
        return Architecture(self.choices, self.distributions, self.key, error, self.drawn)

    def of_seed(self, k: int) -> Scores | None:
        """The numbers of training `k`, its ``score`` among them; None if it isn't done."""
        end = f"{_SEED}{k}"
        if f"score{end}" not in self.numbers:
            return None
        return {n.removesuffix(end): v for n, v in self.numbers.items() if n.endswith(end)}


def read_record(trial: FrozenTrial) -> Record:
    """The record of a trial."""
    attributes = trial.user_attrs
    said = next((ending for ending in _SAID if ending in attributes), None)
    ending = {
        TrialState.COMPLETE: Ending.SCORED,
        TrialState.PRUNED: said or Ending.LOST,
        TrialState.FAIL: Ending.LOST,
    }.get(trial.state, Ending.UNFINISHED)
    score = trial.value if trial.values else None
    epochs = attributes.get(Ending.STOPPED) if said is Ending.STOPPED else None
    if score is None and epochs is not None:
        score = trial.intermediate_values.get(epochs)
    return Record(
        number=trial.number,
        id=trial._trial_id,
        key=attributes.get(ARCHITECTURE),
        drawn=attributes.get(DRAWN),
        choices=trial.params,
        distributions=trial.distributions,
        ending=ending,
        why=str(attributes[said]) if said in WITHOUT_SCORE else None,
        score=score,
        numbers={
            name: value
            for name, value in attributes.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and name not in _SAID
        },
        by_epoch=trial.intermediate_values,
        epochs=epochs,
        driver=attributes.get(DRIVER),
        twin=attributes.get(TWIN),
        has_ended=said is not None,
        beat=trial.system_attrs.get(BEATS),
    )


@dataclass(frozen=True)
class Claim:
    """What a trial holds on to: the little of it that drivers ask for all the time.

    Attributes:
        key: of its architecture; None before a sampler has chosen.
        is_blind, counts, is_finished: see `Record`.
    """

    key: str | None
    is_blind: bool
    counts: bool
    is_finished: bool


def read_claim(state: TrialState, attributes: Mapping[str, Any]) -> Claim:
    """What a trial of a state and with these of its attributes, `CLAIMED`, holds on to."""
    return Claim(
        key=attributes.get(ARCHITECTURE),
        is_blind=attributes.get(DRAWN) in UNBIASED,
        counts=state is not TrialState.FAIL and Ending.DUPLICATE not in attributes,
        is_finished=state.is_finished(),
    )


def read_records(study: optuna.Study, states: tuple[TrialState, ...] | None = None) -> list[Record]:
    """All trials of a study, or those in some states, in order."""
    return [read_record(t) for t in study.get_trials(deepcopy=False, states=states)]


def scored(study: optuna.Study) -> list[Record]:
    """Trials that have a score."""
    return read_records(study, (TrialState.COMPLETE,))


def broken_in_words(study: optuna.Study) -> str | None:
    """How many of a study's architectures could not be scored, and why the first; None if none."""
    records = [record for record in read_records(study) if record.has_result]
    broken = [record for record in records if record.ending is Ending.BROKEN]
    if not broken:
        return None
    what = "trained" if study.user_attrs.get("kind") in ("full", "proxy") else "scored"
    return (
        f"{len(broken)} of {len(records)} could not be {what}, and rank last; "
        f"the first: {broken[0].key}: {broken[0].why}"
    )


def written(architecture: Architecture, outcome: Scores | Failure | None = None) -> dict[str, Any]:
    """The attributes of a trial of an architecture, with what is known of it.

    Args:
        architecture: its error is written as the reason why it can't be built.
        outcome: None as long as there is none. Numbers that aren't finite are left out.
    """
    attributes: dict[str, Any] = {ARCHITECTURE: architecture.key, DRAWN: architecture.drawn}
    if architecture.error is not None:
        attributes[Ending.INVALID] = architecture.error
    if isinstance(outcome, Failure):
        attributes[outcome.kind] = outcome.reason
    elif outcome is not None:
        attributes |= numbers_of(outcome)
    return attributes


def numbers_of(scores: Scores, seed: int | None = None) -> dict[str, float]:
    """Scores as attributes, without the score itself and the points of curves.

    Args:
        scores: by name.
        seed: number of the training that they are of, where there are several. Its score comes
            last: it says that all is there.
    """
    kept = {k: float(v) for k, v in scores.items() if "@" not in k and k != "score"}
    if seed is None:
        return {name: value for name, value in kept.items() if math.isfinite(value)}
    kept["score"] = float(scores["score"])
    return {f"{name}{_SEED}{seed}": value for name, value in kept.items()}


_NEEDED = {"architecture", "drawn"}  # of every trial that has ended
_TEXTS = {*_NEEDED, *WITHOUT_SCORE}
_NUMBERS = {"accuracy", "loss", "params", "macs", "latency", "seconds", Ending.STOPPED}


def check_trial(study: str, trial: FrozenTrial) -> None:
    """Refuse a trial that has ended and isn't as ours are.

    Raises:
        UserError: an attribute is missing or of another kind, or it has lost its score.
    """
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return
    for name in sorted(_TEXTS | _NUMBERS):
        kind: Any = str if name in _TEXTS else (int, float)
        given = trial.user_attrs.get(name)
        if not isinstance(given, kind) and (name in trial.user_attrs or name in _NEEDED):
            raise UserError(
                f"study {study!r} is not one that nasproxy made, or was changed: "
                f"trial {trial.number} has the {name} {given!r}"
            )
    if trial.state is TrialState.COMPLETE and not trial.values:
        raise UserError(f"study {study!r}: trial {trial.number} has lost its score")
