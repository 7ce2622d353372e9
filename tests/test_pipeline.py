import dataclasses
import json
from pathlib import Path

import optuna
import pytest

import nasproxy
from nasproxy import Recipe, RunOptions, UserError, run
from nasproxy.training.recipe import PROXY_RECIPE
from nasproxy.training.training import evaluate_network

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
    assert best["mean_validation_accuracy"] == max(truths)
    assert "on the mean" not in str(result)

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


def test_the_truth_of_some_is_a_fair_draw(options: RunOptions) -> None:
    result = run(dataclasses.replace(options, trials=5, truth=3, confirm=5))
    report = result.report
    assert report.n == 3  # what the proxy liked was trained, and is no fair draw
    assert [point["scores"].keys() >= {"dm-2", "params"} for point in report.points] == [True] * 3
    assert result.best["candidates"] == 5 and result.best["ranked"] == 5
    assert result.search is None or 1 <= result.search.search <= 3 >= result.search.random
    assert (
        result.to_dict()["search"]
        == json.loads((result.folder / "report.json").read_text())["search"]
    )
    whole = run(dataclasses.replace(options, trials=5, truth=None, confirm=5))
    assert whole.report.n == 5  # drawn after all: the trainings are there
    with pytest.raises(UserError, match="truth of 3 or more"):
        run(dataclasses.replace(options, truth=2))


def test_other_options_are_refused_and_fresh_starts_over(options: RunOptions) -> None:
    run(options)
    keep = Path(options.out or "") / "notes.txt"
    keep.write_text("mine")
    with pytest.raises(UserError, match="use --fresh, or another --out"):
        run(dataclasses.replace(options, ipc=3))
    with pytest.raises(UserError, match="was made with epochs"):
        run(dataclasses.replace(options, full=Recipe(epochs=4, augment="none")))
    with pytest.raises(UserError, match="unknown search space"):
        run(dataclasses.replace(options, space="tpyo", fresh=True))
    assert (keep.parent / "report.md").exists()  # a refused start deletes nothing
    result = run(dataclasses.replace(options, ipc=3, fresh=True))
    assert result.report.rankings[0].study == "dm-3"
    assert keep.read_text() == "mine"


def test_budgets(options: RunOptions) -> None:
    result = run(dataclasses.replace(options, max_params=700))
    sizes = [point["scores"]["params"] for point in result.report.points]
    assert max(sizes) <= 700
    assert {"params", "macs", "latency"} <= result.report.pareto.keys()


def test_another_space_goes_into_another_folder(options: RunOptions, tmp_path, monkeypatch) -> None:
    (tmp_path / "another.py").write_text(TINY_SPACE)
    monkeypatch.chdir(tmp_path)
    quick = dataclasses.replace(options, method="random", steps=None, trials=3, out=None)
    first = run(quick)
    second = run(dataclasses.replace(quick, space=str(tmp_path / "another.py")))
    assert first.folder != second.folder
    assert second.folder == Path("runs") / f"{Path(options.data).stem}-another"


def test_a_space_that_changed_is_gone_on_with_if_it_is_the_same(
    options: RunOptions, tmp_path: Path
) -> None:
    space = tmp_path / "own_space.py"
    space.write_text(TINY_SPACE)
    quick = dataclasses.replace(options, space=str(space), method="random", steps=None, trials=3)
    first = run(quick)
    kept = Path(first.best["weights"]).stat().st_mtime_ns
    space.write_text("# a comment\n" + TINY_SPACE)
    assert run(quick).to_dict() == first.to_dict()
    assert Path(first.best["weights"]).stat().st_mtime_ns == kept
    space.write_text(TINY_SPACE + "UNUSED = 1\n")
    with pytest.raises(UserError, match="give --accept-space"):
        run(quick)
    again = run(dataclasses.replace(quick, accept_space=True))
    assert "random-2 was also made with space code" in str(again.report)
    assert again.report.points == first.report.points
    assert run(quick).report.points == first.report.points


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
    best, data = result.best, nasproxy.load_dataset(options.data)
    network = nasproxy.load_network(best["weights"])  # the last line is of this very network
    for split, name in ((data.validation, "validation"), (data.test, "test")):
        found = evaluate_network(network, split, data.normalisation).accuracy
        assert best[f"{name}_accuracy"] == found
    means = [point["truth"] for point in result.report.points]
    assert best["mean_validation_accuracy"] == max(means)
    assert f"(2 trainings: {100 * max(means):.1f}% on the mean)." in str(result)


def test_what_is_given_of_a_recipe_is_laid_over_the_space_s(
    options: RunOptions, tmp_path: Path
) -> None:
    space = tmp_path / "own_space.py"
    space.write_text(TINY_SPACE + 'proxy_recipe = {"epochs": 1, "read": "train_loss"}\n')
    quick = dataclasses.replace(options, space=str(space), trials=3, method="random", steps=None)
    for out, proxy, expected in (
        ("a", {"lr": 0.1}, dataclasses.replace(PROXY_RECIPE, epochs=1, read="train_loss", lr=0.1)),
        ("b", {"read": "both"}, dataclasses.replace(PROXY_RECIPE, epochs=1)),
        ("c", QUICK, QUICK),
    ):
        run(dataclasses.replace(quick, proxy=proxy, out=str(tmp_path / out)))
        storage = f"sqlite:///{tmp_path / out}/study.db"
        study = optuna.load_study(study_name="random-2", storage=storage)
        assert json.loads(study.user_attrs["recipe"]) == expected.to_dict()
    with pytest.raises(UserError, match="epoch"):
        run(dataclasses.replace(quick, proxy={"epoch": 1}))


def test_functions_take_objects(options: RunOptions, data) -> None:
    space = nasproxy.load_space(options.space)
    given = {"trials": 3, "method": "random", "proxy": QUICK, "full": QUICK, "jobs": 1, "ipc": 2}
    result = run(data, space, out=options.out, **given)
    assert result.report.n == 3
    page = (Path(options.out or "") / "report.html").read_text()
    assert "nasproxy run --data made" in page


@pytest.mark.parametrize(
    "change", [{"trials": 2}, {"search": -1}, {"seeds": 0}, {"method": "x"}, {"ipc": 0}]
)
def test_options_have_ranges(change: dict) -> None:
    with pytest.raises(UserError):
        run(**change)
    with pytest.raises(UserError):
        run(RunOptions(**change))
