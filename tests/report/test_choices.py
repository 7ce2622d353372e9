"""What choices do, against a slow and obvious way to compute it."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from nasproxy import Report, correlate
from nasproxy.report.choices import choice_effects, groups_by, telling_choice

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


def test_effects_are_mean_places(report: Report) -> None:
    truth = report.scores("truth")
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


def test_groups_hold_every_architecture_once(report: Report) -> None:
    groups = groups_by(report, "norm")
    assert list(groups) == ["batch", "none"]
    assert sorted(i for members in groups.values() for i in members) == list(range(report.n))
