import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nasproxy.correlation import (
    best_rank,
    bootstrap_spearman,
    combine,
    kendall,
    overlap,
    pareto_front,
    percentile_interval,
    regret,
    spearman,
    top,
)

scores = st.lists(st.integers(-5, 5), min_size=2, max_size=30)


@settings(max_examples=200, deadline=None)
@given(scores, st.randoms(use_true_random=False))
def test_against_scipy(values: list[int], random) -> None:
    other = [random.randint(-5, 5) for _ in values]
    a, b = np.array(values, float), np.array(other, float)
    with np.errstate(all="ignore"):
        expected = (
            stats.spearmanr(a, b).statistic if len(set(values)) > 1 < len(set(other)) else np.nan
        )
        tau = stats.kendalltau(a, b).statistic
    assert spearman(a, b) == pytest.approx(expected, nan_ok=True)
    assert kendall(a, b) == pytest.approx(tau, nan_ok=True)


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=20, unique=True))
def test_only_the_order_counts(values: list[int]) -> None:
    a = np.array(values, float)
    assert spearman(a, np.arctan(a / 100)) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    assert kendall(a, a) == pytest.approx(1)


def test_minus_infinity_ranks_last() -> None:
    a, b = np.array([3.0, 2.0, 1.0, -np.inf]), np.array([30.0, 20.0, 10.0, -np.inf])
    assert spearman(a, b) == 1
    assert kendall(a, b) == 1


def test_the_bootstrap_is_the_slow_one() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=25)
    two = np.stack([truth + generator.normal(size=25), generator.normal(size=25)])
    found = bootstrap_spearman(truth, two, resamples=50, seed=3)
    draws = np.random.default_rng(3).integers(25, size=(50, 25))
    for row in range(2):
        slow = [stats.spearmanr(truth[i], two[row, i]).statistic for i in draws]
        assert np.allclose(found[row], slow)


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say() -> None:
    """95% intervals for n=60 from a normal with rho 0.6 cover the truth about 95% of the time."""
    expected = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's rho of a bivariate normal
    covered = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        a = generator.normal(size=60)
        b = 0.6 * a + 0.8 * generator.normal(size=60)
        low, high = percentile_interval(bootstrap_spearman(a, b[None], 1000, seed)[0])
        covered += low <= expected <= high
    assert 0.90 < covered / 300 < 0.985


def test_large_tables_are_quick_and_chunked() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=15_625)
    noisy = truth + generator.normal(size=15_625)
    low, high = percentile_interval(bootstrap_spearman(truth, noisy[None], 300)[0])
    assert low < spearman(truth, noisy) < high
    assert high - low < 0.03


def test_degenerate_input() -> None:
    flat = np.zeros(5)
    assert np.isnan(spearman(flat, np.arange(5.0)))
    assert np.isnan(kendall(flat, np.arange(5.0)))
    assert np.isnan(percentile_interval(bootstrap_spearman(flat, flat[None], 10)[0])).all()


def test_top_and_regret() -> None:
    values = np.array([0.1, 0.9, 0.5, 0.9, 0.3])
    assert top(values, 0.4).tolist() == [1, 3]
    assert top(values, 0.01).tolist() == [1, 3]
    assert regret(values, np.array([0.0, 0, 1, 0, 0])) == pytest.approx(0.4)
    assert regret(values, np.array([1.0, 1, 0, 0, 0])) == pytest.approx(0.4)  # a tie: the mean


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_the_pareto_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    value, cost = np.array(points, float).T
    front = {(value[i], cost[i]) for i in pareto_front(value, cost)}
    slow = {
        (v, c)
        for v, c in points
        if not any(w >= v and d <= c and (w, d) != (v, c) for w, d in points)
    }
    assert front == slow


def test_combining_with_itself_changes_nothing() -> None:
    a = np.random.default_rng(0).normal(size=40)
    for how in ("log", "mean"):
        assert spearman(combine(np.stack([a, a]), how), a) == pytest.approx(1)
    assert combine(np.array([[1.0, 2.0], [1.0, 2.0]])).tolist() == [2 * np.log(0.5), 0.0]


def test_overlap_and_best_rank() -> None:
    truth, score = np.array([5.0, 4, 3, 2, 1]), np.array([1.0, 4, 5, 3, 2])
    assert overlap(truth, score, 2) == 0.5
    assert best_rank(truth, score, 1) == 3
    assert best_rank(truth, score, 2) == 2
