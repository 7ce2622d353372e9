"""`search`: on tables, where every cell's truth is known, and on networks that it trains."""

import json
import math
from pathlib import Path

import optuna
import pytest

import nasproxy
from nasproxy import UserError, search
from nasproxy.searches import budget
from tests.conftest import TINY_SPACE
from tests.searches.conftest import CELLS, DISTINCT


def replay(table: str, out: Path, *names: str, **more) -> nasproxy.SearchResult:
    scores = [f"table:{table}:{name}" for name in names]
    options = {"scores": scores, "pool": CELLS, "jobs": 1, "out": str(out), "quiet": True}
    options["full"] = f"table:{table}:truth"
    return search(None, "nasbench201", **{**options, **more})


def best_of(table: str) -> float:
    return max(float(line.split(",")[1]) for line in Path(table).read_text().splitlines()[1:])


def test_a_score_that_tells_the_truth_is_followed(table: str, tmp_path: Path) -> None:
    found = replay(table, tmp_path, "good", "noise", trainings=12)
    assert found.best["validation_accuracy"] > best_of(table) - 0.5
    assert found.scores[f"table:{table}:good"] > found.scores[f"table:{table}:noise"]
    assert found.trainings <= 12 and found.pool == DISTINCT
    mean, (low, high) = found.expected_of_random.values()
    assert low <= mean <= high and low < found.best["validation_accuracy"]
    assert "noise of a training" in found.ended or found.trainings == 12
    assert (found.best["test_accuracy"], found.best["weights"]) == (None, None)


def test_the_pool_is_a_table_that_rank_reads(tiny_space, data, tmp_path: Path) -> None:
    search(data, tiny_space, scores=["params"], method="none", trainings=1, full="full:epochs=1",
           jobs=1, out=str(tmp_path), quiet=True)  # fmt: skip
    read = f"table:{tmp_path / 'pool.csv'}:free_params"
    again, direct = (
        nasproxy.rank(tiny_space, by, data=data, sampler="all", jobs=1) for by in (read, "params")
    )
    assert len(again.get_trials(states=(optuna.trial.TrialState.COMPLETE,))) == 5
    by_key = {t.user_attrs["architecture"]: t.value for t in direct.trials}
    for trial in again.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        assert trial.value == by_key[trial.user_attrs["architecture"]]


def test_a_score_that_lies_loses_its_say(table: str, tmp_path: Path) -> None:
    found = replay(table, tmp_path, "lies", trainings=20)
    assert found.scores[f"table:{table}:lies"] < 0
    assert found.best["validation_accuracy"] > best_of(table) - 1


def test_it_goes_on_where_it_was(table: str, tmp_path: Path) -> None:
    whole = replay(table, tmp_path / "a", "good", trainings=9)
    replay(table, tmp_path / "b", "good", trainings=4)
    rest = replay(table, tmp_path / "b", "good", trainings=9)
    assert rest.best == whole.best and rest.trainings == whole.trainings
    assert (tmp_path / "a/pool.csv").read_bytes() == (tmp_path / "b/pool.csv").read_bytes()
    again = replay(table, tmp_path / "b", "good", trainings=9)
    assert again.best == whole.best and again.trainings == whole.trainings


def test_what_it_leaves(table: str, tmp_path: Path) -> None:
    found = replay(table, tmp_path, "good", trainings=5)
    document = json.loads((tmp_path / "search.json").read_text())
    assert document == json.loads(json.dumps(found.to_dict()))
    assert document.keys() >= {"best", "trainings", "seconds", "expected_of_random", "scores"}
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with pytest.raises(UserError, match="0 uniformly drawn"):  # what was chosen is no fair draw
        nasproxy.correlate("search", [f"table:{table}:good"], storage=url)
    said = str(found)
    assert found.best["architecture"] in said and "random trainings would have found" in said


def test_another_search_does_not_mix_with_it(table: str, tmp_path: Path) -> None:
    replay(table, tmp_path, "good", trainings=3)
    with pytest.raises(UserError, match="not the pool of this search"):
        replay(table, tmp_path, "good", trainings=3, pool=30)
    with pytest.raises(UserError, match="was made with column"):
        replay(table, tmp_path, "good", trainings=3, full=f"table:{table}:noise")


