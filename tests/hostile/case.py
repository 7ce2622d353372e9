"""One hostile or broken input, sound files to spoil, and commands that read one file each.

A case makes files in an empty folder and gives the arguments of a command. The command must refuse
them in one line that names the file or the option, or, where a check is given, take them.
"""

import contextlib
import functools
import os
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nasproxy
from tests.conftest import TINY_SPACE, make_arrays

EITHER = "EITHER"  # refused in one line, or taken; what counts is that it never fails otherwise
PARAMS = {"width": 8, "kind": "plain"}  # of a network of the tiny space


@dataclass(frozen=True)
class Good:
    """Sound files, which each case takes as they are or spoils a copy of.

    Attributes:
        npz: data set of 60 images 1x8x8 of three classes, and 30 to test.
        proxy: made from it.
        table: with columns arch, acc and other; six architectures.
        storage: with the studies params and flops of the tiny space on `npz`.
        space: the tiny space.
        network: of it, trained (not really).
    """

    npz: Path
    proxy: Path
    table: Path
    storage: Path
    space: Path
    network: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.storage}"


def make_good(folder: Path) -> Good:
    good = Good(
        npz=folder / "good.npz",
        proxy=folder / "good.safetensors",
        table=folder / "good.csv",
        storage=folder / "good.db",
        space=folder / "good_space.py",
        network=folder / "network.safetensors",
    )
    (x, y), (xt, yt) = make_arrays(60), make_arrays(30, seed=1)
    np.savez(good.npz, x_train=x, y_train=y, x_test=xt, y_test=yt)
    good.space.write_text(TINY_SPACE)
    rows = [f"a{n},{n / 10},{n % 3}" for n in range(6)]
    good.table.write_text("\n".join(["arch,acc,other", *rows]) + "\n")
    data = nasproxy.load_dataset(str(good.npz))
    nasproxy.condense(data, "random", ipc=2).save(good.proxy)
    space = nasproxy.load_space(str(good.space))
    for by in ("params", "flops"):
        nasproxy.rank(space, by, data=data, trials=5, jobs=1, study=by, storage=good.url)
    with contextlib.closing(sqlite3.connect(good.storage)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # it is copied as one file
    network = space.build(PARAMS, (1, 8, 8), 3)
    nasproxy.save_network(good.network, network, space, PARAMS, (1, 8, 8), 3)
    return good


Words = Sequence[Any] | Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: of the test.
        make: makes the files in a folder, and gives the arguments of the command, or a call of
            the Python API.
        expected: what the one line of the refusal must hold; or, of what is taken, whether the
            command's JSON document shows that it was read rightly.
    """

    name: str
    make: Callable[[Path, Good], Words]
    expected: str | Callable[[Any], bool]


def rows(
    prefix: str,
    make: Callable[[Any, Path, Good], Words],
    table: Iterable[tuple[str, Any, str | Callable[[Any], bool]]],
) -> Iterator[Case]:
    """A case a row: its name, what `make` is given, and what is expected."""
    for name, what, expected in table:
        yield Case(f"{prefix}: {name}", functools.partial(make, what), expected)


def all_refused(table: dict[str, Any], says: str) -> Iterator[tuple[str, Any, str]]:
    """Rows that are refused in the same words."""
    return ((name, what, says) for name, what in table.items())


def images(count: int) -> Callable[[Any], bool]:
    """Whether a proxy set of so many images was made."""
    return lambda document: document["images"] == count


# Commands that read one file each, and soon


def ranked_by(path: Any, good: Good) -> list[Any]:
    common = ("--data", good.npz, "--space", good.space, "--jobs", 1, "--quiet")
    return ["rank", "--by", path, "--trials", 2, *common, "--storage", "sqlite:///made.db"]


def condensed(data: Any, *more: Any) -> list[Any]:
    return ["condense", "--method", "random", "--ipc", 1, "--data", data, "--quiet", *more]


def compared(*columns: str) -> list[Any]:
    truth, *others = columns
    return ["correlate", "--truth", truth, *(x for other in others for x in ("--study", other))]


# Files


def written(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


def cut(path: Path, percent: int, to: Path) -> Path:
    """The first percents of a file."""
    whole = path.read_bytes()
    return written(to, whole[: len(whole) * percent // 100])


def odd_file(kind: str, path: Path) -> Path:
    """What is no file: a folder, a pipe, or a link to itself."""
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    return path


def safetensors(header: str | bytes, body: bytes = b"") -> bytes:
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header)) + header + body


def digest(folder: Path) -> dict[str, str]:
    """Everything in a folder, by name: what each is, and a digest of its bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = f"{path.stat().st_mode} {zlib.crc32(path.read_bytes())}"
        else:
            found[name] = str(path.stat().st_mode)
    return found
