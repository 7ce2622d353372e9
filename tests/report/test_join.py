"""What may be compared, what it costs, and combinations."""

from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial
from scipy import stats

from nasproxy import Reading, UserError, correlate
from nasproxy.estimators.ranks import combine
from nasproxy.estimators.table import TableEstimator
from tests.report.conftest import N, make_study


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


def test_the_whole_of_a_space_is_said(values) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    report = correlate(make_study("t", truth, drawn="all"), [make_study("g", good, drawn="all")])
    assert report.drawn == "all"
    assert "all of the space" in str(report)


def test_combined_rankings(values) -> None:
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    studies = [make_study("good", good, cost=90.0), make_study("noise", noise, seconds=2.0)]
    for how in ("log", "mean"):
        report = correlate(
            make_study("t", truth), studies, combine=[["good", "noise"]], combination=how
        )
        both = report.rankings[2]
        ranks = [stats.rankdata(v) for v in values[1:]]
        score = sum(np.log(r / N) for r in ranks) if how == "log" else sum(ranks)
        assert both.study == "good+noise"
        assert both.kind == "combined"
        assert both.spearman == pytest.approx(stats.spearmanr(values[0], score).statistic)
        assert both.seconds_per_architecture == pytest.approx(3.0)
        assert both.seconds_once == 90
    with pytest.raises(UserError, match="can't combine 'godo'"):
        correlate(make_study("t", truth), studies, combine=[["godo", "noise"]])
    with pytest.raises(UserError, match="expected combination log or mean"):
        correlate(make_study("t", truth), studies, combination="sum")


@pytest.mark.parametrize("names", [["good"], ["good", "good"], []])
def test_a_combination_is_of_different_rankings(values, names: list[str]) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    with pytest.raises(UserError, match="different rankings to combine"):
        correlate(make_study("truth", truth), [make_study("good", good)], combine=[names])


def test_a_study_read_twice_costs_its_trainings_once(values) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    study = make_study("good", good, seconds=2.0, cost=90.0)
    readings = [study, Reading(study, "seconds")]
    report = correlate(make_study("t", truth), readings, combine=[["good", "good@seconds"]])
    assert report.rankings[2].seconds_per_architecture == 2
    assert report.rankings[2].seconds_once == 90


