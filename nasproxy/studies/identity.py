"""What must be the same for trials to belong to one study; finding and making studies by it.

An identity is what data and code *are*, not how they are spelt: digests, the recipe, the options of
a space. How a training is read is not part of it: all readings are recorded, and another reading
of trainings that are there must not train again.
"""

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from nasproxy.data.dataset import Dataset
from nasproxy.data.named import DATASETS
from nasproxy.errors import UserError, nearest, reason
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.making import parse_by
from nasproxy.estimators.training_free import BATCH
from nasproxy.spaces.same import accepted, difference, digests_of, is_same_space
from nasproxy.spaces.space import Space
from nasproxy.studies.record import check_trial
from nasproxy.studies.storage import STORAGE_ERRORS
from nasproxy.system.spelling import parse_spec
from nasproxy.training.recipe import Recipe

# attributes of a study that are its identity as they stand
_SAME = (
    *("budget", "seeds", "seed", "pruner", "dataset_digest"),
    *("trained_on", "flip", "scored_on", "table", "code", "metric_code", "parts"),
)


def describe(
    space: Space,
    estimator: Estimator,
    data: Dataset | None,
    seeds: int,
    seed: int,
    pruner: str,
) -> dict[str, Any]:
    """The attributes that say what a study is: those of its identity, and how they were spelt."""
    about: dict[str, Any] = {
        "space": space.name,
        **digests_of(space),
        "budget": f"{space.max_params or 'any'} parameters, {space.max_flops or 'any'} FLOPs",
        "seeds": seeds,
        "seed": seed,
        "pruner": pruner,
        "kind": estimator.kind,
        "cost": estimator.seconds_once,
        **estimator.identity,
    }
    if estimator.components:
        about["components"] = ",".join(estimator.components)
    if any(len(part.names) > 1 or part.weight != 1 for part in estimator.parts):
        about["parts"] = json.dumps([[part.weight, part.names] for part in estimator.parts])
    if estimator.needs_data and data is not None:
        about |= {"dataset": data.name, "dataset_digest": data.digest}
    return about


def identity(about: Mapping[str, Any]) -> dict[str, Any]:
    """The identity in a study's attributes, also of one that an older version made.

    But for its space's code, which more than one digest stands for: see `is_same_space`.
    """
    same = {key: about[key] for key in _SAME if key in about}
    if isinstance(about.get("space"), str):
        same["space's options"] = parse_spec(about["space"])[1]
    by = about.get("estimator")
    if isinstance(about.get("recipe"), str):
        given = json.loads(about["recipe"])
        # fields that came later than the study have their default
        recipe = {f.name: f.default for f in dataclasses.fields(Recipe)} | given
        same |= {name: value for name, value in recipe.items() if name != "read"}
        if "flip" not in same and about.get("dataset") in DATASETS:
            same["flip"] = DATASETS[about["dataset"]].flip
    elif isinstance(by, str) and "table" in about:
        same["column"] = parse_by(by).column
    elif isinstance(by, str):
        same["estimator"] = by.removesuffix(f":batch_size={BATCH}")
    return same


def reading_of(study: optuna.Study) -> str | None:
    """Which reading the values of a study's trials are of; None where there is only one."""
    recipe = study.user_attrs.get("recipe")
    return None if recipe is None else str(json.loads(recipe)["read"])


