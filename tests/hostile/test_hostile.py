"""Every case of `hostile`: one line that says what is wrong, and nothing left behind."""

import contextlib
import gc
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import nasproxy
from nasproxy import UserError, cli
from nasproxy.errors import one_line
from nasproxy.studies import storage
from nasproxy.system.tensors import read_described
from tests.hostile import arrays, options, pictures, proxies, storages, texts
from tests.hostile.case import EITHER, Case, Good, compared, condensed, digest, make_good, ranked_by
from tests.hostile.pictures import fill

GROUPS = (
    *(proxies.proxies, proxies.networks, proxies.foreign),
    *(arrays.arrays, arrays.zips, arrays.npy_folders, arrays.torchvision_files),
    *(pictures.image_folders, texts.tables, texts.configs, texts.spaces),
    *(storages.storages, options.options),
)
CASES = [case for group in GROUPS for case in group()]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    return make_good(tmp_path_factory.mktemp("good"))


@pytest.fixture(autouse=True)
def bounds() -> Iterator[None]:
    """A case fails that takes more than 20 seconds of CPU, a minute in all, or 1 GiB."""

    def late(number: int, frame: object) -> None:
        raise AssertionError("a minute was not enough")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + 2**30
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    handler = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    start = time.process_time()
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    "case",
    [  # each takes a fraction of a second: a third of them by default
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if number % 3 else [])
        for number, case in enumerate(CASES)
    ],
)
def test_case(case: Case, good: Good, tmp_path: Path, capsys, monkeypatch) -> None:
    inputs, work = tmp_path / "in", tmp_path / "work"
    inputs.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    given = case.make(inputs, good)
    words = given if callable(given) else _words(case, given)
    before, sound = digest(tmp_path), digest(good.npz.parent)
    capsys.readouterr()
    monkeypatch.setattr(socket, "getaddrinfo", _no_network)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        status = _api(words) if callable(words) else cli.main(words)
    out, err = capsys.readouterr()
    assert digest(good.npz.parent) == sound
    if callable(case.expected) or (case.expected == EITHER and status == 0):
        assert (status, err) == (0, "")
        assert not warned, [str(w.message) for w in warned]
        assert not callable(case.expected) or case.expected(json.loads(out))
        return
    assert (status, out) == (2, ""), (status, out, err)
    assert err.count("\n") == 1, err
    assert err.startswith("nasproxy: error: "), err
    assert err.rstrip("\n").isprintable(), err
    assert len(err) < 3000, err
    assert case.expected == EITHER or case.expected.casefold() in err.casefold(), err
    gc.collect()  # a storage is closed with the last that knows it
    assert digest(tmp_path) == before


def _words(case: Case, given: Sequence[Any]) -> list[str]:
    """The arguments; the answer is a document where it is looked at."""
    return [*map(str, given), *(["--json"] if callable(case.expected) else [])]


def _no_network(*given: object, **more: object) -> None:
    raise OSError("no network in tests")


def _api(call) -> int:
    """A call of the Python API, with what the command line would make of it."""
    try:
        call()
    except UserError as error:
        print(f"nasproxy: error: {one_line(str(error))}", file=sys.stderr)
        return 2
    return 0


