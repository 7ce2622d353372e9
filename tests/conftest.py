"""Small data, quick recipes and a space of six networks, for every test."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

import nasproxy
from nasproxy.cli import main

os.environ.setdefault("TQDM_DISABLE", "1")
torch.set_num_threads(1)  # small work: more threads only wait for each other
optuna.logging.set_verbosity(optuna.logging.WARNING)
# Where the tests run in the background it may be ignored, and then in every command that they try.
signal.signal(signal.SIGINT, signal.default_int_handler)

QUICK = nasproxy.Recipe(epochs=2, batch_size=64, augment="none")

# Seconds within which what ought to end at once has ended: it takes a fraction of one where nothing
# else runs, but tests start many processes beside each other.
SOON = 60.0

TINY_SPACE = '''"""Six linear networks, two of them broken in different ways."""
from torch import nn


def build(trial, input_shape, num_classes):
    width = trial.suggest_categorical("width", [2, 8, 16])
    kind = trial.suggest_categorical("kind", ["plain", "deep"])
    if width == 2 and kind == "deep":
        raise ValueError("too thin to be deep")
    channels, height, side = input_shape
    layers = [nn.Flatten(), nn.Linear(channels * height * side, width), nn.ReLU()]
    if kind == "deep":
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
'''


def make_arrays(
    n: int = 300, shape: tuple[int, ...] = (8, 8), classes: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class can be learnt: noise around a pattern a class."""
    generator = np.random.default_rng(seed)
    patterns = np.random.default_rng(99).integers(0, 256, (classes, *shape))
    labels = np.arange(n) % classes
    noise = generator.normal(0, 60, (n, *shape))
    return (patterns[labels] + noise).clip(0, 255).astype(np.uint8), labels


def scored(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that have a score, as Optuna has them."""
    return study.get_trials(states=(TrialState.COMPLETE,))


def without_times(document: Any, *others: str) -> Any:
    """A JSON document without what depends on the clock, and other entries."""
    timed = ("seconds", "latency", "speedup", "break_even", "cost", *others)
    if isinstance(document, list):
        return [without_times(value, *others) for value in document]
    if isinstance(document, dict):
        return {
            key: without_times(value, *others)
            for key, value in document.items()
            if not any(word in key for word in timed)
        }
    return document


@pytest.fixture(scope="session", autouse=True)
def one_core() -> Iterator[None]:
    """Who says nothing of jobs scores in this process: others take seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
        yield


@pytest.fixture(scope="session")
def data() -> nasproxy.Dataset:
    return nasproxy.from_arrays(*make_arrays(), *make_arrays(90, seed=1), name="made")


@pytest.fixture(scope="session")
def npz(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("npz") / "set.npz"
    (x, y), (xt, yt) = make_arrays(), make_arrays(90, seed=1)
    np.savez(path, x_train=x, y_train=y, x_test=xt, y_test=yt)
    return str(path)


@pytest.fixture(scope="session")
def tiny_space_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("space") / "tiny_space.py"
    path.write_text(TINY_SPACE)
    return str(path)


@pytest.fixture
def tiny_space(tiny_space_file: str) -> nasproxy.Space:
    return nasproxy.load_space(tiny_space_file)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]):
    """Run the command line in this process: (exit status, stdout, stderr)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call
