"""Look-ups, sizes, and cells that compute the same."""

import copy
import dataclasses
import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F
from optuna.trial import TrialState
from torch import nn

import nasproxy
from nasproxy import UserError, rank
from nasproxy.data.images import ImageSet
from nasproxy.estimators.making import make_estimator, proxy_recipe
from nasproxy.estimators.ranks import combine
from nasproxy.spaces.size import count_params
from nasproxy.studies.statistics import spearman
from nasproxy.training.recipe import PROXY_RECIPE, READINGS
from nasproxy.training.training import Training
from tests.conftest import QUICK, TINY_SPACE, scored
from tests.spaces.published import TABLE, needs_table


@pytest.fixture
def table(tiny_space, tmp_path: Path) -> Path:
    keys = [a.key for a in tiny_space.enumerate((1, 8, 8), 3) if a.error is None]
    lines = ["arch,accuracy,note"] + [f"{key},{i / 10},x" for i, key in enumerate(keys[:-1])]
    path = tmp_path / "table.csv"
    path.write_text("\n".join([*lines, f"{keys[-1]},,x"]) + "\n")
    return path


def test_a_table_is_looked_up(tiny_space, table: Path) -> None:
    study = rank(tiny_space, f"table:{table}:accuracy", sampler="all")
    assert sorted(t.value for t in scored(study)) == [0.0, 0.1, 0.2, 0.3]
    (blank,) = [t for t in study.trials if "missing" in t.user_attrs]
    assert blank.state is TrialState.PRUNED
    assert "has no number for" in blank.user_attrs["missing"]
    assert nasproxy.correlate(study, [study]).n == 4  # unknown is not last
    packed = table.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(table.read_bytes()))
    again = rank(tiny_space, f"table:{packed}:accuracy", sampler="all")
    assert [t.value for t in again.trials] == [t.value for t in study.trials]


def test_a_failed_score_in_a_table_ranks_last(tiny_space, table: Path) -> None:
    table.write_text(table.read_text().replace(",0.3,", ",-inf,"))
    study = rank(tiny_space, f"table:{table}:accuracy", sampler="all")
    report = nasproxy.correlate(study, [study])
    assert report.n == 4
    assert report.rankings[0].broken == 1


def test_a_row_that_is_not_there_is_recorded(tiny_space, table: Path) -> None:
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:1] + lines[2:]) + "\n")
    study = rank(tiny_space, f"table:{table}:accuracy", sampler="all")
    reasons = [t.user_attrs["missing"] for t in study.trials if "missing" in t.user_attrs]
    assert any("has no row" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        (None, "accuracy", "no such table"),
        ("arch,accuracy\na,1\n", "acuracy", "did you mean 'accuracy'"),
        ("name,accuracy\na,1\n", "accuracy", "expected a column named arch"),
        ("arch,accuracy\na,1\na,2\n", "accuracy", "has a twice"),
        ("arch,accuracy\na,x\n", "accuracy", "holds no numbers"),
        ("", "accuracy", "has no column"),
        (b"\xff\xfe\x00arch", "accuracy", "not a readable CSV"),
        (b"\x1f\x8b broken", "accuracy", "not a readable CSV"),
    ],
)
def test_bad_tables(tiny_space, tmp_path: Path, text, column: str, message: str) -> None:
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        rank(tiny_space, f"table:{path}:{column}", trials=2)


@pytest.mark.parametrize("read", READINGS)
def test_a_training_is_scored_as_it_is_read(tiny_space, data, read: str) -> None:
    recipe = dataclasses.replace(QUICK, read=read)
    study = rank(tiny_space, "full", data=data, trials=4, recipe=recipe)
    assert study.metric_names == [READINGS[read]]
    for trial in scored(study):
        sign = 1 if read in ("accuracy", "both", "balanced_accuracy", "balanced_both") else -1
        assert trial.value == sign * trial.user_attrs[read]
        found = trial.user_attrs
        assert found.keys() >= READINGS.keys()
        balanced = (found["accuracy"] + math.exp(-found["train_loss"])) / 2
        assert found["both"] == pytest.approx(balanced)
    named = rank(tiny_space, f"full:epochs=2,batch_size=64,augment=none,read={read}", data=data,
                 trials=4)  # fmt: skip
    assert [t.value for t in named.trials] == [t.value for t in study.trials]


