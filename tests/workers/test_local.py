"""Local workers: how many, on which device, with how many threads; and whoever is done first."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import nasproxy
from nasproxy import BrokenArchitecture, UserError, rank
from nasproxy.errors import NotInTable
from nasproxy.system.machine import share
from nasproxy.workers import local as workers
from nasproxy.workers.local import Workers
from nasproxy.workers.scoring import DIED
from nasproxy.workers.task import Candidate, Failure, Scores, Task
from tests.conftest import without_times
from tests.studies.test_rank import Estimator

RESTLESS_SPACE = '''"""Networks that take now long, now short."""
import random
import time

from torch import nn


class Restless(nn.Module):
    def forward(self, x):
        time.sleep(random.SystemRandom().uniform(0, 0.05))
        return x


def build(trial, input_shape, num_classes):
    width = trial.suggest_int("width", 2, 40)
    channels, height, side = input_shape
    first = nn.Linear(channels * height * side, width)
    return nn.Sequential(Restless(), nn.Flatten(), first, nn.ReLU(), nn.Linear(width, num_classes))
'''


@pytest.fixture
def restless(tmp_path: Path) -> Path:
    path = tmp_path / "restless.py"
    path.write_text(RESTLESS_SPACE)
    return path


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        ("cpu", 4, ["cpu"] * 5),
        ("cuda", 1, ["cuda:0"] * 5),
        ("cuda", 2, ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]),
        ("cuda", 8, ["cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:4"]),
        ("cuda:1", 4, ["cuda:1"] * 5),
    ],
)
def test_processes_take_the_gpus_in_turn(device: str, gpus: int, expected: list[str]) -> None:
    assert [str(share(torch.device(device), k, gpus)) for k in range(5)] == expected


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", 5), ("cuda", 3), ("cuda:2", 1), ("auto", 3)]
)
def test_there_is_a_process_for_every_gpu(
    device: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(5)))
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)  # the GPUs are not there
    assert Workers(device=device).jobs == expected
    assert Workers(7, device).jobs == 7


def test_two_processes_take_two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(signal, "signal", lambda *given: None)  # other tests want their Ctrl-C
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: taken.append(str(device)))
    for _ in range(3):  # as each process does when it starts
        workers._prepare_next(torch.device("cuda"), tmp_path)
    assert taken == ["cuda:0", "cuda:1", "cuda:0"]


@dataclass(frozen=True)
class Threads(Estimator):
    """Scores the largest number of threads of any library."""

    def __call__(self, candidate, seed: int) -> dict[str, float]:
        from threadpoolctl import threadpool_info

        pools = [pool["num_threads"] for pool in threadpool_info()]
        assert len(pools) > 1
        return {"score": float(max(torch.get_num_threads(), *pools))}


def test_a_worker_has_one_thread_in_every_library(
    tiny_space, data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    study = rank(tiny_space, Threads(), data=data, trials=2, jobs=2)
    assert [trial.value for trial in study.trials if trial.value] == [1.0, 1.0]


def _does(candidate: Candidate, seed: int) -> Scores:
    """What the candidate's key says."""
    if candidate.key == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if candidate.key == "is broken":
        raise BrokenArchitecture("it is")
    if candidate.key == "is not there":
        raise NotInTable("no row")
    return {"score": float(seed)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_task_has_an_outcome(jobs: int) -> None:
    keys = ["is fine", "is broken", "is not there", "dies", "is fine", "is fine"]
    keys = [key for key in keys if jobs > 1 or key != "dies"]
    with Workers(jobs, "cpu") as pool:
        tasks = [Task(_does, Candidate(key, torch.nn.Identity), 7, key) for key in keys]
        outcomes = [(task.of, outcome) for task, outcome in pool.outcomes(tasks)]
    expected = {
        "is fine": {"score": 7.0},
        "is broken": Failure("it is"),
        "is not there": Failure("no row", "missing"),
        "dies": DIED,
    }
    assert sorted(key for key, _ in outcomes) == sorted(keys)
    assert all(outcome == expected[key] for key, outcome in outcomes)


@pytest.mark.parametrize("jobs", [1, 2])
def test_at_most_two_tasks_a_job_are_under_way(jobs: int) -> None:
    taken = done = 0

    def tasks() -> Iterator[Task]:
        nonlocal taken
        for taken in range(1, 9):
            yield Task(_does, Candidate("is fine", torch.nn.Identity), taken)

    with Workers(jobs, "cpu") as pool:
        for _ in pool.outcomes(tasks()):
            assert taken - done <= 2 * jobs
            done += 1
    assert done == 8


def test_a_space_that_changes_meanwhile_is_refused(restless: Path, data) -> None:
    space = nasproxy.load_space(str(restless))
    restless.write_text(RESTLESS_SPACE.replace("2, 40", "2, 41"))
    with pytest.raises(UserError, match="it must stay as it is"):
        rank(space, Estimator(), data=data, trials=2, jobs=2)


@pytest.mark.slow
def test_any_order_of_completion_gives_the_same_reports(
    restless: Path, npz: str, tmp_path: Path, command: Callable
) -> None:
    """`rank`, `correlate` and `run`, times apart, by 1 and 3 processes."""
    done, written, order = [], [], set()
    for jobs in ("1", "3"):
        options = ("--data", npz, "--space", restless, "--jobs", jobs, "--quiet", "--json")
        storage = ("--storage", f"sqlite:///{tmp_path}/{jobs}.db")
        given = (*options, *storage, "--trials", "12")
        answers = []
        for study in ("full:epochs=1", "full:epochs=2"):
            status, out, err = command("rank", "--by", study, "--study", study[-1], *given)
            assert status == 0, err
            answers.append(json.loads(out) | {"storage": ""})
        trials = nasproxy.studies.identity.load_study(
            "2", nasproxy.studies.storage.open_storage(storage[1])
        ).get_trials()
        order.add(tuple(sorted(range(len(trials)), key=lambda k: trials[k].datetime_complete)))
        out = tmp_path / f"report{jobs}"
        status, _, err = command(
            "correlate", "--truth", "2", "--study", "1", *storage, "--out", out
        )
        assert status == 0, err
        written.append(without_times(json.loads((out / "report.json").read_text())))
        status, out, err = command(
            *("run", *options, "--ipc", "2", "--steps", "2", "--trials", "5", "--confirm", "2"),
            *("--proxy.epochs", "2", "--full.epochs", "1", "--out", tmp_path / "run", "--fresh"),
        )
        assert status == 0, err
        answers.append(without_times(json.loads(out)))
        done.append(answers)
    assert done[0] == done[1]
    assert written[0] == written[1]
    assert len(order) > 1  # or nothing has been shown


def _takes(gib: float | None):
    """A probe that says how much memory it took; None fails."""

    def probe(candidate: Candidate, seed: int) -> Scores:
        if gib is None:
            raise BrokenArchitecture("it is")
        return {"score": gib * 2**30}

    return Task(probe, Candidate("largest", torch.nn.Identity), 0)


@pytest.mark.parametrize(
    ("jobs", "there", "takes", "expected"),
    [
        (None, 16.0, 6.0, 2),  # a fifth is left free
        (None, 16.0, 20.0, 1),
        (None, 16.0, 0.5, 4),
        (None, 16.0, None, 4),  # its own training will say why
        (None, 16.0, float("nan"), 4),
        (None, None, 6.0, 4),
        (3, 16.0, 20.0, 3),
        (1, 16.0, 20.0, 1),
    ],
)
def test_there_are_no_more_workers_than_memory_for_them(
    jobs: int | None,
    there: float | None,
    takes: float | None,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)))
    bytes_ = None if there is None else there * 2**30
    monkeypatch.setattr(workers, "available_memory", lambda: bytes_)
    with Workers(jobs, "cpu") as pool:

        def here(tasks):
            for task in tasks:
                yield task, workers.score(task.scorer, task.candidate, task.seed)

        monkeypatch.setattr(pool, "outcomes", here)
        before = pool.jobs
        pool.heed_memory(_takes(takes))
        assert pool.jobs == expected
    said = f"{expected} of {before} worker processes: the largest network's training takes"
    assert (said in capsys.readouterr().err) == (expected < before)


