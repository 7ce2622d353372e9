"""Architectures that misbehave: the study goes on, says why, and ranks them last."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import nasproxy
from tests.conftest import QUICK, scored

ROOT = Path(__file__).parents[2]

SPACE = '''"""One network, which behaves in many ways."""
import itertools, os, random, resource, signal, sys, time
import numpy as np
import torch
from torch import nn

KINDS = {kinds}
kept = []


class Odd(nn.Module):
    def __init__(self, kind, pixels, classes):
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(pixels, classes)

    def forward(self, x):
        logits = self.linear(x.flatten(1))
        if self.kind == "raises":
            raise ValueError("two\\nlines")
        if self.kind == "shape":
            return logits[:, :1]
        if self.kind == "tuple":
            return logits, logits
        if self.kind == "nan":
            return logits * float("nan")
        if self.kind == "nan in training" and self.training:
            return logits * float("nan")
        if self.kind == "constant":
            return torch.zeros_like(logits)
        if self.kind == "constant with a gradient":
            return logits * 0
        if self.kind == "exits":
            sys.exit(0)
        if self.kind == "interrupts":
            raise KeyboardInterrupt
        if self.kind == "leaves":
            os._exit(0)
        if self.kind == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "wants all memory":
            torch.empty(2**60)
        if self.kind == "takes memory":
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, -1))
            try:
                while True:
                    kept.append(torch.ones(2**24))
            finally:
                kept.clear()
                resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        if self.kind == "leaks":
            kept.append(bytearray(2**20))
            if len(kept) > 40:  # as the kernel would, out of memory
                os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "never ends":
            while True:
                time.sleep(0.01)
        if self.kind == "never ends in C":
            sum(itertools.repeat(0))
        if self.kind == "prints":
            print("printed")
            os.write(1, b"written\\n")
        if self.kind == "changes the type":
            torch.set_default_dtype(torch.float64)
        if self.kind == "changes the threads":
            torch.set_num_threads(2)
        if self.kind == "changes the seeds":
            torch.manual_seed(0), np.random.seed(0), random.seed(0)
        if self.kind == "changes gradients":
            torch.set_grad_enabled(False)
        if self.kind == "wants determinism":
            torch.use_deterministic_algorithms(True)
        if self.kind == "draws":
            return logits * (1 + random.random() + np.random.rand() + float(torch.rand(1)))
        return logits


def build(trial, input_shape, num_classes):
    kind = trial.suggest_categorical("kind", KINDS)
    if kind == "build raises":
        raise ValueError("no")
    if kind == "build exits":
        sys.exit(0)
    if kind == "build gives nothing":
        return None
    if kind == "build is too large":
        return nn.Linear(2**30, 2**30)
    if kind == "build changes the type":
        torch.set_default_dtype(torch.float64)
    return Odd(kind, input_shape[0] * input_shape[1] * input_shape[2], num_classes)
'''


def write_space(folder: Path, *kinds: str) -> str:
    path = folder / "odd.py"
    path.write_text(SPACE.replace("{kinds}", repr(list(kinds))))
    return str(path)


def _reasons(study) -> dict[str, str]:
    return {
        t.params["kind"]: t.user_attrs.get("broken") or t.user_attrs.get("invalid", "")
        for t in study.trials
        if not t.user_attrs.keys().isdisjoint({"broken", "invalid"})
    }


IN_PROCESS = {
    "raises": "ValueError: two lines",
    "shape": "expected logits (2, 3), got (2, 1)",
    "nan": "the untrained network gives NaN or infinity",
    "nan in training": "training diverged: the loss became nan",
    "constant": "does not require grad",
    "exits": "SystemExit: 0",
    "wants all memory": "memory",
    "build raises": "ValueError: no",
    "build exits": "SystemExit: 0",
    "build gives nothing": "build returned NoneType",
    "build is too large": "memory",
}
SOUND = ["a", "b", "constant with a gradient", "prints", "tuple"]


def test_the_study_goes_on(data, tmp_path: Path) -> None:
    space = write_space(tmp_path, *IN_PROCESS, *SOUND)
    study = nasproxy.rank(space, "full", data=data, sampler="all", recipe=QUICK, jobs=1)
    reasons = _reasons(study)
    assert reasons.keys() == IN_PROCESS.keys()
    for kind, expected in IN_PROCESS.items():
        assert expected in reasons[kind]
        assert "\n" not in reasons[kind]
    assert sorted(t.params["kind"] for t in scored(study)) == sorted(SOUND)


def test_they_rank_last_and_are_counted(data, tmp_path: Path) -> None:
    space = write_space(tmp_path, "raises", "nan", *SOUND)
    options = {"data": data, "sampler": "all", "jobs": 1}
    study = nasproxy.rank(space, "full", recipe=QUICK, **options)
    truth = nasproxy.rank(space, "params", **options)
    report = nasproxy.correlate(truth, [study])
    assert report.rankings[0].broken == 2
    assert "2 of 7 could not be trained and rank last" in str(report)
    backwards = nasproxy.correlate(study, [truth])
    assert backwards.n == 7


CHANGES = [
    "changes the type", "build changes the type", "changes the threads", "changes the seeds",
    "changes gradients", "wants determinism", "raises", "exits",
]  # fmt: skip


def test_none_changes_the_score_of_another(data, tmp_path: Path) -> None:
    options = {"data": data, "sampler": "all", "recipe": QUICK, "jobs": 1}
    sound = ("a", "draws", "b")
    alone = nasproxy.rank(write_space(tmp_path, *sound), "full", **options)
    (tmp_path / "more").mkdir()
    threads = torch.get_num_threads()
    among = nasproxy.rank(write_space(tmp_path / "more", *CHANGES, *sound), "full", **options)
    losses = [
        {t.params["kind"]: t.user_attrs["loss"] for t in scored(s) if t.params["kind"] in sound}
        for s in (alone, among)
    ]
    assert losses[0].keys() == set(sound)
    assert losses[0] == losses[1]
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_workers_that_die_or_never_end(data, tmp_path: Path) -> None:
    expected = {
        "interrupts": "its worker died 3 times",
        "leaves": "its worker died 3 times",
        "is killed": "its worker died 3 times",
        "takes memory": "memory",
        "never ends": "not done within 5 seconds",
        "never ends in C": "not done within 5 seconds",
    }
    study = nasproxy.rank(
        write_space(tmp_path, *expected, "a", "b", "c"),
        "full",
        data=data,
        sampler="all",
        recipe=QUICK,
        jobs=2,
        trial_timeout=5,
    )
    reasons = _reasons(study)
    assert reasons.keys() == expected.keys()
    for kind, why in expected.items():
        assert why in reasons[kind]
    assert sorted(t.params["kind"] for t in scored(study)) == ["a", "b", "c"]


@pytest.mark.slow
def test_a_leak_costs_nothing_but_time(data, tmp_path: Path) -> None:
    """Each training leaks 12 MB; a worker that has leaked 40 is killed, and what it did is lost."""
    path = Path(write_space(tmp_path, "leaks"))
    path.write_text(
        path.read_text().replace(
            "    if kind ==", "    trial.suggest_int('number', 1, 9)\n    if kind ==", 1
        )
    )
    study = nasproxy.rank(str(path), "full", data=data, sampler="all", recipe=QUICK, jobs=2)
    assert len(scored(study)) == 9
    assert not _reasons(study)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_what_they_print_is_kept_from_the_answer(jobs: int, npz: str, tmp_path: Path) -> None:
    space = write_space(tmp_path, "prints", "a")
    words = [
        *("rank", "--by", "full:epochs=1", "--data", npz, "--space", space, "--sampler", "all"),
        *("--jobs", str(jobs), "--storage", f"sqlite:///{tmp_path / 's.db'}", "--json"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "nasproxy", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["ranking"]) == 2
    assert "printed" in done.stderr
    assert "written" in done.stderr


def test_large_seeds_can_steer(tiny_space, data) -> None:
    study = nasproxy.rank(
        tiny_space, "params", data=data, trials=3, sampler="tpe", seed=2**32 - 1, jobs=1
    )
    assert len(scored(study)) == 3
