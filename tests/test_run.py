import dataclasses
import json
from pathlib import Path

import optuna
import pytest
import torch

import nasproxy
from nasproxy import Recipe, RunOptions, UserError, run
from nasproxy.train import evaluate_network

from .conftest import QUICK, TINY_SPACE


@pytest.fixture
def options(npz: str, tiny_space_file: str, tmp_path: Path) -> RunOptions:
    return RunOptions(
        data=npz,
        space=tiny_space_file,
        ipc=2,
        steps=2,
        trials=4,
        confirm=2,
        proxy=QUICK,
        full=Recipe(epochs=3, augment="none"),
        jobs=1,
        out=str(tmp_path / "out"),
    )


def test_the_whole_job(options: RunOptions, capsys) -> None:
    result = run(options)
    err = capsys.readouterr().err
    assert "made" in err
    folder = Path(options.out or "")
    names = {p.name for p in folder.iterdir()}
    assert names >= {"proxy.safetensors", "proxy.png", "random.safetensors", "study.db"}
    assert names >= {"report.json", "report.md", "scores.png", "spearman.png", "best.safetensors"}
    document = json.loads((folder / "report.json").read_text())
    assert [r["study"] for r in document["rankings"]] == ["dm-2", "random-2", "params"]
    assert document["n"] == result.report.n == 4
    best = document["best"]
    truths = [point["truth"] for point in document["points"]]
    assert best["validation_accuracy"] == max(truths)

    data = nasproxy.load_dataset(options.data)
    network = nasproxy.load_network(best["weights"])
    found = evaluate_network(network, data.test, data.normalisation)
    assert found.accuracy == pytest.approx(best["test_accuracy"])
    valid = evaluate_network(network, data.validation, data.normalisation)
    assert valid.accuracy == pytest.approx(best["validation_accuracy"])
    assert nasproxy.describe_network(best["weights"])["mean"] == list(data.normalisation.mean)


def test_again_it_goes_on_and_says_so(options: RunOptions, capsys) -> None:
    first = run(options)
    stamps = {p: p.stat().st_mtime_ns for p in Path(options.out or "").glob("*.safetensors")}
    capsys.readouterr()
    second = run(options)
    err = capsys.readouterr().err
    assert "not made again" in err
    assert "4 architectures scored, 4 of them before" in err
    assert second.to_dict() == first.to_dict()
    assert stamps == {p: p.stat().st_mtime_ns for p in stamps}


def test_search_joins_the_ranking_but_not_the_correlation(options: RunOptions) -> None:
    few = run(dataclasses.replace(options, trials=3))
    result = run(dataclasses.replace(options, trials=3, search=2, confirm=5))
    assert few.report.n == result.report.n == 3
    assert few.best["ranked"] == 3
    assert result.best["ranked"] == 5
    assert result.best["candidates"] == 5  # all confirmed on the full data
    assert [r.spearman for r in few.report.rankings] == [r.spearman for r in result.report.rankings]


def test_other_options_are_refused_and_fresh_starts_over(options: RunOptions) -> None:
    run(options)
    keep = Path(options.out or "") / "notes.txt"
    keep.write_text("mine")
    with pytest.raises(UserError, match="use --fresh, or another --out"):
        run(dataclasses.replace(options, ipc=3))
    with pytest.raises(UserError, match="was made with recipe"):
        run(dataclasses.replace(options, full=Recipe(epochs=4, augment="none")))
    with pytest.raises(UserError, match="unknown search space"):
        run(dataclasses.replace(options, space="tpyo", fresh=True))
    assert (keep.parent / "report.md").exists()  # a refused start deletes nothing
    result = run(dataclasses.replace(options, ipc=3, fresh=True))
    assert result.report.rankings[0].study == "dm-3"
    assert keep.read_text() == "mine"


def test_budgets(options: RunOptions) -> None:
    result = run(dataclasses.replace(options, max_params=700))
    sizes = [point["params"] for point in result.report.points]
    assert max(sizes) <= 700
    assert {"params", "macs", "latency"} <= result.report.pareto.keys()


def test_random_alone(options: RunOptions) -> None:
    result = run(dataclasses.replace(options, method="random", steps=None))
    assert [r.study for r in result.report.rankings] == ["random-2", "params"]


def test_a_space_has_its_own_way_with_proxies(options: RunOptions, tmp_path: Path) -> None:
    space = tmp_path / "own_space.py"
    space.write_text(TINY_SPACE + 'proxy_recipe = {"epochs": 1, "read": "train_loss"}\n')
    by_default = RunOptions().proxy
    run(dataclasses.replace(options, space=str(space), proxy=by_default, trials=3))
    storage = f"sqlite:///{options.out}/study.db"
    for name, read in (("dm-2", "train_loss"), ("random-2", "train_loss"), ("full", "accuracy")):
        study = optuna.load_study(study_name=name, storage=storage)
        assert json.loads(study.user_attrs["recipe"])["read"] == read


def test_seeds(options: RunOptions) -> None:
    result = run(dataclasses.replace(options, seeds=2))
    assert result.report.provenance["seeds"] == 2


@pytest.mark.parametrize(
    "change", [{"trials": 2}, {"search": -1}, {"seeds": 0}, {"method": "x"}, {"ipc": 0}]
)
def test_options_have_ranges(change: dict) -> None:
    with pytest.raises(UserError):
        RunOptions(**change)


def test_networks_of_a_changed_space_are_refused(tmp_path: Path, tiny_space_file: str) -> None:
    text = Path(tiny_space_file).read_text()
    path = tmp_path / "space.py"
    path.write_text(text)
    space = nasproxy.load_space(str(path))
    params = {"width": 8, "kind": "plain"}
    network = space.build(params, (1, 8, 8), 3)
    nasproxy.save_network(tmp_path / "n.safetensors", network, space, params, (1, 8, 8), 3)
    again = nasproxy.load_network(tmp_path / "n.safetensors")
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(again(x), network.eval()(x))
    path.write_text(text.replace("nn.Linear(width, num_classes)", "nn.Linear(width, 5)"))
    with pytest.raises(UserError, match="has changed since"):
        nasproxy.load_network(tmp_path / "n.safetensors")
    with pytest.raises(UserError, match="the weights do not fit"):
        nasproxy.load_network(tmp_path / "n.safetensors", nasproxy.load_space(str(path)))
    (tmp_path / "bad.safetensors").write_bytes(b"12345678910")
    with pytest.raises(UserError, match="not a readable"):
        nasproxy.load_network(tmp_path / "bad.safetensors")
