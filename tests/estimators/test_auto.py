"""``auto``, against the studies that it is made of."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import rankdata

import nasproxy
from nasproxy import Reading, correlate, rank
from nasproxy.estimators.auto import FREE
from nasproxy.estimators.making import make_estimator
from nasproxy.report.sources import scores_among
from nasproxy.studies import reliability
from nasproxy.studies.record import scored
from nasproxy.training.recipe import PROXY_RECIPE

STEPS = 30


@pytest.fixture(scope="module")
def garments() -> nasproxy.Dataset:
    return nasproxy.load_dataset("fashion")


def log_ranks(scores: np.ndarray) -> np.ndarray:
    return np.log(rankdata(scores) / len(scores))


def by_key(study) -> dict[str, float]:
    records = scored(study)
    return {str(r.key): float(s) for r, s in zip(records, scores_among(study, records))}


def test_it_is_a_training_and_three_free_scores(garments, monkeypatch) -> None:
    how = {"data": garments, "trials": 7, "jobs": 1, "seed": 4}
    made = rank("convnet_tiny", f"auto:steps={STEPS}", **how)
    proxy = nasproxy.condense(garments, "random", ipc=50)
    recipe = dataclasses.replace(PROXY_RECIPE, steps=STEPS)
    like = {"data": garments, "like": made, "jobs": 1, "seed": 4}
    trained = rank("convnet_tiny", proxy, recipe=recipe, **like)
    free = [by_key(rank("convnet_tiny", name, **like)) for name in FREE]
    found, of_training = by_key(made), by_key(trained)
    keys = sorted(found)
    parts = [np.array([of[key] for key in keys]) for of in (of_training, *free)]
    ranked = [log_ranks(part) for part in parts]
    monkeypatch.setattr(reliability, "JUDGED", 5)
    monkeypatch.setattr(reliability, "SETTLED", -1.0)
    settled = by_key(made)
    expected = 2 * ranked[0] + sum(ranked[1:]) / 3
    assert [settled[key] for key in keys] == pytest.approx(list(expected))
    report = correlate(trained, [made, Reading(made, "both")])
    assert report.scores(made.study_name) == pytest.approx(
        [settled[p["architecture"]] for p in report.points]
    )
    assert report.rankings[1].spearman == pytest.approx(1)
    assert report.rankings[0].relative
    monkeypatch.setattr(reliability, "SETTLED", 2.0)  # then what is free decides
    alone = by_key(made)
    assert [alone[key] for key in keys] == pytest.approx(list(sum(ranked[1:]) / 3))


def test_it_takes_as_many_updates_with_any_number_of_classes() -> None:
    images = np.random.default_rng(0).integers(0, 256, (900, 8, 8), np.uint8)
    data = nasproxy.from_arrays(images, np.arange(900) % 60, name="made")
    for by, steps in (("auto", 1000), ("auto:steps=30", 30), ("auto:epochs=2", None)):
        recipe = make_estimator(by, data).trained.recipe
        assert recipe.steps == steps
        assert steps or recipe.epochs == 2


def test_a_free_score_that_a_network_has_not_is_no_failure(
    command, npz: str, tiny_space_file: str, tmp_path
) -> None:
    """Linear networks have no blocks for AZ-NAS to look at, and some no activation."""
    words = ["rank", "--by", "auto:steps=8", "--data", npz, "--space", tiny_space_file]
    words += ["--sampler", "all", "--storage", f"sqlite:///{tmp_path}/s.db", "--json"]
    status, out, err = command(*words)
    assert status == 0, err
    document = json.loads(out)
    assert len(document["ranking"]) == 5
    assert len({row["score"] for row in document["ranking"]}) == 5
    assert command(*words)[1] == out  # and it goes on from there
    assert command(*[*words, "--pruner", "halving"])[0] == 2
    assert command(*[w.replace("auto:steps=8", "auto:step=8") for w in words])[0] == 2
