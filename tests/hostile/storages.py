"""Databases of studies: damaged, of other programs, or altered by hand."""

# ruff: noqa: E501 - a case a line reads best

import functools
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from nasproxy.studies.storage import open_storage
from tests.hostile.case import (
    EITHER,
    Case,
    Good,
    compared,
    cut,
    odd_file,
    ranked_by,
    rows,
    written,
)

RAW = {
    "text": b"no database at all\n" * 500,
    "a header alone": b"SQLite format 3\0",
    "a header and zeros": b"SQLite format 3\0" + bytes(4000),
    "random": np.random.default_rng(0).bytes(8192),
}
ALTERED = {
    "a newer schema": "UPDATE alembic_version SET version_num = 'v99.0.0.a'",
    "an older schema": "UPDATE alembic_version SET version_num = 'v0.9.0.a'",
}
# a writer may touch the file before it comes to these
FOUND_WHEN_READ = {
    "columns of another name": "ALTER TABLE trials RENAME COLUMN state TO status",
    "states unheard of": "UPDATE trials SET state = 'LOST'",
}
ADDRESSES = (
    ("no URL", "storage", "storage"),
    ("no scheme", "://x", "storage"),
    ("an unknown scheme", "nonsense://x", "nonsense"),
    ("a driver that is not there", "oracle://u:secret@h/d", "oracle"),
    ("no file", "sqlite://", "file"),
    ("in memory", "sqlite:///:memory:", "file"),
    ("a folder that can't be", "sqlite:////proc/nowhere/s.db", "/proc/nowhere"),
    ("empty", "", "storage"),
)
HOLDS = "UPDATE trial_user_attributes SET value_json = '{}' WHERE key = '{}'"
LACKS = "DELETE FROM trial_user_attributes WHERE key = '{}'"
STUDY_HOLDS = "UPDATE study_user_attributes SET value_json = '\"x\"' WHERE key = '{}'"
# How a study is used that another has altered; each alteration is used in one of the ways, the
# first two in all.
WAYS: dict[str, tuple[Any, ...]] = {
    "compared": (),
    "like": ("--like", "params", "--study", "new"),
    "gone on with": ("--study", "params", "--trials", 5),
}
BY_HAND = {
    "no architectures": LACKS.format("architecture"),
    "attributes that are no JSON": HOLDS.format("{", "drawn"),
    "architectures that are numbers": HOLDS.format("7", "architecture"),
    "architectures that are lists": HOLDS.format("[1]", "architecture"),
    "no draws": LACKS.format("drawn"),
    "draws that are lists": HOLDS.format("[1]", "drawn"),
    "sizes that are text": HOLDS.format('"many"', "params"),
    "seconds that are lists": HOLDS.format("[1]", "seconds"),
    "no attributes of the study": "DELETE FROM study_user_attributes",
    "studies of no JSON": "UPDATE study_system_attributes SET value_json = '{'",
    "studies of nothing": "UPDATE study_system_attributes SET value_json = NULL",
    "seeds that are text": STUDY_HOLDS.format("seeds"),
    "a cost that is text": STUDY_HOLDS.format("cost"),
    "no parameters": "DELETE FROM trial_params",
    "parameters of another range": "UPDATE trial_params SET param_value = 77",
    "distributions that are no JSON": "UPDATE trial_params SET distribution_json = '{'",
    "no scores": "DELETE FROM trial_values",
    "scores of two objectives": "INSERT INTO study_directions (direction, study_id, objective) SELECT 'MAXIMIZE', study_id, 1 FROM studies",
    "scores to be minimised": "UPDATE study_directions SET direction = 'MINIMIZE'",
}  # fmt: skip


def _ranked_into(path: Path, good: Good) -> list[Any]:
    return [*ranked_by("params", good)[:-1], f"sqlite:///{path}"]


def _read_from(path: Path, good: Good) -> list[Any]:
    return [*compared("params", "flops"), "--storage", f"sqlite:///{path}"]


def _altered(good: Good, path: Path, statement: str) -> Path:
    shutil.copy(good.storage, path)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


Use = Callable[[Path, Good], list[Any]]


def _files(use: Use) -> Iterator[tuple[str, Any, Any]]:
    """What is no database of ours: a name, its content, and how that is made a file."""

    def shortened(percent: int, folder: Path, good: Good) -> Any:
        return use(cut(good.storage, percent, folder / "s.db"), good)

    def raw(content: bytes, folder: Path, good: Good) -> Any:
        return use(written(folder / "s.db", content), good)

    def odd(kind: str, folder: Path, good: Good) -> Any:
        return use(odd_file(kind, folder / "s.db"), good)

    def others(statement: str, folder: Path, good: Good) -> Any:
        with sqlite3.connect(folder / "s.db") as connection:
            connection.execute(statement)
        connection.close()
        return use(folder / "s.db", good)

    def altered(statement: str, folder: Path, good: Good) -> Any:
        return use(_altered(good, folder / "s.db", statement), good)

    yield from ((f"cut at {n}%", n, shortened) for n in (1, 40, 95))
    yield from ((name, content, raw) for name, content in RAW.items())
    yield from ((kind, kind, odd) for kind in ("a folder", "a pipe"))
    yield "of another program", "CREATE TABLE bookmarks (url TEXT)", others
    yield from ((name, statement, altered) for name, statement in ALTERED.items())
    if use is _read_from:
        yield "an empty file", b"", raw
        yield from ((name, statement, altered) for name, statement in FOUND_WHEN_READ.items())


def storages() -> Iterator[Case]:
    for how, use in (("read", _read_from), ("written", _ranked_into)):
        for name, content, make in _files(use):
            said = "study 'params'" if (how, name) == ("read", "states unheard of") else "s.db"
            yield from rows(f"storage, {how}", make, [(name, content, said)])

    def address(url: str, folder: Path, good: Good) -> Any:
        return [*ranked_by("params", good)[:-1], url]

    def by_hand(statement: str, folder: Path, good: Good, how: str) -> Any:
        path = _altered(good, folder / "s.db", statement)
        words = _read_from(path, good) if how == "compared" else _ranked_into(path, good)
        return [*words, *WAYS[how], "--json"]

    yield from rows("storage is", address, ADDRESSES)
    for number, (name, statement) in enumerate(BY_HAND.items()):
        for how in [*WAYS] if number < 2 else [[*WAYS][number % 3]]:
            make = functools.partial(by_hand, how=how)
            yield from rows(f"study, {how}", make, [(name, statement, EITHER)])
    yield from _of_others()


def _of_others() -> Iterator[Case]:
    """Studies that are sound, but of another estimator or another program."""

    def gone_on_with(name: str, folder: Path, good: Good) -> list[Any]:
        path = Path(shutil.copy(good.storage, folder / "s.db"))
        storage = open_storage(f"sqlite:///{path}")
        study = optuna.create_study(study_name="theirs", storage=storage)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 3)
        storage.engine.dispose()
        return [*_ranked_into(path, good), "--study", name]

    def like(name: str, folder: Path, good: Good) -> Any:
        return [*gone_on_with("new", folder, good), "--like", name]

    def comparison(name: str, folder: Path, good: Good) -> Any:
        gone_on_with(name, folder, good)
        return [*compared("params", name), "--storage", f"sqlite:///{folder / 's.db'}"]

    yield from rows("study of another", gone_on_with, [("estimator", "flops", "'flops'")])
    for how in (gone_on_with, like, comparison):
        yield from rows(
            f"study of another program, {how.__name__}", how, [("", "theirs", "theirs")]
        )
