"""Nothing is unpickled, files are whole and as readable as the user likes, signals end it soon."""

import ast
import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nasproxy.system.files import write_text
from nasproxy.workers.local import Workers
from tests.conftest import SOON
from tests.hostile.case import Good, make_good

ROOT = Path(__file__).parents[2]
# seconds that Ctrl-C may take: less than 2 on an idle machine, but tests run side by side
# Files may hold code to these; each place is said to be safe for a reason.
SAFE = {
    (
        "nasproxy/workers/scoring.py",
        "pickle.loads",
    ): "what the driver left for its own children, in a folder that only its user can read",
    (
        "nasproxy/workers/dask_worker.py",
        "pickle.load",
    ): "what a Dask worker, whose scheduler is trusted like code, hands to its own child",
    (
        "nasproxy/spaces/code.py",
        "exec",
    ): "a search space is code, and the docs say so",
    (
        "nasproxy/training/exporting.py",
        "torch.jit.load",
    ): "the file that this process has written just now, which is checked before it is kept",
}
DANGEROUS = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads"),
    *("torch.load", "np.load", "numpy.load", "joblib.load", "marshal.loads", "marshal.load"),
    *("shelve.open", "dill.load", "dill.loads", "eval", "exec", "yaml.load", "os.system"),
    *("spec.loader.exec_module", "yaml.unsafe_load", "pd.read_pickle", "torch.jit.load"),
}


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_nothing_is_unpickled() -> None:
    found = set()
    sources = [*ROOT.glob("nasproxy/**/*.py"), *ROOT.glob("search_spaces/**/*.py")]
    assert len(sources) > 50
    for path in sources:
        for name, call in _calls(path):
            plain = any(
                k.arg == "allow_pickle" and ast.unparse(k.value) == "False" for k in call.keywords
            )
            only_tensors = any(
                k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in call.keywords
            )
            if (name == "np.load" and plain) or (name == "torch.load" and only_tensors):
                continue
            if name in DANGEROUS:
                found.add((str(path.relative_to(ROOT)), name))
    assert found == set(SAFE)


def test_estimators_are_left_for_workers_where_only_they_read() -> None:
    with Workers(2) as workers:
        mode = stat.S_IMODE(workers.folder.stat().st_mode)
        folder = workers.folder
    assert mode == 0o700
    assert not folder.exists()


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_have_the_mode_that_the_user_likes(
    mask: int, mode: int, npz: str, tiny_space_file: str, command, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    common = ("--data", npz, "--space", tiny_space_file, "--storage", url, "--jobs", 1)
    proxy, random = tmp_path / "p.safetensors", ("--method", "random", "--ipc", 1)
    compared = ("correlate", "--truth", "params", "--study", "flops", "--storage", url)
    with _umask(mask):
        for words in (
            ("condense", "--data", npz, *random, "--out", proxy),
            ("copy", "convnet", tmp_path / "mine.py"),
            ("rank", "--by", "params", "--trials", 5, *common),
            ("rank", "--by", "flops", "--like", "params", *common),
            (*compared, "--out", tmp_path),
        ):
            status, _, err = command(*words)
            assert status == 0, err
    made = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert made.keys() >= {"p.safetensors", "p.json", "p.png", "mine.py", "s.db", "report.json"}
    assert set(made.values()) == {mode}, made


def test_a_link_is_replaced_and_not_written_through(npz: str, command, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("p.safetensors", "p.json", "p.png", ".p.partial.safetensors"):
        (tmp_path / name).symlink_to(precious)
    words = ("--data", npz, "--ipc", 1, "--steps", 2, "--real-batch", 4, "--width", 4)
    assert command("condense", *words, "--out", tmp_path / "p.safetensors")[0] == 0
    assert precious.read_text() == "mine"
    assert not (tmp_path / "p.safetensors").is_symlink()
    (tmp_path / "mine.py").symlink_to(tmp_path / "nowhere.py")
    command("copy", "convnet", tmp_path / "mine.py")
    assert not (tmp_path / "nowhere.py").exists()


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    return make_good(tmp_path_factory.mktemp("good"))


SLOW_SPACE = """
import time
from torch import nn

class Slow(nn.Module):
    def __init__(self, pixels, classes):
        super().__init__()
        self.linear = nn.Linear(pixels, classes)

    def forward(self, x):
        if self.training:
            time.sleep(0.1)
        return self.linear(x.flatten(1))

def build(trial, input_shape, num_classes):
    trial.suggest_int("number", 1, 12)
    return Slow(input_shape[0] * input_shape[1] * input_shape[2], num_classes)
"""


def _finished(database: Path, study: str) -> int:
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database)) as open_:
        rows = open_.execute(
            "SELECT COUNT(*) FROM trials JOIN studies USING (study_id) "
            "WHERE state = 'COMPLETE' AND study_name = ?",
            (study,),
        )
        return rows.fetchone()[0]
    return 0


