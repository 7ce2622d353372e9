"""The trained networks that `rank` keeps."""

import shutil
from pathlib import Path

import optuna
import pytest
import torch

import nasproxy
from nasproxy import UserError, rank
from nasproxy.studies import loop
from nasproxy.training.training import evaluate_network
from nasproxy.workers.local import Workers
from tests.conftest import QUICK, scored

SPACE = "nasbench201:C=4,N=1"


def _kept(folder: Path) -> dict[tuple[str, int], Path]:
    """Files of networks, by architecture and seed."""
    about = {path: nasproxy.describe_network(path) for path in folder.glob("*.safetensors")}
    return {(said["architecture"], said["seed"]): path for path, said in about.items()}


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_was_scored_is_kept(tiny_space, data, tmp_path: Path, jobs: int) -> None:
    folder = tmp_path / "weights"
    options = {"data": data, "recipe": QUICK, "sampler": "all", "seeds": 2, "seed": 5, "jobs": jobs}
    study = rank(tiny_space, "full", keep_weights=folder, **options)
    kept = _kept(folder)
    assert kept.keys() == {(t.user_attrs["architecture"], s) for t in scored(study) for s in (5, 6)}
    for trial in scored(study):
        key = trial.user_attrs["architecture"]
        for k in range(2):
            path = kept[key, 5 + k]
            assert path.name.startswith(key.replace(" ", "_"))
            assert path.name.endswith(f"-seed{5 + k}.safetensors")
            network = nasproxy.load_network(path)
            found = evaluate_network(network, data.validation, data.normalisation)
            assert found.accuracy == trial.user_attrs[f"score_seed{k}"]
    assert list(folder.glob("tiny_space-*/tiny_space.py"))


def test_a_kept_network_takes_pictures(command, npz: str, tmp_path: Path, tiny_space_file) -> None:
    words = ("--data", npz, "--space", tiny_space_file, "--by", "full:epochs=1", "--trials", 1)
    folder, url = tmp_path / "w", f"sqlite:///{tmp_path / 's.db'}"
    said = command("rank", *words, "--storage", url, "--jobs", 1, "--keep-weights", folder)
    assert said[0] == 0, said[2]
    (path,) = _kept(folder).values()
    pixels = torch.zeros(2, 8, 8, dtype=torch.uint8).numpy()
    assert len(nasproxy.load_network(path).predict(pixels).labels) == 2


def test_it_goes_on_where_it_was(tiny_space, data, tmp_path: Path, monkeypatch, capsys) -> None:
    same = {"data": data, "recipe": QUICK, "sampler": "all", "jobs": 1, "study": "full"}
    same |= {"storage": optuna.storages.InMemoryStorage(), "keep_weights": tmp_path}
    left = 3

    def dies(self, record, k, rung, task=loop.Loop._task):
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return task(self, record, k, rung)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop.Loop, "_task", dies)
        rank(tiny_space, "full", **same)
    before = {path: path.stat().st_mtime_ns for path in _kept(tmp_path).values()}
    done = len(scored(optuna.load_study(study_name="full", storage=same["storage"])))
    study = rank(tiny_space, "full", **same)
    after = {path: path.stat().st_mtime_ns for path in _kept(tmp_path).values()}
    assert 0 < len(before) < len(after) == len(scored(study)) == 5
    assert len(before.items() & after.items()) >= done > 0
    assert "without keep_weights" not in capsys.readouterr().err
    shutil.rmtree(tmp_path)
    rank(tiny_space, "full", **same)
    assert "5 of 5 trainings were done without keep_weights" in capsys.readouterr().err


def test_twins_and_other_readings_are_trained_too(data, tmp_path: Path) -> None:
    space = nasproxy.load_space(SPACE)
    storage, names = optuna.storages.InMemoryStorage(), tmp_path / "names.txt"
    cell = "|none~0|+|none~0|{}~1|+|skip_connect~0|none~1|none~2|"  # the first node is zero
    names.write_text("\n".join(map(cell.format, ("none", "skip_connect"))) + "\n")
    same = {"data": data, "like": str(names), "recipe": QUICK, "jobs": 1, "storage": storage}
    rank(space, "full", study="a", **same)
    loss = nasproxy.Recipe(**{**QUICK.to_dict(), "read": "loss"})
    study = rank(space, "full", study="b", keep_weights=tmp_path, **{**same, "recipe": loss})
    assert len(_kept(tmp_path)) == len(scored(study)) == 2


@pytest.mark.parametrize("by", ["params", "naswot"])
def test_what_trains_nothing_is_refused(tiny_space, data, tmp_path: Path, by: str) -> None:
    with pytest.raises(UserError, match=f"{by} gives no trained network to keep"):
        rank(tiny_space, by, data=data, keep_weights=tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_cluster_is_refused(tiny_space, data, tmp_path: Path) -> None:
    workers = Workers(1)
    workers.is_local = False
    with pytest.raises(UserError, match="not on a cluster"):
        rank(tiny_space, "full", data=data, keep_weights=tmp_path / "w", workers=workers)


def test_a_full_disk_breaks_no_architecture(tiny_space, data, tmp_path: Path, monkeypatch) -> None:
    def full(*arguments, **more) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nasproxy.training.saved.save_file", full)
    same = {"data": data, "recipe": QUICK, "trials": 2, "jobs": 1, "study": "full"}
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(UserError, match=r"cannot write .*No space left"):
        rank(tiny_space, "full", storage=storage, keep_weights=tmp_path, **same)
    assert len(scored(rank(tiny_space, "full", storage=storage, **same))) == 2
