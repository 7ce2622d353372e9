"""A user's own function, ``FILE.py:function``, as an estimator and as a search's full training."""

import json
import re
from pathlib import Path

import optuna
import pytest

import nasproxy
from nasproxy import UserError, rank
from tests.conftest import scored

FILE = """
import torch
from helper import twice

def weight(network, data, seed):
    return twice(sum(p.sum() for p in network.parameters()))  # a tensor: of the seed's weights

def metrics(network, data, seed):
    size = sum(p.numel() for p in network.parameters())
    return {"f1": size % 7, "loss": size, "accuracy": data.num_classes / size}

def alone(network, data, seed):
    return {"loss": float(sum(p.numel() for p in network.parameters()))}

def text(network, data, seed):
    return "good"

def nan(network, data, seed):
    return float("nan")

def fails(network, data, seed):
    if sum(p.numel() for p in network.parameters()) > 600:
        raise RuntimeError("out of luck")
    return 1.0

def other(network, data):
    return 1.0
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    (tmp_path / "mine.py").write_text(FILE)
    return str(tmp_path / "mine.py")


def by_key(study: optuna.Study) -> dict[str, float]:
    return {t.user_attrs["architecture"]: t.value for t in scored(study)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_function_scores_the_network_that_the_seed_makes(
    tiny_space, data, file: str, jobs: int
) -> None:
    once, again = (
        rank(tiny_space, f"{file}:weight", data=data, sampler="all", jobs=jobs) for _ in range(2)
    )
    other = rank(tiny_space, f"{file}:weight", data=data, sampler="all", jobs=jobs, seed=5)
    assert len(by_key(once)) == 5
    assert by_key(once) == by_key(again) != by_key(other)


def test_of_several_numbers_one_is_the_score(tiny_space, data, file: str) -> None:
    params = by_key(rank(tiny_space, "params", data=data, sampler="all"))
    found = {
        name: by_key(rank(tiny_space, f"{file}:{name}", data=data, sampler="all", jobs=1))
        for name in ("metrics:read=f1", "metrics:read=loss", "metrics:read=accuracy")
    }
    for key, size in params.items():
        assert found["metrics:read=f1"][key] == size % 7
        assert found["metrics:read=loss"][key] == -size  # less is better
        assert found["metrics:read=accuracy"][key] == pytest.approx(3 / size)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "has no function 'nothing'"),
        ("wieght", "weight"),
        ("other", "expected a function other(network, data, seed)"),
        ("text", "expected a number or a dict of them, got str"),
        ("nan", "returned NaN"),
        (
            "metrics",
            "returned f1, loss, accuracy: expected 'score' among it, or mine.py:metrics:re",
        ),
        ("alone", "returned loss: expected 'score'"),
        ("metrics:read=auc", "expected 'auc' among it"),
        ("metrics:epochs=2", "expected FILE.py:FUNCTION"),
    ],
)
def test_what_is_no_estimator_is_said(tiny_space, data, file: str, function: str, said: str):
    with pytest.raises(UserError) as found:
        rank(tiny_space, f"{file}:{function}", data=data, trials=2, jobs=1)
    assert said in str(found.value)


def test_a_training_that_raises_is_broken_and_the_others_go_on(tiny_space, data, file: str):
    study = rank(tiny_space, f"{file}:fails", data=data, sampler="all", jobs=1)
    broken = [t.user_attrs["broken"] for t in study.trials if "broken" in t.user_attrs]
    assert by_key(study) and broken and set(broken) == {"RuntimeError: out of luck"}


def test_another_version_of_the_function_is_another_study(
    tiny_space, data, file: str, tmp_path: Path
) -> None:
    options = {"data": data, "trials": 2, "jobs": 1, "study": "s"}
    options["storage"] = f"sqlite:///{tmp_path / 's.db'}"
    rank(tiny_space, f"{file}:weight", **options)
    Path(file).write_text(FILE.replace("twice(sum", "(sum"))
    with pytest.raises(UserError, match="code"):
        rank(tiny_space, f"{file}:weight", **options)


def test_a_search_trains_by_it(command, npz: str, tiny_space_file: str, file: str, tmp_path: Path):
    out = tmp_path / "out"
    status, printed, _ = command(
        *("search", "--data", npz, "--space", tiny_space_file, "--full", f"{file}:alone:read=loss"),
        *("--trainings", "4", "--method", "none", "--jobs", "1", "--out", out, "--json"),
    )
    assert status == 0
    found = json.loads(printed)
    space, data = nasproxy.load_space(tiny_space_file), nasproxy.load_dataset(npz)
    sizes = by_key(rank(space, "params", data=data, sampler="all"))
    assert found["best"]["validation_accuracy"] == -min(sizes.values())
    assert (found["best"]["weights"], found["best"]["test_accuracy"]) == (None, None)


METRIC = """
from helper import twice

def right(logits, labels):
    assert logits.dtype.is_floating_point and logits.shape == (len(labels), 3)
    return twice((logits.argmax(1) == labels).float().mean())

def unsure(logits, labels):
    return -float(logits.softmax(1).amax(1).mean())

def two(logits, labels):
    return logits.mean(0)

def of_one(logits):
    return 0.0
"""


def test_a_metric_of_ones_own_reads_trainings(
    command, tiny_space, tiny_space_file: str, data, npz: str, file: str, tmp_path: Path
) -> None:
    """On proxies and in full, by seeds, half-way too; beside it stand all other readings."""
    metric = Path(file).with_name("metric.py")
    metric.write_text(METRIC)
    by, twice = f"full:epochs=4,read={metric}:right", {"sampler": "all", "jobs": 1, "seeds": 2}
    study = rank(tiny_space, by, data=data, **twice)
    for trial in scored(study):
        assert trial.value == pytest.approx(2 * trial.user_attrs["accuracy"])
        half = trial.user_attrs[f"{metric}:right_half"]
        assert half == pytest.approx(2 * trial.user_attrs["accuracy_half"])
    proxy = nasproxy.condense(data, "random", ipc=3)
    recipe = nasproxy.Recipe(epochs=2, read=f"{metric}:unsure")
    found = by_key(rank(tiny_space, proxy, data=data, recipe=recipe, sampler="all", jobs=1))
    assert all(-1 <= value <= -1 / 3 for value in found.values())
    report = nasproxy.correlate(study, [nasproxy.Reading(study, "accuracy")])
    assert report.rankings[0].spearman == pytest.approx(1)
    words = ["rank", "--data", npz, "--space", tiny_space_file, "--sampler", "all", "--by", by]
    words += ["--storage", f"sqlite:///{tmp_path}/s.db", "--study", "s"]
    assert command(*words)[0] == 0
    metric.write_text(METRIC.replace("twice((", "(("))
    status, _, err = command(*words)
    assert status == 2 and "metric_code" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("function", "said"),
    [("two", "expected a number"), ("of_one", "of_one(logits, labels)"), ("none", "no function")],
)
def test_what_is_no_metric_is_said(tiny_space, data, file: str, function: str, said: str) -> None:
    metric = Path(file).with_name("metric.py")
    metric.write_text(METRIC)
    with pytest.raises(UserError, match=re.escape(said)):
        rank(
            tiny_space, f"full:epochs=1,read={metric}:{function}", data=data, sampler="all", jobs=1
        )
