"""What is read from studies, readings of them and tables."""

import json
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial
from scipy import stats

from nasproxy import Reading, UserError, correlate
from nasproxy.estimators.table import read_table
from nasproxy.studies.storage import open_storage
from tests.report.conftest import N, make_study


def _with_losses(values) -> tuple[optuna.Study, optuna.Study, np.ndarray]:
    """A truth, and a study whose losses say more than its scores; its first trial broke."""
    truth, good, noise = values
    study = make_study("noise", {})
    for number in range(N):
        about = {"architecture": f"a{number}", "drawn": "uniform", "loss": -float(good[number])}
        if not number:
            about["broken"] = "why"
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if number else TrialState.PRUNED,
                value=float(noise[number]) if number else None,
                params={"number": number},
                distributions={"number": IntDistribution(0, 10_000)},
                user_attrs=about,
            )
        )
    return make_study("truth", dict(enumerate(truth.tolist()))), study, good


def test_a_score_made_of_components_is_combined_here(values) -> None:
    truth, good, noise = values
    study = make_study("az", dict.fromkeys(range(N), 0.0), components="a,b")
    for trial in study.get_trials(deepcopy=False):
        trial.user_attrs["a"], trial.user_attrs["b"] = good[trial.number], noise[trial.number]
    report = correlate(make_study("t", dict(enumerate(truth.tolist()))), [study])
    score = sum(np.log(stats.rankdata(v) / N) for v in (good, noise))
    assert report.rankings[0].spearman == pytest.approx(stats.spearmanr(truth, score).statistic)


def test_a_study_can_be_read_by_its_loss(values) -> None:
    truth, study, good = _with_losses(values)
    report = correlate(truth, [study, Reading(study, "loss")])
    assert [r.study for r in report.rankings] == ["noise", "noise@loss"]
    expected = good.copy()
    expected[0] = -np.inf
    assert report.rankings[1].spearman == pytest.approx(
        stats.spearmanr(values[0], stats.rankdata(expected)).statistic
    )
    assert report.rankings[1].broken == 1
    assert report.rankings[1].provenance["read"] == "loss"
    with pytest.raises(UserError, match=r"no number 'los'; did you mean 'loss'"):
        correlate(truth, [Reading(study, "los")])


def test_an_older_study_is_read_by_both(values) -> None:
    """Its trials have the parts of the reading, which came later."""
    truth, good, noise = values
    accuracy = 1 / (1 + np.exp(-good))
    study = optuna.create_study(study_name="old", direction="maximize")
    for name, value in {"space_sha256": "s", "dataset_digest": "d", "estimator": "full"}.items():
        study.set_user_attr(name, value)
    for number in range(N):
        about = {
            "architecture": f"a{number}", "drawn": "uniform",
            "accuracy": float(accuracy[number]), "train_loss": float(np.exp(noise[number])),
        }  # fmt: skip
        study.add_trial(
            create_trial(
                value=about["accuracy"], params={"number": number}, user_attrs=about,
                distributions={"number": IntDistribution(0, 10_000)},
            )
        )  # fmt: skip
    report = correlate(
        make_study("truth", dict(enumerate(truth.tolist()))), [Reading(study, "both")]
    )
    expected = (accuracy + np.exp(-np.exp(noise))) / 2
    assert report.rankings[0].spearman == pytest.approx(stats.spearmanr(truth, expected).statistic)
    assert study.trials[0].user_attrs.keys() == about.keys()


def test_rankings_are_given_by_name(values, tmp_path: Path) -> None:
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    url = f"sqlite:///{tmp_path / 's.db'}"
    storage = open_storage(url)
    for study in (make_study("truth", truth), make_study("good", good), _with_losses(values)[1]):
        optuna.copy_study(
            from_study_name=study.study_name, from_storage=study._storage, to_storage=storage
        )
    (tmp_path / "t.csv").write_text("\n".join(["arch,x", *(f"a{k},{v}" for k, v in noise.items())]))
    names = ["good", f"table:{tmp_path / 't.csv'}:x", "noise@loss"]
    for given in (url, storage):
        report = correlate("truth", names, storage=given)
        assert [r.study for r in report.rankings] == ["good", "x", "noise@loss"]
        assert report.rankings[0].spearman == pytest.approx(
            stats.spearmanr(values[0], values[1]).statistic
        )
    table = read_table(str(tmp_path / "t.csv"), "x")
    assert correlate("truth", [table], storage=storage).rankings[0].study == "x"
    with pytest.raises(UserError, match="no study 'godo' in the storage; did you mean 'good'"):
        correlate("truth", ["godo"], storage=storage)
    with pytest.raises(UserError, match="expected a storage in which to find the study 'truth'"):
        correlate("truth", names)


def test_the_command_line_reads_by_loss(values, tmp_path: Path, command) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    options = "--data", "digits", "--storage", url, "--quiet", "--trials", "6"
    assert command("rank", *options, "--by", "full:steps=10", "--study", "fast")[0] == 0
    assert command("rank", *options, "--by", "params", "--study", "t@x", "--like", "fast")[0] == 0
    correlation = "correlate", "--truth", "t@x", "--storage", url, "--json"
    status, out, _ = command(*correlation, "--study", "fast", "--study", "fast@loss")
    assert status == 0
    assert [r["study"] for r in json.loads(out)["rankings"]] == ["fast", "fast@loss"]
    status, _, err = command(*correlation, "--study", "fast@lss")
    assert status == 2
    assert "'loss'" in err


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