def test_trainings_on_smaller_images(tiny_space, data) -> None:
    proxy = nasproxy.condense(data, "random", ipc=4)
    plain, halved = (
        rank(
            tiny_space, proxy, data=data, sampler="all",
            recipe=dataclasses.replace(QUICK, image_size=size, augment="crop_flip"),
        )
        for size in (None, 4)
    )  # fmt: skip
    for study, side in ((plain, 8), (halved, 4)):
        wanted = {"width": 8, "kind": "plain"}
        (attributes,) = (t.user_attrs for t in scored(study) if t.params == wanted)
        pixels = side * side
        assert attributes["params"] == pixels * 8 + 8 + 8 * 3 + 3
        assert attributes["macs"] == pixels * 8 + 8 * 3
    assert [t.value for t in plain.trials] != [t.value for t in halved.trials]
    # the very same as a training on images that were small before
    halve = dataclasses.replace(data.normalisation, shorter_side=4)
    small = ImageSet(F.avg_pool2d(proxy.images, 2), proxy.labels)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    other = copy.deepcopy(network)
    recipe = dataclasses.replace(QUICK, augment="crop_flip")
    one = Training(network, proxy.image_set, recipe, halve)
    two = Training(other, small, recipe, data.normalisation)
    one.run()
    two.run()
    assert one.loss == pytest.approx(two.loss, abs=1e-6)


def test_old_studies_go_on_without_an_image_size(data) -> None:
    """A study's recipe is compared as text: this is how it was written before there was one."""
    before = (
        '{"epochs": 30, "steps": null, "batch_size": 128, "lr": 0.05, "schedule": "cosine", '
        '"momentum": 0.9, "nesterov": true, "weight_decay": 0.0005, "augment": "crop_flip", '
        '"precision": "auto", "read": "accuracy"}'
    )
    assert make_estimator("full", data).identity["recipe"] == before
    assert "image_size" in str(make_estimator("full:image_size=4", data).identity["recipe"])


def saying(proxy_recipe: object, folder: Path) -> nasproxy.Space:
    """The tiny space, with its own way of being trained on proxy sets."""
    path = folder / "own_space.py"
    path.write_text(f"{TINY_SPACE}\n\nproxy_recipe = {proxy_recipe!r}\n")
    return nasproxy.load_space(str(path))


def test_a_space_says_how_it_is_trained_on_proxies(data, tmp_path: Path) -> None:
    space = saying({"read": "fit_loss", "image_size": 4, "epochs": 1}, tmp_path)
    proxy = nasproxy.condense(data, "random", ipc=2)
    path = tmp_path / "proxy.safetensors"
    proxy.save(path)

    def recipe(by: nasproxy.ProxySet | str, **more) -> nasproxy.Recipe:
        study = rank(space, by, data=data, trials=2, **more)
        return nasproxy.Recipe(**json.loads(study.user_attrs["recipe"]))

    own = dataclasses.replace(PROXY_RECIPE, read="fit_loss", image_size=4, epochs=1)
    assert recipe(proxy) == recipe(str(path)) == own
    assert recipe(f"{path}:read=loss") == dataclasses.replace(own, read="loss")  # said for once
    assert recipe(proxy, recipe=QUICK) == QUICK
    assert recipe("full:epochs=1").read == "accuracy"  # of proxies alone
    assert proxy_recipe(saying({"image_size": 8}, tmp_path), data) == PROXY_RECIPE  # as they are


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"red": 1}, "has no option 'red'"),
        ({"epochs": "many"}, "expected int as epochs"),
        ({"read": "x"}, "expected read accuracy"),
        (3, "not iterable"),
    ],
)
def test_what_a_space_says_wrongly(data, tmp_path: Path, said: object, message: str) -> None:
    space = saying(said, tmp_path)
    proxy = nasproxy.condense(data, "random", ipc=1)
    with pytest.raises(UserError, match=rf"own_space.py: proxy_recipe .*{message}"):
        rank(space, proxy, data=data, trials=2)


def test_images_are_not_made_larger(data) -> None:
    with pytest.raises(UserError, match="expected image_size of at most 8, got 9"):
        make_estimator("full:image_size=9", data)


