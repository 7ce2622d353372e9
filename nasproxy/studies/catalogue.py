"""The studies of a storage: listed, shown, renamed, deleted."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages._rdb import models
from sqlalchemy.orm import Session

from nasproxy.errors import UserError, nearest
from nasproxy.studies.dashboard import forget_pictures
from nasproxy.studies.identity import load_study, study_names
from nasproxy.studies.note import annotate
from nasproxy.studies.record import read_records
from nasproxy.studies.storage import database_of, open_storage


def open_studies(url: str) -> optuna.storages.BaseStorage:
    """The storage at a URL, or that in the folder of a run or search.

    Raises:
        UserError: it isn't there.
    """
    kept = Path(url) / "study.db"
    return open_storage(f"sqlite:///{kept}" if kept.is_file() else url, must_exist=True)


def summaries(storage: optuna.storages.BaseStorage) -> list[dict[str, Any]]:
    """What each study is, as JSON values, in the order of their beginning.

    One that can't be read, or that another program made, has a ``note`` that says so.
    """
    found = [summary_of(name, storage) for name in study_names(storage)]
    return sorted(found, key=lambda row: row["begun"] or "")


def summary_of(name: str, storage: optuna.storages.BaseStorage) -> dict[str, Any]:
    """What one study is: ``study``, ``scored``, ``endings``, ``estimator``, ``space``, ``data``,
    ``begun`` and ``last`` (ISO dates of the first and the last trial) and ``note``."""
    row: dict[str, Any] = dict.fromkeys(("estimator", "space", "data", "begun", "last", "note"))
    row = {"study": name, "scored": 0, "endings": {}, **row}
    try:
        study = load_study(name, storage)
        about, trials = study.user_attrs, study.get_trials(deepcopy=False)
        endings = Counter(str(record.ending) for record in read_records(study))
    except UserError as error:
        return {**row, "note": str(error)}
    given = {k: about.get(k) for k in ("estimator", "space")} | {"data": about.get("dataset")}
    return {
        **row,
        **{key: None if value is None else str(value) for key, value in given.items()},
        "scored": endings["scored"],
        "endings": dict(endings),
        "begun": _date(min, [t.datetime_start for t in trials]),
        "last": _date(max, [t.datetime_complete for t in trials]),
        "note": None if "estimator" in about else "not made by nasproxy",
    }


def _date(which: Any, times: Sequence[datetime | None]) -> str | None:
    known = [time for time in times if time is not None]
    return which(known).isoformat(" ", "seconds") if known else None


def require_studies(names: Sequence[str], storage: optuna.storages.BaseStorage) -> None:
    """Refuse names that no study of a storage has.

    Raises:
        UserError: one is unknown.
    """
    known = study_names(storage)
    for name in names:
        if name not in known:
            raise UserError(f"no study {name!r} in the storage{nearest(name, known)}")


def delete_study(name: str, storage: optuna.storages.BaseStorage) -> None:
    """Delete a study, also one that can't be read, and its pictures."""
    study = optuna.load_study(study_name=name, storage=storage)
    forget_pictures(study)
    optuna.delete_study(study_name=name, storage=storage)


def rename_study(name: str, new: str, storage: optuna.storages.BaseStorage) -> None:
    """Give a study another name; its trials, and whoever is at it, stay as they are.

    Raises:
        UserError: a study has that name already, or it would be taken for something else.
    """
    require_studies([name], storage)
    if not new.strip() or new != new.strip() or new.startswith("table:") or "@" in new:
        raise UserError(
            f"expected a name that is no table's and has no @ and no space around it, got {new!r}"
        )
    if new in study_names(storage):
        raise UserError(f"there is a study {new!r} already; give another name, or delete it first")
    database = database_of(storage)
    if database is None:
        raise UserError("expected a storage in a database: others can't rename")
    table = models.StudyModel
    with Session(database.engine) as session, session.begin():
        session.execute(
            sqlalchemy.update(table).where(table.study_name == name).values(study_name=new)
        )
    study = optuna.load_study(study_name=new, storage=storage)
    if "estimator" in study.user_attrs:
        annotate(study)  # its note has the name in it
