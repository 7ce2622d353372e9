"""Condensing that was killed goes on, to the same bytes."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import nasproxy
from nasproxy.proxies import checkpoint as module
from nasproxy.proxies.checkpoint import Checkpoint, checkpoint_beside
from tests.conftest import make_arrays

LONG = {"ipc": 4, "steps": 3000, "real_batch": 8, "width": 4, "seed": 3}
SMALL = {"ipc": 2, "steps": 12, "real_batch": 8, "width": 4, "seed": 3}


class Killed(BaseException):
    pass


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)


def _die_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise at the state after `steps`, once it is written."""
    save, left = Checkpoint.save, [steps]

    def counted(self, state) -> None:
        save(self, state)
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(Checkpoint, "save", counted)


@pytest.mark.parametrize("momentum", [0.5, 0.0])
@pytest.mark.parametrize("steps", [1, 7, 12])
def test_it_goes_on_to_the_same_bytes(
    data, tmp_path: Path, every_step, steps: int, momentum: float
) -> None:
    whole = nasproxy.condense(data, "dm", **SMALL, momentum=momentum)
    path = tmp_path / "state"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        _die_after(steps, patch)
        nasproxy.condense(data, "dm", **SMALL, momentum=momentum, checkpoint=path)
    assert path.exists()
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        save = Checkpoint.save
        patch.setattr(Checkpoint, "save", lambda self, state: (calls.append(1), save(self, state)))
        again = nasproxy.condense(data, "dm", **SMALL, momentum=momentum, checkpoint=path)
    assert len(calls) == 12 - steps
    assert torch.equal(again.images, whole.images)
    assert not path.exists()
    for name, proxy in (("a", whole), ("b", again)):
        proxy.save(tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_another_s_state_or_a_damaged_one_is_not_used(data, tmp_path: Path, every_step) -> None:
    path = tmp_path / "state"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        _die_after(5, patch)
        nasproxy.condense(data, "dm", **SMALL, checkpoint=path)
    kept = path.read_bytes()
    other = {**SMALL, "seed": 4}
    expected = nasproxy.condense(data, "dm", **other)
    assert torch.equal(
        nasproxy.condense(data, "dm", **other, checkpoint=path).images, expected.images
    )
    expected = nasproxy.condense(data, "dm", **SMALL)
    for damaged in (b"", kept[:100], kept[: len(kept) // 2], b"x" * 1000):
        path.write_bytes(damaged)
        made = nasproxy.condense(data, "dm", **SMALL, checkpoint=path)
        assert torch.equal(made.images, expected.images)
    save_file({"images": torch.zeros(1)}, path)
    assert torch.equal(
        nasproxy.condense(data, "dm", **SMALL, checkpoint=path).images, expected.images
    )


def test_seconds_of_both_parts_count(data, tmp_path: Path, every_step) -> None:
    path = tmp_path / "state"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        _die_after(6, patch)
        nasproxy.condense(data, "dm", **SMALL, checkpoint=path)
    kept = Checkpoint(path, {})
    assert kept.load() is None
    with pytest.MonkeyPatch.context() as patch:
        load = Checkpoint.load

        def slow(self):
            found = load(self)
            self.seconds += 100
            return found

        patch.setattr(Checkpoint, "load", slow)
        assert nasproxy.condense(data, "dm", **SMALL, checkpoint=path).seconds > 100


def _condense(folder: str) -> None:
    """What a process does until it is killed."""
    module.EVERY = 0.0
    torch.set_num_threads(1)
    data = nasproxy.load_dataset(f"{folder}/set.npz")
    made = nasproxy.condense(data, "dm", **LONG, checkpoint=checkpoint_beside(Path(folder) / "p"))
    made.save(f"{folder}/p.safetensors")


@pytest.mark.slow
def test_kill_9_at_thirty_moments(tmp_path: Path) -> None:
    x, y = make_arrays(300, (16, 16))
    np.savez(tmp_path / "set.npz", x_train=x, y_train=y)
    whole = nasproxy.condense(nasproxy.load_dataset(str(tmp_path / "set.npz")), "dm", **LONG)
    whole.save(tmp_path / "whole.safetensors")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nasproxy.pipeline"])
    generator = np.random.default_rng(0)
    state = checkpoint_beside(tmp_path / "p")
    for _ in range(30):
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = context.Process(target=_condense, args=(str(tmp_path),))
        process.start()
        while process.is_alive():  # every process gets further than the one before
            if state.exists() and state.stat().st_mtime_ns > before:
                break
            time.sleep(0.002)
        time.sleep(generator.uniform(0, 0.1))
        process.kill()
        process.join()
        assert not (tmp_path / "p.safetensors").exists(), "give LONG more steps"
    assert state.exists()
    process = context.Process(target=_condense, args=(str(tmp_path),))
    process.start()
    process.join()
    assert process.exitcode == 0
    made = (tmp_path / "p.safetensors").read_bytes()
    assert made == (tmp_path / "whole.safetensors").read_bytes()
    assert not state.exists()