def test_it_goes_on_with_a_space_that_is_accepted(table: str, tmp_path: Path) -> None:
    path = tmp_path / "cells.py"
    nasproxy.copy_space("nasbench201", path)
    options = {"scores": [f"table:{table}:good"], "full": f"table:{table}:truth", "quiet": True}
    options |= {"pool": CELLS, "jobs": 1, "out": str(tmp_path)}
    search(None, str(path), trainings=2, **options)
    path.write_text(path.read_text() + "\n_UNUSED = 1\n")
    with pytest.raises(UserError, match=r"study 'search' .* give --accept-space"):
        search(None, str(path), trainings=3, **options)
    assert search(None, str(path), trainings=3, accept_space=True, **options).trainings == 3
    assert search(None, str(path), trainings=4, **options).trainings == 4


def test_fewer_architectures_than_trainings(table: str, tmp_path: Path) -> None:
    found = replay(table, tmp_path, "good", trainings=50, pool=6)
    assert found.trainings <= 6
    assert math.isfinite(found.best["validation_accuracy"])


@pytest.mark.parametrize(
    "options, said",
    [
        ({"trainings": 0}, "trainings of 1 or more"),
        ({"hours": 0}, "hours above 0"),
        ({"hours": math.nan}, "hours above 0"),
        ({"pool": 1}, "pool of 2 or more"),
        ({"seed": -1}, "expected a seed"),
    ],
)
def test_bad_input_is_one_line(table: str, tmp_path: Path, options, said: str) -> None:
    with pytest.raises(UserError, match=said):
        replay(table, tmp_path, "good", **options)
    assert not (tmp_path / "study.db").exists()


def test_a_space_in_which_nothing_can_be_built(tiny_space, data, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no architecture can be built; the first: over budget"):
        search(data, tiny_space, max_params=1, jobs=1, out=str(tmp_path), quiet=True)


def test_what_cannot_be_counted_is_searched_all_the_same(data, tmp_path: Path) -> None:
    """Its FLOPs are refused, and only tell how long trainings may take."""
    network = "class Fourier(nn.Sequential):\n    def forward(self, x):\n"
    network += "        return super().forward(torch.fft.rfft2(x).real)\n"
    text = "import torch\n" + TINY_SPACE.replace("def build", f"{network}\n\ndef build")
    (tmp_path / "space.py").write_text(text.replace("return nn.Sequential(", "return Fourier("))
    text = (tmp_path / "space.py").read_text().replace("channels * height * side", "40 * channels")
    (tmp_path / "space.py").write_text(text)
    with pytest.raises(UserError, match="fft"):
        nasproxy.rank(str(tmp_path / "space.py"), "flops", data=data, sampler="all", jobs=1)
    found = search(
        data, str(tmp_path / "space.py"), trainings=2, method="none", full="full:epochs=1", jobs=1,
        out=str(tmp_path / "out"), quiet=True,
    )  # fmt: skip
    assert found.trainings == 2 and "params" in found.scores and "flops" not in found.scores


def test_a_score_that_nobody_has(table: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("arch,score\nnone,1\n")
    with pytest.raises(UserError, match="scores none of the 57"):
        replay(table, tmp_path / "out", scores=[f"table:{empty}:score"], trainings=3)


def test_networks_are_trained_tested_once_and_kept(command, npz: str, tmp_path: Path) -> None:
    space = tmp_path / "tiny_space.py"
    space.write_text(TINY_SPACE)
    out = tmp_path / "out"
    status, said, err = command(
        *("search", "--data", npz, "--space", space, "--trainings", 3, "--pool", 9),
        *("--full", "full:epochs=2", "--method", "none", "--jobs", 1, "--out", out),
        *("--scores", "params", "--scores", "flops", "--quiet", "--json"),
    )
    assert status == 0, err
    found = json.loads(said)
    assert found["trainings"] == 3 and found["pool"] == 5
    network = nasproxy.load_network(found["best"]["weights"])
    assert sum(p.numel() for p in network.parameters())
    assert 0 <= found["best"]["test_accuracy"] <= 1
    assert set(found["scores"]) == {"params", "flops"}
    assert found["seconds"].keys() == {"free", "proxy", "full"}


@pytest.mark.slow
def test_a_proxy_stands_beside_what_is_free(data, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(budget, "CHEAP", 0.999)  # these trainings are too short to be worth any
    space = tmp_path / "tiny_space.py"
    space.write_text(TINY_SPACE)
    found = search(
        data, str(space), trainings=4, pool=9, ipc=2, full="full:epochs=30", jobs=1,
        out=str(tmp_path / "out"), quiet=True,
    )  # fmt: skip
    assert "random-2" in found.scores
    assert (tmp_path / "out/random-2.safetensors").is_file()
