"""Local workers: how many, on which device, with how many threads; and whoever is done first."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import nasproxy
from nasproxy import UserError, rank, workers
from nasproxy.runtime import cores, share
from nasproxy.workers import Workers

from .conftest import without_times
from .test_study import Estimator

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
    ("device", "expected"), [("cpu", cores()), ("cuda", 3), ("cuda:2", 1), ("auto", 3)]
)
def test_there_is_a_process_for_every_gpu(
    device: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)  # the GPUs are not there
    assert Workers(device=device).jobs == expected
    assert Workers(7, device).jobs == 7


def test_two_processes_take_two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
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


def test_a_space_that_changes_meanwhile_is_refused(restless: Path, data) -> None:
    space = nasproxy.load_space(str(restless))
    restless.write_text(RESTLESS_SPACE.replace("2, 40", "2, 41"))
    with pytest.raises(UserError, match="it must stay as it is"):
        rank(space, Estimator(), data=data, trials=2, jobs=2)


@pytest.mark.slow
def test_any_order_of_completion_gives_the_same_reports(
    restless: Path, npz: str, tmp_path: Path, command: Callable
) -> None:
    """`rank`, `correlate` and `run`, times apart, by 1, 2 and 4 processes."""
    done, written, order = [], [], set()
    for jobs in ("1", "2", "4"):
        options = ("--data", npz, "--space", restless, "--jobs", jobs, "--quiet", "--json")
        storage = ("--storage", f"sqlite:///{tmp_path}/{jobs}.db")
        given = (*options, *storage, "--trials", "12")
        answers = []
        for study in ("full:epochs=1", "full:epochs=2"):
            status, out, err = command("rank", "--by", study, "--study", study[-1], *given)
            assert status == 0, err
            answers.append(json.loads(out) | {"storage": ""})
        trials = nasproxy.storage.load_study(
            "2", nasproxy.storage.open_storage(storage[1])
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
    assert done[0] == done[1] == done[2]
    assert written[0] == written[1] == written[2]
    assert len(order) > 1  # or nothing has been shown
