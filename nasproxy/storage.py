"""Opening Optuna storages and the studies in them."""

import contextlib
import random
import re
import sqlite3
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url

from nasproxy.errors import UserError, nearest, reason

_NEEDED = {"architecture", "drawn"}  # of every trial that has ended
_TEXTS = _NEEDED | {"invalid", "broken", "missing"}
_NUMBERS = {"accuracy", "loss", "params", "macs", "latency", "seconds", "stopped"}
DEFAULT_STORAGE = "sqlite:///nasproxy.db"
_TABLES = {"studies", "version_info"}  # of Optuna's, the first that it makes
_BUSY_SECONDS = 60  # how long to wait for another process's write
_SERVER_SECONDS = 10  # how long to wait for a server's answer
_TRIES = 5  # several drivers that open an empty storage stand in each other's way
# what a database raises that is gone, locked or full, by itself and as Optuna has it
STORAGE_ERRORS = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
_secrets: set[str] = set()  # passwords of the storages that this process has been given


def open_storage(url: str | None, must_exist: bool = False) -> optuna.storages.BaseStorage:
    """Open the storage at a URL, or one in memory for None; sqlite is put in WAL mode.

    Raises:
        UserError: it can't be opened, isn't Optuna's, or isn't there although it must be.
    """
    if url is None:
        return optuna.storages.InMemoryStorage()
    parsed = _parse(url)
    shown = hide_password(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        _prepare_sqlite(parsed.database, shown, must_exist)
    options: dict[str, Any] = {"pool_pre_ping": True}  # servers close idle connections
    if sqlite:
        options = {"connect_args": {"timeout": _BUSY_SECONDS}}
    elif parsed.drivername == "postgresql+psycopg":
        options["connect_args"] = {"connect_timeout": _SERVER_SECONDS}
    try:
        storage = _open_with_patience(parsed.render_as_string(hide_password=False), options)
        sqlalchemy.event.listen(
            storage.engine, "handle_error", lambda context: _name(context, shown)
        )
        if sqlite:
            sqlalchemy.event.listen(storage.engine, "connect", _relax_sync)
            storage.engine.dispose()  # connections made before the listener would not relax
        return storage
    except ImportError:
        extra = "pip install 'nasproxy[postgres]'"
        how = extra if parsed.get_backend_name() == "postgresql" else "install its driver"
        raise UserError(
            f"cannot open the storage {shown}: no Python package for {parsed.drivername} is "
            f"installed; {how}"
        ) from None
    except Exception as error:
        raise UserError(f"cannot open the storage {shown}: {storage_reason(error)}") from None


def database_of(storage: optuna.storages.BaseStorage) -> optuna.storages.RDBStorage | None:
    """The database behind a storage, which Optuna caches; None if there is none."""
    backend = getattr(storage, "_backend", storage)
    return backend if isinstance(backend, optuna.storages.RDBStorage) else None


def _parse(url: str) -> URL:
    """A URL, its driver the one that we install; its passwords are known from now on.

    Nothing of a URL that can't be read is repeated: what may be a password is anyone's guess.
    """
    try:
        parsed = make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        got = repr(url) if "@" not in url and "password" not in url else "one that can't be read"
        raise UserError(
            f"expected a storage URL such as {DEFAULT_STORAGE}, got {got}; a password's special "
            "characters are written as %40 for @, and so on"
        ) from None
    given = [parsed.password, *(value for name, value in _queried(parsed) if "pass" in name)]
    for secret in filter(None, given):
        _secrets.update({str(secret), quote(str(secret), safe="")})
    if "@" in (parsed.host or ""):
        raise UserError("the storage URL has two @: write one in a password as %40")
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _queried(url: URL) -> list[tuple[str, str]]:
    return [(name, value) for name, values in url.normalized_query.items() for value in values]


def hide_password(url: str) -> str:
    """A storage's URL as it may be shown.

    Raises:
        UserError: it is none.
    """
    _parse(url)
    shown = make_url(url)
    shown = shown.update_query_pairs(
        [(name, "***") for name, _ in _queried(shown) if "pass" in name]
    )
    return shown.render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def without_passwords(text: str) -> str:
    """A text in which passwords, of URLs and of the storages given, are blotted out."""
    text = re.sub(r"(://[^\s:@/]*):\S*@", r"\1:***@", text)
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def storage_reason(error: BaseException) -> str:
    """What a database says, in one line, without Optuna's and SQLAlchemy's words around it."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else None
    error = cause or error
    return without_passwords(reason(getattr(error, "orig", None) or error))


def _open_with_patience(url: str, options: dict[str, Any]) -> optuna.storages.RDBStorage:
    for left in reversed(range(_TRIES)):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=dict(options))
        except sqlalchemy.exc.SQLAlchemyError as error:
            made_by_others = isinstance(error, sqlalchemy.exc.IntegrityError)
            if not left or not (made_by_others or "already exists" in str(error)):
                raise
            time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError


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
    return (
        f"the storage {which} failed: {storage_reason(error)}; when it is mended, the same command "
        "goes on from here"
    )


def _relax_sync(connection: Any, record: Any) -> None:
    # in WAL mode this keeps the file sound in a crash; a power cut may lose the last trials
    connection.execute("PRAGMA synchronous=NORMAL")


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
    _check_study(study)
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
        return study.user_attrs, study.get_trials(deepcopy=False)


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
    if not found.keys() & identity.keys() and trials:
        raise UserError(f"study {study.study_name!r} was not made by nasproxy; take another name")
    _check_study(study)
    _require_same(study.study_name, found, identity)
    for key, value in {**record, **identity}.items():
        if key not in found:
            study.set_user_attr(key, value)
    _require_same(study.study_name, study.user_attrs, identity)  # one made at the same moment
    if study.metric_names is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([metric])
    return study


def _require_same(name: str, found: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    for key, value in identity.items():
        if key in found and found[key] != value:
            raise UserError(
                f"study {name!r} was made with {key} = {found[key]}, "
                f"now it is {value}; take another study name, or start afresh"
            )