def _members(session: int) -> list[int]:
    """Processes of a session that are not just waiting to be buried."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "number", "group"),  # whether all processes get it, as a terminal has it
    [
        ("condense", signal.SIGINT, False),
        ("run", signal.SIGINT, True),
        ("rank", signal.SIGTERM, False),
        ("rank", signal.SIGHUP, True),
        ("search", signal.SIGTERM, False),
    ],
)
def test_signals_end_it_soon_and_it_goes_on(
    kind: str, number: signal.Signals, group: bool, good: Good, tmp_path: Path
) -> None:
    space = tmp_path / "slow.py"
    space.write_text(SLOW_SPACE)
    database, proxy = tmp_path / "study.db", tmp_path / "p.safetensors"
    common = ["--data", good.npz, "--space", space]
    words: dict[str, list[object]] = {
        "condense": [
            *("condense", "--data", good.npz, "--ipc", 2, "--steps", 100_000, "--out", proxy)
        ],
        "rank": [
            *("rank", "--by", "full:epochs=3", *common, "--trials", 12, "--jobs", 2),
            *("--storage", f"sqlite:///{database}", "--study", "full"),
        ],
        "run": [
            *("run", *common, "--trials", 12, "--jobs", 2, "--ipc", 2, "--steps", 2),
            *("--proxy.epochs", 3, "--full.epochs", 3, "--out", tmp_path),
        ],
        "search": [
            *("search", *common, "--trainings", 12, "--jobs", 2, "--full", "full:epochs=3"),
            *("--scores", "params", "--method", "none", "--out", tmp_path),
        ],
    }
    at_work: dict[str, Callable[[], bool]] = {
        "condense": lambda: (tmp_path / ".p.partial.safetensors").exists(),
        "rank": lambda: _finished(database, "full") > 1,
        "run": lambda: _finished(database, "dm-2") > 1,
        "search": lambda: _finished(database, "search") > 1,
    }
    arguments = [sys.executable, "-m", "nasproxy", *map(str, words[kind])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        arguments, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    while not at_work[kind]() and process.poll() is None:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    start = time.monotonic()
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.wait(timeout=60)
    took = time.monotonic() - start
    err = process.communicate()[1]
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number, err
        said = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
        assert err.rstrip().endswith(f"nasproxy: {said}; the same command goes on from here")
        assert "Traceback" not in err
    assert took < SOON
    while _members(process.pid) and time.monotonic() - start < SOON:
        time.sleep(0.05)
    assert not _members(process.pid)
    if kind == "condense":
        assert (tmp_path / ".p.partial.safetensors").exists()
        assert not proxy.exists()
        return
    study = {"rank": "full", "run": "dm-2", "search": "search"}[kind]
    before = _finished(database, study)
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert 0 < before < 12
    assert _finished(database, study) == 12
    with contextlib.closing(sqlite3.connect(database)) as opened:
        states = opened.execute("SELECT DISTINCT state FROM trials").fetchall()
    assert states == [("COMPLETE",)]


INTERRUPTED_SPACE = """
import math
import signal
import time
import weakref
from torch import nn


class Thing:
    pass


def build(trial, input_shape, num_classes):
    width = trial.suggest_int("width", 1, 99)
    if width == 50 and (thing := Thing()):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
        reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing  # as if Ctrl-C came in a callback, where Python throws exceptions away
        time.sleep(1)
    pixels = math.prod(input_shape)
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.Linear(width, num_classes))
"""


def test_ctrl_c_is_not_lost_where_python_throws_exceptions_away(good: Good, tmp_path: Path) -> None:
    space = tmp_path / "interrupted.py"
    space.write_text(INTERRUPTED_SPACE)
    words = ["rank", "--by", "params", "--data", good.npz, "--space", space, "--sampler", "all"]
    words += ["--jobs", 1, "--storage", f"sqlite:///{tmp_path / 's.db'}"]
    arguments = [sys.executable, "-m", "nasproxy", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 130
    assert done.stderr.rstrip().endswith("the same command goes on from here")
    assert "Traceback" not in done.stderr