def test_the_ceiling_is_seed_against_seed(values) -> None:
    truth, good, _ = values
    study = make_study("t", dict(enumerate(truth.tolist())), seeds=3)
    noisy = truth + np.random.default_rng(3).normal(size=(3, N))
    for trial in study.get_trials(deepcopy=False):
        for k in range(3):
            value = float(noisy[k, trial.number])
            trial.user_attrs[f"score_seed{k}"] = value
    report = correlate(study, [make_study("g", dict(enumerate(good.tolist())))])
    pairs = [stats.spearmanr(noisy[a], noisy[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    assert report.ceiling == {
        "seeds": 3,
        "spearman": pytest.approx(np.mean(pairs)),
        "spearman_top20": pytest.approx(report.ceiling["spearman_top20"]),
        "perfect_ranking": pytest.approx(report.ceiling["perfect_ranking"]),
    }
    # what a ranking by the noiseless truth really shows with the mean of the three
    shown = stats.spearmanr(truth, noisy.mean(0)).statistic
    assert report.ceiling["perfect_ranking"] == pytest.approx(shown, abs=0.1)
    assert "A perfect ranking would show about" in str(report)


def test_tied_seeds_do_not_break_the_report(values, tmp_path: Path) -> None:
    truth, good, _ = values
    study = make_study("t", dict(enumerate(truth.tolist())), seeds=2)
    for trial in study.get_trials(deepcopy=False):
        trial.user_attrs["score_seed0"] = 1.0
        trial.user_attrs["score_seed1"] = trial.value
    report = correlate(study, [make_study("g", dict(enumerate(good.tolist())))])
    report.write(tmp_path)
    assert report.ceiling["spearman"] is None


def test_a_relative_score_is_made_among_what_is_compared() -> None:
    """AZ-NAS of 40 says another order of 12 of them than AZ-NAS of these 12."""
    generator = np.random.default_rng(0)
    parts = generator.normal(size=(2, 40))
    study = make_study("az", dict.fromkeys(range(40), 0.0), components="one,two")
    for i, trial in enumerate(study.get_trials(deepcopy=False)):
        trial.user_attrs |= {"one": parts[0, i], "two": parts[1, i]}
    broke = make_study("az", {40: None}).trials[0]
    study.add_trial(broke)
    some = [3, 7, 9, 11, 15, 20, 21, 28, 30, 33, 36, 39]
    truth = make_study("full", {i: float(generator.normal()) for i in [*some, 40]})
    report = correlate(truth, [study])
    among = combine(np.append(parts[:, some], [[-np.inf], [-np.inf]], 1))[:-1]
    assert report.scores("az").tolist() == pytest.approx([*among, -np.inf])
    of_all = combine(parts)[some]
    assert (np.argsort(among) != np.argsort(of_all)).any()
    assert report.rankings[0].relative
    assert "Scores by az are made of ranks among these 13 architectures" in str(report)


def test_all_of_the_space_is_said_of_no_less(values) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    some = {k: v for k, v in good.items() if k < 20}
    table, few = (
        TableEstimator(f"table:{name}.csv:acc", "acc", name, {f"a{k}": v for k, v in of.items()})
        for name, of in (("all", good), ("some", some))
    )
    whole, drawn = make_study("w", truth, drawn="all"), make_study("u", truth)
    lacking = make_study("w", some, drawn="all")  # ranked by a table without the others
    for k in range(20, 60):
        about = {"architecture": f"a{k}", "drawn": "all", "missing": "no row"}
        lacking.add_trial(create_trial(state=TrialState.PRUNED, user_attrs=about))
    for one, other, expected, says in (
        (whole, make_study("g", good, drawn="all"), "all", "60 architectures, all of the space"),
        (whole, table, "all", "60 architectures, all of the space"),
        (whole, few, "part", "20 architectures, those of the space that all of these have"),
        (whole, make_study("g", some, drawn="all"), "part", "those of the space that all"),
        (lacking, lacking, "part", "20 architectures, those of the space that all"),
        (table, few, "table", "20 architectures, those that the tables have"),
        (table, table, "table", "60 architectures, those that the tables have"),
        (drawn, few, "uniform", "20 architectures, drawn uniformly"),
        (whole, drawn, "uniform", "60 architectures, drawn uniformly"),
    ):
        report = correlate(one, [other])
        assert report.drawn == expected
        assert says in str(report)


def test_columns_of_one_name_are_named_by_their_files(values) -> None:
    _, good, noise = ({f"a{k}": float(v) for k, v in enumerate(of)} for of in values)
    one, two = (
        TableEstimator(f"table:{file}:acc", "acc", file, of)
        for file, of in (("one.csv", good), ("two.csv", noise))
    )
    full = make_study("full", dict(enumerate(values[0].tolist())))
    assert [r.study for r in correlate(full, [one, two]).rankings] == ["one.csv:acc", "two.csv:acc"]
    assert [r.study for r in correlate(full, [one]).rankings] == ["acc"]
    acc = make_study("acc", dict(enumerate(values[0].tolist())))
    assert [r.study for r in correlate(full, [acc, two]).rankings] == ["acc", "two.csv:acc"]


def test_a_combination_may_not_have_a_ranking_s_name(values) -> None:
    truth, *others = (dict(enumerate(v.tolist())) for v in (*values, values[1]))
    studies = [make_study(n, of) for n, of in zip(("a", "b", "a+b"), others, strict=True)]
    for rankings, groups in ((studies, [["a", "b"]]), (studies[:2], [["a", "b"], ["a", "b"]])):
        with pytest.raises(UserError, match="expected every ranking once, got a, b, a"):
            correlate(make_study("full", truth), rankings, combine=groups)
