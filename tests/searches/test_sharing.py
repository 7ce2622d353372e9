"""Searches that are killed, and several that share a folder."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tests.conftest import TINY_SPACE

TRAININGS = 14
SPACE = TINY_SPACE.replace("[2, 8, 16]", "list(range(2, 34, 2))")  # of 32 networks one is broken
FUNCTION = """
import time
from pathlib import Path

def train(network, data, seed):
    width = network[1].out_features
    with (Path(__file__).parent / "calls").open("a") as file:
        file.write(f"{width} {len(network)}\\n")
    time.sleep(0.25)
    return 1 - abs(width - 20) / 40 + len(network) / 1000
"""


@pytest.fixture
def begin(npz: str, tmp_path: Path):
    """Start a search in a process of its own."""
    (tmp_path / "own.py").write_text(FUNCTION)
    (tmp_path / "space.py").write_text(SPACE)
    started = []

    def call() -> subprocess.Popen:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "nasproxy", "search", "--data", npz),
                *("--space", f"{tmp_path}/space.py", "--full", f"{tmp_path}/own.py:train"),
                *("--trainings", str(TRAININGS), "--method", "none", "--scores", "params"),
                *("--jobs", "1", "--out", f"{tmp_path}/out", "--json", "--quiet"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()


def calls(folder: Path) -> list[str]:
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def wait_for_calls(folder: Path, count: int) -> None:
    end = time.monotonic() + 120
    while len(calls(folder)) < count:
        assert time.monotonic() < end
        time.sleep(0.02)


def check(folder: Path, *printed: str) -> None:
    """Every training once, in one study, and the same answer from all."""
    url = f"sqlite:///{folder}/out/study.db"
    study = optuna.load_study(study_name="search", storage=url)
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    done = study.get_trials(states=(TrialState.COMPLETE,))
    keys = [trial.user_attrs["architecture"] for trial in done]
    answers = [json.loads(text) for text in printed]
    early = all("noise" in answer["ended"] for answer in answers)
    assert len(keys) == len(set(keys)) <= TRAININGS and (early or len(keys) == TRAININGS)
    assert {answer["trainings"] for answer in answers} == {len(keys)}
    assert len({answer["best"]["architecture"] for answer in answers}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 5])
def test_a_search_that_was_killed_goes_on(begin, tmp_path: Path, after: int) -> None:
    killed = begin()
    wait_for_calls(tmp_path, after)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    printed, said = (again := begin()).communicate(timeout=200)
    assert again.returncode == 0, said
    check(tmp_path, printed)
    # what was under way is done again, and nothing else
    assert sum(Counter(calls(tmp_path)).values()) <= TRAININGS + 2


@pytest.mark.slow
@pytest.mark.parametrize("one_is_killed", [False, True])
def test_two_share_a_search(begin, tmp_path: Path, one_is_killed: bool) -> None:
    one, other = begin(), begin()
    if one_is_killed:
        wait_for_calls(tmp_path, 4)
        one.kill()
        one.wait()
    running = [other] if one_is_killed else [one, other]
    printed = []
    for process in running:
        text, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
        printed.append(text)
    check(tmp_path, *printed)
    if not one_is_killed:
        assert max(Counter(calls(tmp_path)).values()) == 1
        study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path}/out/study.db")
        assert len({trial.user_attrs["driver"] for trial in study.trials}) == 2
