"""Judging a set by what networks learn from it."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from nasproxy import UserError, condense, evaluate, import_proxy
from nasproxy.proxies import quality
from nasproxy.training.convnet import ConvNet
from tests.conftest import QUICK

MARK = "TEST_QUALITY_KILLED"


class KillsOnce(ConvNet):
    """Kills the process that builds the first one."""

    def __init__(self, *given: Any) -> None:
        mark = Path(os.environ[MARK])
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(*given)


class Wild(ConvNet):
    def __init__(self, *given: Any) -> None:
        raise ValueError("no such width")


def test_a_killed_worker_changes_nothing(data, tmp_path: Path, monkeypatch) -> None:
    proxy = condense(data, "random", ipc=3, seed=9)
    options: dict[str, Any] = {"networks": 2, "width": 4, "recipe": QUICK}
    undisturbed = evaluate(proxy, data, jobs=1, **options)
    assert len(set(undisturbed.proxy.values + undisturbed.random.values)) > 1
    monkeypatch.setenv(MARK, str(tmp_path / "killed"))
    monkeypatch.setattr(quality, "ConvNet", KillsOnce)
    assert evaluate(proxy, data, jobs=2, **options) == undisturbed
    assert (tmp_path / "killed").exists()


def test_data_may_be_named(data, npz: str, tmp_path: Path) -> None:
    proxy = condense(npz, "random", ipc=3)
    assert proxy.digest == condense(data, "random", ipc=3).digest
    proxy.save(tmp_path / "p.safetensors")
    assert import_proxy(tmp_path / "p.safetensors", npz).digest == proxy.digest
    options: dict[str, Any] = {"networks": 1, "width": 4, "recipe": QUICK, "jobs": 1}
    assert evaluate(tmp_path / "p.safetensors", npz, **options) == evaluate(proxy, data, **options)


def test_what_cannot_be_trained_is_said(data, monkeypatch) -> None:
    monkeypatch.setattr(quality, "ConvNet", Wild)
    with pytest.raises(UserError, match="training on the set failed: ValueError: no such width"):
        evaluate(condense(data, "random", ipc=3), data, networks=1, width=4, jobs=1)
