"""What figures show, against slow and obvious ways to compute it."""

from itertools import combinations

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from nasproxy import Report, correlate
from nasproxy.plots import effects
from nasproxy.series import (
    chance_regret,
    choice_effects,
    column,
    regret_curve,
    some_points,
    telling_choice,
)

CHOICES = {"width": [8, 16, 32], "norm": ["none", "batch"]}


def make_report(n: int = 12) -> Report:
    generator = np.random.default_rng(0)
    rows = [
        {name: options[int(generator.integers(len(options)))] for name, options in CHOICES.items()}
        for _ in range(n)
    ]
    truth = [row["width"] + generator.normal() for row in rows]  # the width decides
    return correlate(
        _study("full", rows, truth), [_study("noise", rows, generator.normal(size=n).tolist())]
    )


def _study(name: str, rows: list[dict], scores: list[float]) -> optuna.Study:
    study = optuna.create_study(study_name=name, direction="maximize")
    for number, (row, score) in enumerate(zip(rows, scores, strict=True)):
        study.add_trial(
            create_trial(
                value=score,
                params=row,
                distributions={k: CategoricalDistribution(v) for k, v in CHOICES.items()},
                user_attrs={"architecture": f"a{number}", "drawn": "uniform", "seconds": 1.0},
            )
        )
    return study


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report()


def test_regret_of_the_first_k(report: Report) -> None:
    curve = regret_curve(report, "noise")
    truth, score = column(report, "truth"), column(report, "noise")
    for k in range(1, report.n + 1):
        first = sorted(range(report.n), key=lambda i: -score[i])[:k]
        assert curve[k - 1] == pytest.approx(max(truth) - max(truth[i] for i in first))
    assert curve[-1] == 0
    for at in report.rankings[0].at_k:
        assert curve[at.k - 1] == pytest.approx(at.regret)


def test_regret_of_blind_draws_is_the_mean_over_all_subsets() -> None:
    report = make_report(8)
    truth = column(report, "truth")
    for k, found in enumerate(chance_regret(report), start=1):
        best = [max(subset) for subset in combinations(truth, k)]
        assert found == pytest.approx(max(truth) - np.mean(best))


def test_effects_are_mean_places(report: Report) -> None:
    truth = column(report, "truth")
    place = {i: 100 * sum(truth < truth[i]) / (report.n - 1) for i in range(report.n)}
    effects = {(e.choice, e.option): e for e in choice_effects(report)}
    assert [option for choice, option in effects if choice == "width"] == ["8", "16", "32"]
    for (choice, option), effect in effects.items():
        members = [
            i
            for i, about in enumerate(report.architectures)
            if str(about["choices"][choice]) == option
        ]
        assert effect.n == len(members)
        assert effect.truth == pytest.approx(np.mean([place[i] for i in members]))


def test_the_telling_choice_is_the_one_that_decides(report: Report) -> None:
    assert telling_choice(report) == "width"


def test_few_points_reach_from_worst_to_best() -> None:
    report = make_report(60)
    shown = some_points(report, 10)
    truth = column(report, "truth")
    assert 10 <= len(shown) <= 15
    assert {int(truth.argmin()), *np.argsort(-truth)[:5].tolist()} <= set(shown)


def test_a_small_figure_shows_the_most_telling_options(report: Report) -> None:
    figure = effects(report, most=2)
    assert figure is not None
    assert "the most telling 2 of 5" in figure.layout.title.text
    assert set(figure.data[-1].y) == {"width = 8", "width = 32"}  # in the middle: the other three
    assert "telling" not in effects(report).layout.title.text
