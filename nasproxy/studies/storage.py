"""Opening Optuna storages; their URLs, which may hold passwords."""

import atexit
import contextlib
import os
import random
import re
import shutil
import sqlite3
import time
import weakref
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL, make_url

from nasproxy.errors import UserError, reason
from nasproxy.studies.database import Database
from nasproxy.system.files import expanded, scratch_folder

DEFAULT_STORAGE = "sqlite:///nasproxy.db"
_EFFECTIVE = os.access in os.supports_effective_ids
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
    read_only = sqlite and must_exist and _is_read_only(Path(parsed.database or ""))
    if read_only:
        parsed = parsed.set(database=_copied(Path(parsed.database or ""), shown))
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
            if read_only:
                sqlalchemy.event.listen(storage.engine, "connect", _refuse_writes)
            storage.engine.dispose()  # connections made before the listener would not relax
            atexit.register(_close, weakref.ref(storage.engine))
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


def as_storage(
    storage: optuna.storages.BaseStorage | str | None, must_exist: bool = False
) -> optuna.storages.BaseStorage:
    """A storage itself, or that of a URL, or one in memory, as `open_storage` opens it."""
    if isinstance(storage, optuna.storages.BaseStorage):
        return storage
    return open_storage(storage, must_exist)


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
    if parsed.get_backend_name() == "sqlite" and (parsed.database or "").startswith("~/"):
        parsed = parsed.set(database=str(expanded(parsed.database or "")))
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


def _open_with_patience(url: str, options: dict[str, Any]) -> Database:
    for left in reversed(range(_TRIES)):
        try:
            return Database(url, engine_kwargs=dict(options))
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


def _is_read_only(path: Path) -> bool:
    """Whether a database that is there can't be written, or its log beside it."""
    may = all(os.access(p, os.W_OK, effective_ids=_EFFECTIVE) for p in (path, path.parent))
    return path.is_file() and not may


def _copied(path: Path, shown: str) -> str:
    """A copy of a database, with its log and pictures, since sqlite locks what it only reads.

    Raises:
        UserError: it may not be read.
    """
    folder = scratch_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        for one in (path, path.with_name(f"{path.name}-wal")):
            if one.exists():
                shutil.copyfile(one, folder / one.name)
        pictures = path.with_name(f"{path.name}.artifacts")
        if pictures.is_dir():
            shutil.copytree(pictures, folder / pictures.name)
    except (OSError, shutil.Error) as error:
        raise UserError(f"cannot open the storage {shown}: {error}") from None
    return str(folder / path.name)


def _refuse_writes(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA query_only=ON")  # what goes into a copy would be lost


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


def _close(engine: "weakref.ref[sqlalchemy.Engine]") -> None:
    """Close a database's connections when the process ends: the last writes its log into it."""
    if (there := engine()) is not None:
        with contextlib.suppress(Exception):  # the file may be gone
            there.dispose()


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
