"""Many trials of a database read, or written, in a few statements.

Optuna's storages take trials one by one, each in a dozen statements, which is all the time that a
score which is looked up or counted takes; and to read them they make an object of every row. Here
the same rows are written, and read, by Optuna's own models.
"""

import functools
import json
from collections.abc import Callable, Container, Sequence
from typing import Any

import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from nasproxy.errors import UserError, reason

_SOME = 500  # trials


class Database(RDBStorage):
    """Optuna's, but studies of thousands of trials are read several times as fast."""

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """What Optuna's own cache asks for: the trials above an id, and some below."""
        included = {i for i in included_trial_ids if i <= trial_id_greater_than}
        if len(included) > _SOME:  # databases limit what a statement may name
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        table = models.TrialModel
        wanted = (table.study_id == study_id) & (
            (table.trial_id > trial_id_greater_than) | table.trial_id.in_(included)
        )
        if states is not None:
            wanted &= table.state.in_([state for state in TrialState if state in states])
        with Session(self.engine) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session)
            return _read(session, wanted)


def _read(session: Session, wanted: Any) -> list[FrozenTrial]:
    """The trials that meet a condition, in order; equal distributions are one object.

    The trials' own rows are read first: who ends one meanwhile shows it as running, and it is read
    again. The other way round it would have ended without a score, for ever, in Optuna's cache.
    """
    trials = sqlalchemy.select(models.TrialModel).where(wanted).order_by(models.TrialModel.trial_id)
    found: Sequence[Any] = session.scalars(trials).all()

    def rows(table: Any, *columns: Any) -> dict[Any, list[Any]]:
        (key,) = sqlalchemy.inspect(table).primary_key
        query = sqlalchemy.select(table.trial_id, *columns).join(models.TrialModel).where(wanted)
        found: dict[Any, list[Any]] = {}
        for trial_id, *values in session.execute(query.order_by(key)):
            found.setdefault(trial_id, []).append(values)
        return found

    param, value, step = (
        *(models.TrialParamModel, models.TrialValueModel, models.TrialIntermediateValueModel),
    )
    params = rows(param, param.param_name, param.param_value, param.distribution_json)
    values = rows(value, value.value, value.value_type)
    steps = rows(step, step.step, step.intermediate_value, step.intermediate_value_type)
    user, system = (
        rows(table, table.key, table.value_json)
        for table in (models.TrialUserAttributeModel, models.TrialSystemAttributeModel)
    )
    parsed = functools.cache(json_to_distribution)
    return [
        FrozenTrial(
            number=row.number,
            state=row.state,
            value=None,
            values=[value.stored_repr_to_value(*v) for v in values.get(row.trial_id, ())] or None,
            datetime_start=row.datetime_start,
            datetime_complete=row.datetime_complete,
            params={
                name: parsed(text).to_external_repr(number)
                for name, number, text in params.get(row.trial_id, ())
            },
            distributions={name: parsed(text) for name, _, text in params.get(row.trial_id, ())},
            user_attrs={key: json.loads(text) for key, text in user.get(row.trial_id, ())},
            system_attrs={key: json.loads(text) for key, text in system.get(row.trial_id, ())},
            intermediate_values={
                at: step.stored_repr_to_intermediate_value(*stored)
                for at, *stored in steps.get(row.trial_id, ())
            },
            trial_id=row.trial_id,
        )
        for row in found
    ]


def write_trials(
    database: RDBStorage, study_id: int, choose: Callable[[], Sequence[FrozenTrial]]
) -> None:
    """Write finished trials of one objective, numbered after those that are there.

    Args:
        database: where.
        study_id: of the study.
        choose: says which, when nobody else can add trials to the study any more.

    Raises:
        UserError: a parameter has another distribution than before, which Optuna doesn't take.
    """
    with Session(database.engine) as session, session.begin():
        study = models.StudyModel
        session.execute(  # a write, so that SQLite too lets nobody else write from here on
            sqlalchemy.update(study)
            .where(study.study_id == study_id)
            .values(study_name=study.study_name)
        )
        trials = choose()
        _check_distributions(session, study_id, trials)
        table = models.TrialModel
        counted = sqlalchemy.select(sqlalchemy.func.count()).where(table.study_id == study_id)
        number = session.execute(counted).scalar_one()
        rows = [
            table(
                study_id=study_id,
                number=number + k,
                state=trial.state,
                datetime_start=trial.datetime_start,
                datetime_complete=trial.datetime_complete,
            )
            for k, trial in enumerate(trials)
        ]
        session.add_all(rows)
        session.flush()  # gives them their ids
        session.add_all(
            row for of, trial in zip(rows, trials, strict=True) for row in _rows(of.trial_id, trial)
        )


def _rows(trial_id: Any, trial: FrozenTrial) -> list[models.BaseModel]:
    """What is stored of a trial beside its own row."""
    found: list[models.BaseModel] = []
    if trial.value is not None:
        value, kind = models.TrialValueModel.value_to_stored_repr(trial.value)
        found.append(
            models.TrialValueModel(trial_id=trial_id, objective=0, value=value, value_type=kind)
        )
    for name, choice in trial.params.items():
        distribution = trial.distributions[name]
        found.append(
            models.TrialParamModel(
                trial_id=trial_id,
                param_name=name,
                param_value=distribution.to_internal_repr(choice),
                distribution_json=distribution_to_json(distribution),
            )
        )
    for key, value in trial.user_attrs.items():
        found.append(
            models.TrialUserAttributeModel(trial_id=trial_id, key=key, value_json=json.dumps(value))
        )
    for step, value in trial.intermediate_values.items():
        table = models.TrialIntermediateValueModel
        stored, kind_of_step = table.intermediate_value_to_stored_repr(value)
        found.append(
            table(
                trial_id=trial_id,
                step=step,
                intermediate_value=stored,
                intermediate_value_type=kind_of_step,
            )
        )
    return found


def _check_distributions(session: Session, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    """As Optuna does for each trial: a parameter's choices stay the same in a study."""
    known: dict[str, BaseDistribution] = {}
    table = models.TrialParamModel
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if name not in known:
                first = session.execute(
                    sqlalchemy.select(table.distribution_json)
                    .join(models.TrialModel)
                    .where(models.TrialModel.study_id == study_id, table.param_name == name)
                    .limit(1)
                ).scalar_one_or_none()
                known[name] = distribution if first is None else json_to_distribution(first)
            try:
                check_distribution_compatibility(known[name], distribution)
            except ValueError as error:
                raise UserError(f"parameter {name!r}: {reason(error)}") from None