def test_a_training_that_no_memory_holds_is_made_alone(monkeypatch, capsys) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)))
    monkeypatch.setattr(workers, "available_memory", lambda: 2**30)
    with Workers(None, "cpu") as pool:
        monkeypatch.setattr(pool, "outcomes", lambda tasks: iter([(task, DIED) for task in tasks]))
        pool.heed_memory(_takes(1.0))
        assert pool.jobs == 1
    assert "more than there is" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["random", "tpe", "search"])
def test_who_trains_heeds_memory(how: str, tiny_space, data, monkeypatch, tmp_path) -> None:
    """A training of the largest network is measured first, unless jobs are asked for."""
    probes: list[Task] = []

    def heed(pool: Workers, probe: Task) -> None:
        probes.append(probe)
        pool._jobs = 1

    def submit(pool: Workers, task: Task) -> Future[Any]:  # no process takes seconds to start
        future: Future[Any] = Future()
        future.set_result(workers.score(task.scorer, task.candidate, task.seed))
        return future

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(Workers, "heed_memory", heed)
    monkeypatch.setattr(Workers, "submit", submit)
    architectures = tiny_space.sample(3, 0, data.input_shape, data.num_classes)
    recipe = nasproxy.Recipe(steps=4, batch_size=8)

    def go(jobs: int | None) -> list[float | None]:
        common: dict[str, Any] = {"data": data, "jobs": jobs, "device": "cpu"}
        if how == "search":
            out = tmp_path / str(jobs)
            named = {"scores": ["params"], "method": "none", "full": "full:steps=4", "quiet": True}
            nasproxy.search(space=tiny_space, trainings=2, out=str(out), **named, **common)
            return []
        like = architectures if how == "random" else None
        named = {"sampler": how, "like": like, "trials": 3, "recipe": recipe}
        return [trial.value for trial in rank(tiny_space, "full", **named, **common).trials]

    scores = go(None)
    assert probes
    if how == "random":

        def size(architecture) -> int:
            shape = data.input_shape, data.num_classes
            network = tiny_space.build(architecture.choices, *shape)
            return sum(p.numel() for p in network.parameters())

        largest = max((a for a in architectures if a.error is None), key=size)
        assert probes[0].candidate.key == largest.key
    found = workers.score(probes[0].scorer, probes[0].candidate, 0)
    assert not isinstance(found, Failure), found
    assert 2**24 < found["score"] < 2**40  # Python and torch alone take more than the least
    probes.clear()
    assert go(1) == scores
    assert not probes
