"""What rankings are read from: studies, readings of them, and columns of tables.

No other file of a report knows what a study's trials and attributes are called.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution

from nasproxy.errors import UserError, nearest
from nasproxy.estimators.making import is_table, parse_by, parse_reading
from nasproxy.estimators.ranks import Part, combine_parts
from nasproxy.estimators.table import TableEstimator, read_table
from nasproxy.estimators.training import score_of
from nasproxy.studies.identity import load_study, study_names
from nasproxy.studies.record import Ending, Record, read_records
from nasproxy.studies.reliability import Reliability, reliability_of
from nasproxy.studies.statistics import Array
from nasproxy.studies.storage import as_storage, hide_password
from nasproxy.training.recipe import LOWER, READINGS

COSTS = ("params", "macs", "latency")  # latency: ms an image, in batches, on one thread


@dataclass(frozen=True)
class Reading:
    """A study read by another number that its trials carry than their score.

    Attributes:
        study: of our making.
        by: such as ``loss`` (of validation), ``train_loss`` or ``params``. Of those in `LOWER`,
            the lower ranks the higher.
    """

    study: optuna.Study
    by: str


Comparable = optuna.Study | TableEstimator | Reading
Storage = optuna.storages.BaseStorage | str | None
Storages = Storage | Sequence[Storage]


@dataclass(frozen=True)
class Entry:
    """What a source says of one architecture.

    Attributes:
        score: higher is better; minus infinity if the architecture broke.
        drawn: ``uniform`` or ``all``; ``table`` of what a table happens to have.
        seconds: that one training took; None when unknown.
        costs: of `COSTS`, those that are known.
        by_seed: the score of every training, minus infinity if it broke; empty where only the
            mean is known.
        stopped: whether a pruner stopped it early.
        choices: the parameters that built it, by name.
        distributions: where each came from, as Optuna says it.
        parts: numbers, by name, whose ranks among the architectures compared make the score;
            mostly none.
        why: it broke, in words; None if it didn't.
    """

    score: float
    drawn: str
    seconds: float | None = None
    costs: dict[str, float] = field(default_factory=dict)
    by_seed: tuple[float, ...] = ()
    stopped: bool = False
    choices: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    why: str | None = None


@dataclass(frozen=True)
class Source:
    """Scores by architecture, from a study or from a column of a table.

    Attributes:
        name: of the study, with ``@`` and what it is read by, or of the table's column.
        study: the study's alone: readings of one study share its trainings.
        metric: what the scores measure.
        estimator: what gave them.
        kind: ``free``, ``proxy``, ``full`` or ``table``.
        seeds: trainings of each architecture.
        seconds_once: seconds before the first architecture; None when unknown.
        provenance: all that the study was made with.
        entries: by the architecture's key; only what was drawn blindly.
        parts: rankings whose combination is the score.
        relative: whether a score is only defined among others.
        missing: architectures drawn blindly that a table had no number for.
        reliability: how far trainings agree with themselves; None of what trains nothing.
    """

    name: str
    study: str
    metric: str
    estimator: str
    kind: str
    seeds: int
    seconds_once: float | None
    provenance: dict[str, Any]
    entries: dict[str, Entry]
    parts: tuple[Part, ...] = ()
    relative: bool = False
    missing: int = 0
    reliability: Reliability | None = None

    def scores(self, keys: Sequence[str]) -> Array:
        """Scores (n,) of architectures, what is relative among these alone; -inf if broken."""
        entries = [self.entries[key] for key in keys]
        scores = np.array([entry.score for entry in entries], float)
        if not self.parts:
            return scores
        return np.where(
            np.isneginf(scores), -math.inf, _combined(self.parts, [e.parts for e in entries])
        )


def make_sources(given: Sequence[Comparable | str], storage: Storages = None) -> list[Source]:
    """The sources of studies, readings of them and columns of tables, given by name or themselves.

    Args:
        given: a name is that of a study, ``NAME@READING`` or ``table:FILE:COLUMN``.
        storage: where studies are looked for by name, or its URL, or several of them.

    Raises:
        UserError: a name is unknown or in two storages, a table can't be read, a trial has no
            number to be read by.
    """
    names = [one for one in given if isinstance(one, str) and not is_table(one)]
    storages = _opened(storage) if names else []
    if names and not storages:
        raise UserError(f"expected a storage in which to find the study {names[0]!r}, got none")
    found = [_source(_find(one, storages) if isinstance(one, str) else one) for one in given]
    names = [source.name for source in found]
    return [
        replace(source, name=source.estimator.removeprefix("table:"))
        if source.kind == "table" and names.count(source.name) > 1  # of another table
        else source
        for source in found
    ]


def each_of(storage: Storages) -> list[optuna.storages.BaseStorage | str]:
    """Each of one or several storages, or URLs, once."""
    one = storage is None or isinstance(storage, str | optuna.storages.BaseStorage)
    given: Sequence[Any] = [storage] if one else list(storage)  # type: ignore[arg-type]
    return [one for place, one in enumerate(given) if one is not None and one not in given[:place]]


@dataclass(frozen=True)
class _Opened:
    """A storage, the names of its studies, and what it is called."""

    storage: optuna.storages.BaseStorage
    studies: list[str]
    shown: str


def _opened(storage: Storages) -> list[_Opened]:
    found = []
    for number, one in enumerate(each_of(storage), 1):
        there = as_storage(one, must_exist=True)
        shown = hide_password(one) if isinstance(one, str) else f"storage {number}"
        found.append(_Opened(there, study_names(there), shown))
    return found


def _find(name: str, storages: Sequence[_Opened]) -> Comparable:
    if is_table(name):
        by = parse_by(name)
        return read_table(by.file or "", by.column)
    every = [study for one in storages for study in one.studies]
    study, read = parse_reading(name, every)
    having = [one for one in storages if study in one.studies]
    if not having:
        where = "the storage" if len(storages) == 1 else f"the {len(storages)} storages"
        raise UserError(f"no study {study!r} in {where}{nearest(study, every)}")
    if len(having) > 1:
        one, other = (one.shown for one in having[:2])
        raise UserError(
            f"study {study!r} is in {one} and in {other}: give one of them another name, with "
            f"nasproxy studies rename {study} NEW --storage {other}"
        )
    found = load_study(study, having[0].storage)
    return found if read is None else Reading(found, read)


def _source(given: Comparable) -> Source:
    if isinstance(given, TableEstimator):
        return _table(given)
    study, by = (given.study, given.by) if isinstance(given, Reading) else (given, None)
    trials = unbiased_trials(study)
    attributes, seeds = study.user_attrs, int(study.user_attrs.get("seeds", 1))
    metric = (study.metric_names or ["score"])[0]
    by_seed = range(seeds if by is None else 0)  # only scores are kept for each seed
    parts = _parts(study) if by is None else []
    return Source(
        name=study.study_name if by is None else f"{study.study_name}@{by}",
        study=study.study_name,
        metric=metric if by is None else f"-{by}" if by in LOWER else by,
        estimator=str(attributes.get("estimator", study.study_name)),
        kind=str(attributes.get("kind", "proxy")),
        seeds=seeds,
        seconds_once=attributes.get("cost"),
        provenance=attributes if by is None else {**attributes, "read": by},
        entries={
            str(trial.key): _entry(trial, float(score), by_seed, parts)
            for trial, score in zip(trials, scores_among(study, trials, by), strict=True)
        },
        parts=tuple(parts),
        relative=bool(parts),
        missing=sum(r.is_blind and r.ending is Ending.MISSING for r in read_records(study)),
        reliability=reliability_of(study, by),
    )


def _parts(study: optuna.Study) -> list[Part]:
    """What a study's scores are made of, without a training that isn't settled."""
    names = str(study.user_attrs.get("components", ""))
    parts = [Part((name,)) for name in names.split(",") if name]
    if "parts" in study.user_attrs:
        given = json.loads(study.user_attrs["parts"])
        parts = [Part(tuple(names), float(weight)) for weight, names in given]
    free = [part for part in parts if not READINGS.keys() & {*part.names}]
    if not 0 < len(free) < len(parts):  # to ask how far a training agrees with itself takes time
        return parts
    known = reliability_of(study)
    return free if known is not None and known.is_settled is False else parts


def _combined(parts: Sequence[Part], numbers: Sequence[Mapping[str, float]]) -> Array:
    """One score (n,) of the numbers of n architectures; what one lacks ranks last."""
    columns = {
        name: np.array([score_of(of, name) if name in of else -math.inf for of in numbers], float)
        for part in parts
        for name in part.names
    }
    return combine_parts(parts, columns)


def _entry(record: Record, score: float, by_seed: range, parts: Sequence[Part]) -> Entry:
    return Entry(
        score=score,
        drawn=record.drawn or "",
        seconds=record.numbers.get("seconds"),
        costs={cost: record.numbers[cost] for cost in COSTS if cost in record.numbers},
        by_seed=tuple((record.of_seed(k) or {}).get("score", -math.inf) for k in by_seed),
        stopped=record.ending is Ending.STOPPED,
        choices=record.choices,
        distributions=record.distributions,
        parts={k: record.numbers[k] for p in parts for k in p.names if k in record.numbers},
        why=record.why if record.ending is Ending.BROKEN else None,
    )


def _table(table: TableEstimator) -> Source:
    scores = {key: value for key, value in table.values.items() if not math.isnan(value)}
    return Source(
        name=table.metric,
        study=table.metric,
        metric=table.metric,
        estimator=table.name,
        kind=table.kind,
        seeds=1,
        seconds_once=None,
        provenance={"estimator": table.name, "kind": table.kind, "table": table.digest},
        entries={
            key: Entry(value, "table", why="-inf in the table" if math.isinf(value) else None)
            for key, value in scores.items()
        },
    )


def unbiased_trials(study: optuna.Study) -> list[Record]:
    """Trials that a correlation may use: drawn blindly, buildable, with a score or broken."""
    return [record for record in read_records(study) if record.is_blind and record.has_result]


def scores_among(study: optuna.Study, trials: Sequence[Record], by: str | None = None) -> Array:
    """Scores (n,) of trials of a study, or what they are read `by`; minus infinity if broken.

    An estimator with components has a score only among others: the components are ranked here,
    and combined as in AZ-NAS. Trials that a pruner stopped rank below all that trained for longer;
    the scores are places then, the highest the best.
    """
    broken = [t.ending is Ending.BROKEN for t in trials]
    parts = _parts(study) if by is None else []
    if any(t.ending is Ending.STOPPED for t in trials):
        reached = [(t.epochs or math.inf, _value(t, by)) for t in trials]
        places = {pair: place for place, pair in enumerate(sorted(set(reached)), start=1)}
        return np.array([-math.inf if b else places[r] for b, r in zip(broken, reached)], float)
    if not parts:
        return np.array([_value(trial, by) for trial in trials], float)
    scores = _combined(parts, [trial.numbers for trial in trials])
    scores[broken] = -math.inf
    return scores


def _value(record: Record, by: str | None) -> float:
    """The score of a trial, or what it is read `by`; minus infinity if it broke."""
    if record.ending is Ending.BROKEN or (by is None and record.score is None):
        return -math.inf
    if by is None:
        return float(record.score or 0.0)
    value = score_of(record.numbers, by)
    if value is None:
        raise UserError(f"trials have no number {by!r}{nearest(by, record.numbers)}")
    return value
