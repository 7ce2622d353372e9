"""Opening Optuna storages and the studies in them."""

import sqlite3
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url

from nasproxy.errors import UserError, nearest, reason

_NEEDED = {"architecture", "drawn"}  # of every trial that has ended
_TEXTS = _NEEDED | {"invalid", "broken", "missing"}
_NUMBERS = {"accuracy", "loss", "params", "macs", "latency", "seconds", "stopped"}
DEFAULT_STORAGE = "sqlite:///nasproxy.db"
_TABLES = {"studies", "version_info"}  # of Optuna's, the first that it makes
_BUSY_SECONDS = 60  # how long to wait for another process's write


def open_storage(url: str | None, must_exist: bool = False) -> optuna.storages.BaseStorage:
    """Open the storage at a URL, or one in memory for None; sqlite is put in WAL mode.

    Raises:
        UserError: it can't be opened, isn't Optuna's, or isn't there although it must be.
    """
    if url is None:
        return optuna.storages.InMemoryStorage()
    try:
        parsed = make_url(url)
    except sqlalchemy.exc.ArgumentError:
        raise UserError(f"expected a storage URL such as {DEFAULT_STORAGE}, got {url!r}") from None
    shown = parsed.render_as_string(hide_password=True)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        _prepare_sqlite(parsed.database, shown, must_exist)
    try:
        storage = optuna.storages.RDBStorage(
            url, engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}} if sqlite else {}
        )
        sqlalchemy.event.listen(
            storage.engine, "handle_error", lambda context: _name(context, shown)
        )
        if sqlite:
            sqlalchemy.event.listen(storage.engine, "connect", _relax_sync)
            storage.engine.dispose()  # connections made before the listener would not relax
        return storage
    except Exception as error:
        said = reason(getattr(error, "orig", None) or error)
        if parsed.password:
            said = said.replace(str(parsed.password), "***")
        raise UserError(f"cannot open the storage {shown}: {said}") from None


def _prepare_sqlite(database: str | None, shown: str, must_exist: bool) -> None:
    if not database:
        raise UserError(f"expected a file in the storage URL, got {shown}")
    path = Path(database)
    if database == ":memory:" or (path.exists() and not path.is_file()):
        raise UserError(f"expected a file in the storage URL, got {shown}")
    if must_exist and not path.is_file():
        raise UserError(f"no such storage: {shown}")
    try:
        if path.is_file():
            _require_ours(path, shown, must_exist)
        if not must_exist:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        try:
            # stays with the file; readers such as the dashboard then never wait for the writer
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"cannot open the storage {shown}: {error}") from None


def _require_ours(path: Path, shown: str, must_exist: bool) -> None:
    """Look at a file without changing it: an empty one may become a storage."""
    wal = path.with_name(f"{path.name}-wal")  # of a process that is at it, or was killed
    how = "mode=rw" if wal.exists() else "mode=ro&immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    finally:
        connection.close()
    if not tables & _TABLES and (tables or must_exist):
        raise UserError(f"{shown} is not a storage of Optuna's")


def _name(context: Any, shown: str) -> None:
    """Note on an error which storage it is of."""
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.add_note(shown)


def storage_failure(error: BaseException) -> str:
    """In words, what a storage that was opened failed with later."""
    while error.__cause__ is not None and not isinstance(error, sqlalchemy.exc.SQLAlchemyError):
        error = error.__cause__
    which = " ".join(getattr(error, "__notes__", []))
    return f"the storage {which} failed: {reason(getattr(error, 'orig', None) or error)}"


def _relax_sync(connection: Any, record: Any) -> None:
    # in WAL mode this keeps the file sound in a crash; a power cut may lose the last trials
    connection.execute("PRAGMA synchronous=NORMAL")


def load_study(name: str, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """A study by name.

    Raises:
        UserError: there is none, or its trials are not as we leave them.
    """
    names = optuna.study.get_all_study_names(storage)
    if name not in names:
        raise UserError(f"no study {name!r} in the storage{nearest(name, names)}")
    study = optuna.load_study(study_name=name, storage=storage)
    _check_study(study)
    return study


def _read(study: optuna.Study) -> tuple[dict[str, Any], list[FrozenTrial]]:
    """The attributes and the trials of a study.

    Raises:
        UserError: what the storage holds of them makes no sense.
    """
    try:
        return study.user_attrs, study.get_trials(deepcopy=False)
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError):
        raise
    except Exception as error:  # of the JSON and the names in it
        raise UserError(f"study {study.study_name!r} can't be read: {reason(error)}") from None


def _check_study(study: optuna.Study) -> None:
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
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            continue
        for name in _TEXTS | _NUMBERS:
            kind: Any = str if name in _TEXTS else (int, float)
            given = trial.user_attrs.get(name)
            if not isinstance(given, kind) and (name in trial.user_attrs or name in _NEEDED):
                raise UserError(
                    f"study {study.study_name!r} is not one that nasproxy made, or was changed: "
                    f"trial {trial.number} has the {name} {given!r}"
                )
        if trial.state is TrialState.COMPLETE and not trial.values:
            raise UserError(f"study {study.study_name!r}: trial {trial.number} has lost its score")


def open_study(
    name: str | None,
    storage: optuna.storages.BaseStorage,
    identity: Mapping[str, Any],
    record: Mapping[str, Any],
    metric: str,
) -> optuna.Study:
    """Make a study, or go on with one of the same identity.

    Args:
        name: None for one that Optuna names.
        storage: where.
        identity: what must be the same for its trials to be comparable.
        record: what is only written down when the study is made.
        metric: the name of the score, for the dashboard.

    Raises:
        UserError: a study of that name has another identity.
    """
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=optuna.samplers.RandomSampler(seed=0),  # ours choose; TPE would think at each ask
        direction="maximize",
        load_if_exists=True,
    )
    found, trials = _read(study)
    if not found.keys() & identity.keys() and trials:
        raise UserError(f"study {study.study_name!r} was not made by nasproxy; take another name")
    _check_study(study)
    for key, value in identity.items():
        if key in found and found[key] != value:
            raise UserError(
                f"study {study.study_name!r} was made with {key} = {found[key]}, "
                f"now it is {value}; take another study name, or start afresh"
            )
    for key, value in {**record, **identity}.items():
        if key not in found:
            study.set_user_attr(key, value)
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([metric])
    return study