def test_flops_of_a_linear_network(tiny_space, data) -> None:
    study = rank(tiny_space, "flops", data=data, sampler="all")
    trial = next(t for t in scored(study) if t.params == {"width": 8, "kind": "plain"})
    assert trial.value == 64 * 8 + 8 * 3


def test_isomorphic_cells_are_trained_once(data) -> None:
    """Two names for one cell: the second takes the first one's score."""
    space = nasproxy.load_space("nasbench201:C=4,N=1")
    none = dict.fromkeys((f"Op{i}" for i in range(6)), "none")
    one = {**none, "Op0": "skip_connect", "Op3": "nor_conv_3x3"}
    two = {**none, "Op0": "skip_connect", "Op4": "nor_conv_3x3"}
    assert space.canonical({**one, "Op2": "none"}) == space.canonical(one)
    three = {**none, "Op3": "avg_pool_3x3"}
    assert space.canonical(one) == space.canonical(two) != space.canonical(three)
    (drawn,) = space.sample(1, 0, data.input_shape, 3)
    plan = [
        dataclasses.replace(drawn, choices=params, key=space.key(params))
        for params in (one, two, three)
    ]
    study = rank(space, "full", data=data, like=plan, recipe=QUICK, jobs=1)
    first, *rest = scored(study)
    assert len(rest) == 2
    (twin,) = [t for t in rest if "twin" in t.user_attrs]
    assert twin.user_attrs["twin"] == first.user_attrs["architecture"]
    assert twin.value == first.value
    assert twin.user_attrs["loss"] == first.user_attrs["loss"]
    built = space.build(twin.params, data.input_shape, 3)
    assert twin.user_attrs["params"] == count_params(built)  # its own, not its twin's
    every = rank(space, "full", data=data, like=plan, recipe=QUICK, jobs=1, train_twins=True)
    assert not [t for t in every.trials if "twin" in t.user_attrs]


@needs_table
def test_the_published_table_is_a_truth() -> None:
    space = nasproxy.load_space("nasbench201")
    truth = rank(space, f"table:{TABLE}:cifar10_test_acc", trials=200)
    params = rank(space, f"table:{TABLE}:params_m", like=truth)
    again = rank(space, f"table:{TABLE}:cifar10_test_acc_e12", like=truth)
    report = nasproxy.correlate(truth, [params, again])
    assert report.n == 200
    assert 0.6 < report.rankings[0].spearman < 0.85  # .753 over all
    assert 0.78 < report.rankings[1].spearman < 0.94  # .871 over all


@pytest.mark.parametrize("name", ["naswot", "synflow", "az_nas", "grad_norm:batch_size=16"])
def test_training_free_scores_are_estimators(data, name: str) -> None:
    study = rank("convnet_small", name, data=data, trials=6, jobs=1)
    again = rank("convnet_small", name, data=data, like=study, jobs=1)
    assert [t.values for t in study.trials] == [t.values for t in again.trials]
    assert len(scored(study)) >= 3
    assert study.user_attrs["kind"] == "free"


def test_az_nas_is_ranked_by_its_components(data) -> None:
    study = rank("convnet_small", "az_nas", data=data, trials=8, jobs=1)
    names = ("expressivity", "progressivity", "trainability", "macs")
    assert study.user_attrs["components"] == ",".join(names)
    truth = rank("convnet_small", "params", data=data, like=study)
    ranking = nasproxy.correlate(truth, [study]).rankings[0]
    table = np.array([[t.user_attrs.get(n, -np.inf) for t in scored(study)] for n in names])
    values = [t.value for t in scored(truth)]
    assert ranking.spearman == pytest.approx(spearman(combine(table), np.array(values)))


def test_budgets_are_recorded(data) -> None:
    study = rank("convnet_small", "params", data=data, trials=5, max_params=20_000)
    assert all(t.value <= 20_000 for t in scored(study))
    assert len(scored(study)) == 5
    refused = [t.user_attrs["invalid"] for t in study.trials if "invalid" in t.user_attrs]
    assert any("over budget" in reason for reason in refused)
    with pytest.raises(UserError, match="budget = "):
        rank("convnet_small", "params", data=data, study=study.study_name,
             storage=study._storage)  # fmt: skip
