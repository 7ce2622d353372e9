"""Each ranking's figures, against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from nasproxy import Report, correlate
from tests.report.conftest import N, make_study


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


def test_among_the_best_and_at_k(report: Report, values) -> None:
    truth, good, _ = values
    ranking = report.rankings[0]
    for subset in ranking.subsets:
        of = truth if subset.by == "truth" else good
        index = np.argsort(-of)[: subset.n]
        assert subset.n == max(2, round(subset.fraction * N))
        expected = stats.spearmanr(truth[index], good[index]).statistic
        if subset.n < 5:  # three architectures say nothing
            assert subset.spearman is None
            assert subset.spearman_ci == (None, None)
        else:
            assert subset.spearman == pytest.approx(expected)
    for at in ranking.at_k:
        first, best = set(np.argsort(-good)[: at.k]), set(np.argsort(-truth)[: at.k])
        assert at.overlap == len(first & best) / at.k
        assert at.regret == pytest.approx(truth.max() - truth[list(first)].max())
        assert at.best_rank == 1 + (truth > truth[list(first)].max()).sum()


def test_kendalls_interval_holds_it(report: Report) -> None:
    low, high = report.rankings[0].kendall_ci
    assert low < report.rankings[0].kendall < high
    assert high - low < 0.3