def require_same(name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with a study of something else.

    Args:
        name: of the study.
        found: its attributes.
        wanted: the attributes that it would be made with now.

    Raises:
        UserError: their identities differ, with both values.
    """
    there, now = identity(found), identity(wanted)
    for key, value in now.items():
        if key in there and there[key] != value:
            raise UserError(
                f"study {name!r} was made with {key} = {there[key]}, "
                f"now it is {value}; take another study name, or start afresh"
            )
    if changed := difference(found, wanted):
        raise UserError(
            f"study {name!r} was made with another code of its space: {changed}; take another "
            "study name, or give --accept-space if both build the same networks"
        )


def siblings(study: optuna.Study) -> Iterator[optuna.Study]:
    """Studies in the same storage with the same identity: of the same trainings, read otherwise."""
    mine = study.user_attrs
    storage = study._storage
    for other in storage.get_all_studies():
        with contextlib.suppress(UserError, ValueError, TypeError):  # not of our making
            about = other.user_attrs
            same = identity(about) == identity(mine) and is_same_space(about, mine)
            if same and other.study_name != study.study_name:
                yield optuna.load_study(study_name=other.study_name, storage=storage)


def open_study(
    name: str | None,
    storage: optuna.storages.BaseStorage,
    about: Mapping[str, Any],
    record: Mapping[str, Any],
    metric: str,
    accept_space: bool = False,
) -> optuna.Study:
    """Make a study, or go on with one of the same identity.

    Args:
        name: None for one that Optuna names.
        storage: where.
        about: see `describe`.
        record: what else is written down as long as the study is empty.
        metric: the name of the score, for the dashboard.
        accept_space: whether the code of its space may be another by now: the study says so then.

    Raises:
        UserError: a study of that name has another identity.
    """
    sampler = optuna.samplers.RandomSampler(seed=0)  # ours choose; TPE would think at each ask
    with _readable("the storage" if name is None else f"study {name!r}"):
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=sampler,
            direction="maximize",
            load_if_exists=True,
        )
    found, trials = _read(study)
    if not identity(found) and trials:
        raise UserError(f"study {study.study_name!r} was not made by nasproxy; take another name")
    _check(study)
    taken = accepted(found, about) if accept_space else {}
    require_same(study.study_name, {**found, **taken}, about)
    # what older trials were made with is not known if it isn't there
    for key, value in {**({} if trials else record), **about, **taken}.items():
        if key not in found:
            study.set_user_attr(key, value)
    require_same(study.study_name, study.user_attrs, about)  # one made at the same moment
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([metric])
    return study


def note_floor(study: optuna.Study, estimator: Estimator) -> None:
    """Write down, once, what a network must exceed to have learnt anything: it takes seconds."""
    if "chance" not in study.user_attrs:
        for key, value in estimator.floor.items():
            study.set_user_attr(key, value)


def load_study(name: str, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """A study by name.

    Raises:
        UserError: there is none, or its trials are not as we leave them.
    """
    names = study_names(storage)
    if name not in names:
        raise UserError(f"no study {name!r} in the storage{nearest(name, names)}")
    with _readable(f"study {name!r}"):
        study = optuna.load_study(study_name=name, storage=storage)
    _check(study)
    return study


def study_names(storage: optuna.storages.BaseStorage) -> list[str]:
    """Names of all studies in a storage.

    Raises:
        UserError: it can't be read.
    """
    with _readable("the storage"):
        return optuna.study.get_all_study_names(storage)


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    """Refuse what makes no sense in a storage, which Optuna takes on trust: its JSON and names.

    Raises:
        UserError: something does.
    """
    try:
        yield
    except STORAGE_ERRORS:
        raise
    except Exception as error:
        raise UserError(f"{what} can't be read: {reason(error)}") from None


def _read(study: optuna.Study) -> tuple[dict[str, Any], list[FrozenTrial]]:
    """The attributes and the trials of a study.

    Raises:
        UserError: what the storage holds of them makes no sense.
    """
    with _readable(f"study {study.study_name!r}"):
        study.metric_names  # noqa: B018  # reads what Optuna itself has written
        identity(study.user_attrs)
        return study.user_attrs, study.get_trials(deepcopy=False)


def _check(study: optuna.Study) -> None:
    """Refuse a study that somebody else made or changed.

    Raises:
        UserError: it has what ours never have.
    """
    attributes, trials = _read(study)
    ours = study.directions == [StudyDirection.MAXIMIZE]
    ours &= isinstance(attributes.get("seeds", 1), int)
    ours &= isinstance(attributes.get("cost", 0.0), int | float | None)
    if not ours:
        raise UserError(f"study {study.study_name!r} is not one that nasproxy made")
    for trial in trials:
        check_trial(study.study_name, trial)
