"""SIGKILL at random moments: nothing finished is lost, nothing counted twice, no file is torn."""

import json
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from PIL import Image

from nasproxy import rank
from nasproxy.cli import main
from nasproxy.system.files import scratch_folder, write_text
from tests.studies.test_claims import (
    FORKSERVER,
    SPACE,
    TRAINED,
    Noted,
    alone,
    calls,
    check,
    drive,
    made,
)

KILLED = -signal.SIGKILL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "space.py").write_text(SPACE)
    return tmp_path


def _killed_at(
    seconds: float, target: Callable[..., None], /, *arguments: Any, **more: Any
) -> bool:
    """Start a process and kill it some seconds later; whether it was still there."""
    process = FORKSERVER.Process(target=target, args=arguments, kwargs=more)
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, KILLED)
    return process.exitcode == KILLED


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"sampler": "tpe", "trials": 20}], ids=["all", "tpe"])
def test_a_driver_killed_again_and_again(folder: Path, more: dict[str, Any]) -> None:
    url = f"sqlite:///{folder / 's.db'}"
    generator = np.random.default_rng(0)
    assert not _killed_at(60, drive, str(folder), url, study="first", **more)  # all is imported
    start = time.monotonic()
    assert not _killed_at(60, drive, str(folder), url, study="second", **more)
    whole = time.monotonic() - start  # with no training: what the driver itself takes
    hits = 0
    while hits < 15:  # an attempt that comes too late is none; those that begin always can be hit
        hits += _killed_at(
            generator.uniform(0, whole), drive, str(folder), url, seconds=0.02,
            study=f"s{hits // 5}", **more,
        )  # fmt: skip
    (folder / "calls").unlink()
    for name in ("s0", "s1", "s2"):
        drive(str(folder), url, study=name, **more)
        study = optuna.load_study(study_name=name, storage=url)
        if not more:
            check(study, alone(folder))
        kept = [t for t in study.trials if "architecture" in t.user_attrs]
        keys = [
            t.user_attrs["architecture"]
            for t in kept
            if t.state is not optuna.trial.TrialState.FAIL and "duplicate" not in t.user_attrs
        ]
        assert len(keys) == len(set(keys))
        assert all(t.state.is_finished() for t in study.trials)
        if more:
            ended = [t for t in study.trials if t.state is optuna.trial.TrialState.COMPLETE]
            assert len(ended) == 20
            assert all({"score_seed0", "score_seed1"} <= t.user_attrs.keys() for t in ended)


def _workers() -> list[int]:
    """Worker processes of this process."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"popen_loky" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_workers_killed_eight_times(folder: Path) -> None:
    generator = np.random.default_rng(0)
    over = threading.Event()
    hits = []

    def killing() -> None:
        done = 0
        while len(hits) < 8 and not over.wait(generator.uniform(0, 0.2)):
            if sum(calls(folder).values()) < done + 3 or not (there := _workers()):
                continue  # nobody dies three times of the same architecture by chance
            done = sum(calls(folder).values())
            os.kill(int(generator.choice(there)), signal.SIGKILL)
            hits.append(done)

    killer = threading.Thread(target=killing)
    killer.start()
    try:
        study = rank(
            f"{folder}/space.py", Noted(str(folder), 0.2), data=made(), sampler="all", seeds=2,
            jobs=2,
        )  # fmt: skip
    finally:
        over.set()
        killer.join()
    assert len(hits) == 8
    check(study, alone(folder))
    assert 2 * TRAINED < sum(calls(folder).values()) <= 2 * TRAINED + 4 * len(hits)


def _scratch(parent: str, queue: Any) -> None:
    tempfile.tempdir = parent
    queue.put(scratch_folder())
    time.sleep(600)


@pytest.mark.slow
def test_what_a_killed_process_left_of_its_data_goes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "nasproxy-of-somebody-else-x").mkdir()
    queue = FORKSERVER.Queue()
    processes = [FORKSERVER.Process(target=_scratch, args=(str(tmp_path), queue)) for _ in range(2)]
    for process in processes:
        process.start()
    folders = {queue.get(timeout=60), queue.get(timeout=60)}
    processes[0].kill()
    processes[0].join()
    own = scratch_folder()
    left = set(tmp_path.glob("nasproxy-*")) - {own, tmp_path / "nasproxy-of-somebody-else-x"}
    processes[1].kill()
    processes[1].join()
    assert len(left & folders) == len(left) == 1
    assert own.stat().st_mode & 0o77 == 0
    other = scratch_folder()
    assert set(tmp_path.glob("nasproxy-*")) == {
        own, other, tmp_path / "nasproxy-of-somebody-else-x",
    }  # fmt: skip


def _correlate(folder: str) -> None:
    torch.set_num_threads(1)
    storage = ("--storage", f"sqlite:///{folder}/s.db")
    out = ("--out", f"{folder}/report", "--json")
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        status = main(["correlate", "--truth", "t", "--study", "s", *storage, *out])
    assert status == 0


@pytest.mark.slow
def test_correlate_killed_fifteen_times(folder: Path) -> None:
    url = f"sqlite:///{folder / 's.db'}"
    for name in ("s", "t"):
        drive(str(folder), url, study=name)
    start = time.monotonic()
    assert not _killed_at(60, _correlate, str(folder))
    whole = time.monotonic() - start
    report = folder / "report"
    expected = {path.name: path.read_bytes() for path in report.iterdir()}
    assert {"report.json", "report.md", "scores.png", "spearman.png"} <= expected.keys()
    generator = np.random.default_rng(0)
    hits = 0
    while hits < 15:
        if hits % 5 == 0:
            for path in report.iterdir():
                path.unlink()
        hits += _killed_at(generator.uniform(0, whole), _correlate, str(folder))
        for path in report.iterdir():
            if path.name.startswith("."):
                continue  # on the way to being one
            if path.suffix == ".png":
                Image.open(path).load()
            elif path.suffix == ".json":
                json.loads(path.read_text())
            assert path.stat().st_size >= 0.9 * len(expected[path.name])
    _correlate_whole(folder)
    assert {path.name for path in report.iterdir()} == expected.keys()  # nothing is left over
    assert (report / "report.json").read_bytes() == expected["report.json"]


def _correlate_whole(folder: Path) -> None:
    assert not _killed_at(60, _correlate, str(folder))


def _write_for_ever(path: str) -> None:
    while True:
        write_text(Path(path), "x" * 2_000_000)


@pytest.mark.slow
def test_a_file_killed_twenty_times_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    generator = np.random.default_rng(0)
    left = 0
    for _ in range(20):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = FORKSERVER.Process(target=_write_for_ever, args=(str(path),))
        process.start()
        while not path.exists() or path.stat().st_mtime_ns == before:
            time.sleep(0.001)
        time.sleep(generator.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == KILLED
        assert path.stat().st_size == 2_000_000
        left = max(left, len(list(tmp_path.iterdir())) - 1)
    assert left == 1  # what a kill leaves goes with the next write
    write_text(path, "y")
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_a_file_that_another_process_is_writing_is_let_be(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    here = multiprocessing.get_context("fork")
    ready, go = here.Event(), here.Event()

    def write(temporary: Path) -> None:
        temporary.write_text("theirs")
        ready.set()
        go.wait()

    from nasproxy.system.files import write_atomically

    process = here.Process(target=write_atomically, args=(path, write))
    process.start()
    ready.wait()
    write_text(path, "ours")
    assert path.read_text() == "ours"
    go.set()
    process.join()
    assert process.exitcode == 0
    assert path.read_text() == "theirs"
