import json
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial
from scipy import stats

from nasproxy import Report, UserError, correlate

N = 60


def make_study(name: str, scores: dict[int, float | None], drawn: str = "uniform", **attrs):
    """A study of made-up architectures; None is one that broke."""
    study = optuna.create_study(study_name=name, direction="maximize")
    same = {"space_sha256": "s", "dataset_digest": "d", "estimator": name, "cost": 0.0}
    for key, value in {**same, **attrs}.items():
        study.set_user_attr(key, value)
    for number, score in scores.items():
        about = {"architecture": f"a{number}", "drawn": drawn, "seconds": attrs.get("seconds", 1.0)}
        if score is None:
            about["broken"] = "why"
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED if score is None else TrialState.COMPLETE,
                value=score,
                params={"number": number},
                distributions={"number": IntDistribution(0, 10_000)},
                user_attrs=about,
            )
        )
    return study


@pytest.fixture
def values() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=N)
    return truth, truth + 0.3 * generator.normal(size=N), generator.normal(size=N)


@pytest.fixture
def report(values) -> Report:
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    return correlate(
        make_study("truth", truth, seconds=10.0),
        [make_study("good", good, cost=90.0), make_study("noise", noise)],
    )


def test_figures_are_scipys(report: Report, values) -> None:
    truth, good, _ = values
    ranking = report.rankings[0]
    assert report.n == ranking.n == N
    assert ranking.spearman == pytest.approx(stats.spearmanr(truth, good).statistic)
    assert ranking.kendall == pytest.approx(stats.kendalltau(truth, good).statistic)
    low, high = ranking.spearman_ci
    assert low < ranking.spearman < high
    best = np.argsort(-truth)[: N // 5]
    inside = stats.spearmanr(truth[best], good[best]).statistic
    assert ranking.spearman_top20 == pytest.approx(inside)
    assert ranking.regret == pytest.approx(truth.max() - truth[good.argmax()])


def test_cost_and_break_even(report: Report) -> None:
    good = report.rankings[0]
    assert good.speedup == pytest.approx(10)
    assert good.break_even == 10  # 90 seconds, 9 saved on each
    assert good.seconds_once == 90


def test_differences_are_paired_and_said_in_words(report: Report) -> None:
    good, noise = report.rankings
    there, back = good.difference["noise"], noise.difference["good"]
    assert there["value"] == pytest.approx(good.spearman - noise.spearman)
    assert there["ci"] == pytest.approx([-back["ci"][1], -back["ci"][0]])
    assert there["ci"][0] > 0
    assert "good ranks better than noise" in str(report)
    again = correlate(
        make_study("truth", dict(enumerate(range(9)))),
        [make_study(n, dict(enumerate(range(9)))) for n in ("a", "b")],
    )
    assert "a and b can't be told apart: +0.00 [+0.00, +0.00]" in str(again)


def test_steered_and_invalid_trials_do_not_count(values) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    study = make_study("good", good)
    for trial in make_study("x", {900: 5.0, 901: 6.0}, drawn="tpe").trials:
        study.add_trial(trial)
    whole = make_study("truth", {**truth, 900: -9.0, 901: -9.0})
    assert correlate(whole, [study]).n == N


def test_broken_architectures_rank_last(values) -> None:
    truth, good, _ = values
    scores: dict[int, float | None] = dict(enumerate(good.tolist()))
    scores[3] = None
    ranking = correlate(
        make_study("truth", dict(enumerate(truth.tolist()))), [make_study("good", scores)]
    ).rankings[0]
    good[3] = good.min() - 1
    assert ranking.broken == 1
    assert ranking.spearman == pytest.approx(stats.spearmanr(truth, good).statistic)


def test_only_common_architectures_count() -> None:
    truth = make_study("truth", {i: float(i) for i in range(10)})
    some = make_study("some", {i: float(-i) for i in range(5, 15)})
    assert correlate(truth, [some]).n == 5
    few = make_study("few", {0: 1.0, 1: 2.0})
    with pytest.raises(UserError, match=r"have 2 uniformly drawn architectures in common"):
        correlate(truth, [few])
    with pytest.raises(UserError, match="one ranking or more"):
        correlate(truth, [])
    with pytest.raises(UserError, match="dataset_digest is d and other"):
        correlate(truth, [make_study("z", {0: 1.0}, dataset_digest="other")])


def test_constant_scores_have_no_correlation(tmp_path: Path) -> None:
    truth = make_study("truth", {i: float(i) for i in range(10)})
    flat = correlate(truth, [make_study("flat", dict.fromkeys(range(10), 1.0))])
    assert flat.rankings[0].spearman is None
    flat.write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["rankings"][0]["spearman"] is None


def test_files(report: Report, tmp_path: Path) -> None:
    from PIL import Image

    report.write(tmp_path)
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["n"] == N
    assert len(document["points"]) == N
    text = (tmp_path / "report.md").read_text()
    for name in ("spearman.png", "scores.png"):
        assert f"({name})" in text
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 100
    assert {p.name for p in tmp_path.iterdir()} == {
        *("report.json", "report.md", "spearman.png", "scores.png")
    }


def test_the_whole_of_a_space_is_said(values) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    report = correlate(make_study("t", truth, drawn="all"), [make_study("g", good, drawn="all")])
    assert report.drawn == "all"
    assert "all of the space" in str(report)


def test_many_architectures(values) -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=3000)
    noisy = truth + generator.normal(size=3000)
    report = correlate(
        make_study("t", dict(enumerate(truth.tolist()))),
        [make_study("g", dict(enumerate(noisy.tolist())))],
    )
    low, high = report.rankings[0].spearman_ci
    assert high - low < 0.06
