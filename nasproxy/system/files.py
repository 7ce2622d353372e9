"""Writing files so that a reader never sees half of one."""

import contextlib
import glob
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from nasproxy.errors import UserError
from nasproxy.system.processes import is_alive, this_process
from nasproxy.system.progress import say

_BOMB = 2**30, 200  # an array that unpacks to more bytes, and to so many times its packed size


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary name in the same folder, then rename it to `path`.

    What a killed process left of an earlier attempt at the same file is removed.

    Raises:
        UserError: the folder can't be made or written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path)
        prefix = f".{path.name}.{this_process()}."
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 would hide the file from others
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write {path}: {why}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: Path, waiting_for: str, show: bool = True) -> Iterator[None]:
    """Let one process at a time, of those that share a folder, through the block.

    Args:
        folder: that they share.
        waiting_for: what is said while another is in it.
        show: whether it is.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting: {waiting_for}", show)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _remove_left(path: Path) -> None:
    """Remove temporary files for `path` whose processes, of this machine, are gone."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        made_by = left.name.removeprefix(f".{path.name}.").removesuffix(path.suffix)
        if is_alive(made_by.rpartition(".")[0]) is False:
            left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document atomically, indented; NaN and infinity are refused."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def read_npz(
    path: Path, instead: Callable[[Path, str], Any] = lambda path, name: None
) -> dict[str, Any]:
    """The arrays of an ``.npz`` file; pickled objects are refused.

    Args:
        path: the file.
        instead: what to give for an array of this file and name; None for the array itself.

    Raises:
        UserError: the file is missing, damaged or holds more than plain arrays.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > max(_BOMB[0], _BOMB[1] * member.compress_size):
                    raise ValueError(f"{member.filename} unpacks to {member.file_size} bytes")
        with np.load(path, allow_pickle=False) as file:
            given = {key: instead(path, key) for key in file.files}
            arrays = {k: file[k] if found is None else found for k, found in given.items()}
        if raw := [name for name, array in arrays.items() if isinstance(array, bytes)]:
            raise ValueError(f"{raw[0]} is no array")
        return arrays
    except Exception as error:  # numpy, zipfile and zlib each have their own
        raise UserError(f"{path}: not a readable .npz of plain arrays ({error})") from None


def make_folder(path: Path) -> None:
    """Make a folder and make sure, before any long work, that files can be put there.

    Raises:
        UserError: it can't be made or written to.
    """
    probe = path / ".nasproxy-write-test"
    write_atomically(probe, lambda temporary: None)
    probe.unlink(missing_ok=True)


def expanded(path: str | Path) -> Path:
    """A path with the user's folder for ``~``; the temporary one of a user who has none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no $HOME, and nobody knows this user
        return Path(tempfile.gettempdir(), *Path(path).parts[1:])


def runs_folder(*names: str) -> Path:
    """Where a command puts what it makes unless told otherwise: runs/ and what it is about.

    Of files the name alone counts, of spaces with options these too: what differs in them is
    another job, and must not meet in one folder.
    """
    parts = []
    for name in names:
        of_file, _, options = name.partition(":")
        stem = re.sub(r"\.(py|npz)$", "", Path(of_file).resolve().name)
        parts += [stem, re.sub(r"[^\w.=,-]+", "_", options)]
    return Path("runs") / "-".join(filter(None, parts))


def scratch_folder() -> Path:
    """A new temporary folder that only this user reads; those of killed processes are removed.

    They may hold a whole data set each.
    """
    for path in Path(tempfile.gettempdir()).glob("nasproxy-*-*-*-*"):
        owner = path.name.removeprefix("nasproxy-").rpartition("-")[0]
        with contextlib.suppress(OSError):  # another process may be at it, too
            if is_alive(owner) is False:
                shutil.rmtree(path)
    return Path(tempfile.mkdtemp(prefix=f"nasproxy-{this_process()}-"))