def test_there_are_enough_cases() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 500


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES[::200], ids=lambda case: case.name)
def test_a_process_of_its_own_says_the_same(case: Case, good: Good, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "work").mkdir()
    given = case.make(tmp_path / "in", good)
    assert not callable(given)
    done = subprocess.run(
        [sys.executable, "-m", "nasproxy", *_words(case, given)],
        cwd=tmp_path / "work",
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    if callable(case.expected):
        assert (done.returncode, done.stderr) == (0, "")
        assert case.expected(json.loads(done.stdout))
        return
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("nasproxy: error: ")


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    """What permissions forbid is allowed to root."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        ours = nasproxy.__file__, torch.__file__
        if not all(os.access(path, os.R_OK, effective_ids=True) for path in ours):
            pytest.skip("nobody may read the packages here")
        yield
    finally:
        os.seteuid(me)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can get to, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o777)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("images", "images"),
        ("images/cat", "cat"),
        ("images/cat/0.png", "0.png"),
        ("good.npz", "good.npz"),
        ("good.safetensors", "good.safetensors"),
        ("good.csv", "good.csv"),
        ("c.yaml", "c.yaml"),
        ("good_space.py", "good_space.py"),
    ],
)
def test_what_may_not_be_read(
    spoil: str, says: str, good: Good, open_folder: Path, command, monkeypatch
) -> None:
    monkeypatch.chdir("/")
    for path in (good.npz, good.proxy, good.table, good.space):
        Path(shutil.copy(path, open_folder)).chmod(0o644)
    fill(open_folder / "images")
    (open_folder / "c.yaml").write_text("ipc: 3\n")
    commands = {
        "images": condensed(open_folder / "images"),
        "good.npz": condensed(open_folder / "good.npz"),
        "good.safetensors": ranked_by(open_folder / "good.safetensors", good),
        "good.csv": compared(*(f"table:{open_folder}/good.csv:{c}" for c in ("acc", "other"))),
        "c.yaml": ["run", "--config", open_folder / "c.yaml"],
        "good_space.py": ranked_by("params", good),
    }
    words = _moved(commands[spoil.partition("/")[0]], good, open_folder)
    (open_folder / spoil).chmod(0)
    before = [path.name for path in open_folder.iterdir()]
    with _as_nobody():
        status, out, err = command(*words)
    assert (status, out) == (2, ""), err
    assert err.count("\n") == 1
    assert says in err
    assert [path.name for path in open_folder.iterdir()] == before


def _moved(words: list[Any], good: Good, folder: Path) -> list[Any]:
    """The same words of a command, with the good files in another folder."""
    return [folder / word.name if word in (good.npz, good.space) else word for word in words]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_storage_that_may_not_be_written(
    what: str, good: Good, open_folder: Path, command, monkeypatch
) -> None:
    monkeypatch.chdir("/")
    for path in (good.npz, good.storage, good.space):
        Path(shutil.copy(path, open_folder)).chmod(0o644)
    database = open_folder / good.storage.name
    open_folder.chmod(0o777 if what == "file" else 0o755)
    before = digest(open_folder)
    words = _moved(ranked_by("params", good)[:-1], good, open_folder)
    with _as_nobody():
        status, out, err = command(*words, f"sqlite:///{database}")
    assert (status, out) == (2, ""), err
    assert err.count("\n") == 1
    assert database.name in err
    after = digest(open_folder)
    assert {name: after[name] for name in before} == before


def test_a_storage_that_another_process_holds(
    good: Good, tmp_path: Path, command, monkeypatch
) -> None:
    monkeypatch.setattr(storage, "_BUSY_SECONDS", 0.5)
    database = Path(shutil.copy(good.storage, tmp_path))
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    words = [*ranked_by("flops", good)[:-1], f"sqlite:///{database}", "--study", "new"]
    status, out, err = command(*words)
    holder.execute("ROLLBACK")
    holder.close()
    assert (status, out) == (2, ""), err
    assert err.count("\n") == 1
    assert "locked" in err
    assert database.name in err
    assert command(*words)[0] == 0


_SMALL = """
    import resource, signal, sys
    from nasproxy.cli import main
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
    sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 200_000])
@pytest.mark.parametrize("kind", ["rank", "condense", "copy", "run"])
def test_a_disk_that_is_full(kind: str, size: int, good: Good, tmp_path: Path) -> None:
    """No file may grow beyond some bytes: what is written in one piece is there or not."""
    words: dict[str, list[Any]] = {
        "rank": [*ranked_by("params", good)[:-1], f"sqlite:///{tmp_path / 's.db'}"],
        "condense": [*condensed(good.npz), "--out", tmp_path / "p.safetensors"],
        "copy": ["copy", "convnet", tmp_path / "mine.py"],
        "run": [
            *("run", "--data", good.npz, "--space", good.space, "--trials", 3, "--ipc", 1),
            *("--method", "random", "--proxy.epochs", 1, "--full.epochs", 1, "--jobs", 1),
            *("--quiet", "--out", tmp_path),
        ],
    }
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_SMALL), str(size), *map(str, words[kind])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 2), done.stderr
    if done.returncode == 2:
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("nasproxy: error: ")
        assert str(tmp_path) in done.stderr
    for path in tmp_path.glob("*"):
        assert not path.name.startswith(".") or path.name.endswith(".partial.safetensors"), path
        if path.suffix == ".safetensors":
            assert read_described(path)[0] is not None
    if size == 0:
        assert done.returncode == 2
