from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nasproxy.estimators.ranks import combine
from nasproxy.studies.statistics import (
    best_rank,
    bootstrap_kendall,
    bootstrap_spearman,
    chance_regret,
    chances,
    kendall,
    overlap,
    pareto_front,
    percentile_interval,
    regret,
    regret_curve,
    simultaneous,
    spearman,
    top,
    tops,
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


def test_regret_of_the_first_k() -> None:
    generator = np.random.default_rng(0)
    truth, score = generator.normal(size=12), generator.normal(size=12)
    truth[score.argmax()] = -np.inf
    curve = regret_curve(truth, score)
    for k in range(1, 13):
        first = sorted(range(12), key=lambda i: -score[i])[:k]
        assert curve[k - 1] == max(truth) - max(truth[i] for i in first)
    assert curve[0] == np.inf and curve[-1] == 0


def test_regret_of_blind_draws_is_the_mean_over_all_subsets() -> None:
    truth = np.random.default_rng(0).normal(size=8)
    for k, found in enumerate(chance_regret(truth), start=1):
        best = [max(subset) for subset in combinations(truth, k)]
        assert found == pytest.approx(max(truth) - np.mean(best))


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


def _over_all_lots(scores: np.ndarray, k: int, figure: Callable[[list[int]], float]) -> float:
    """The mean of a figure of the first k over every order in which equals may come."""
    orders = [sorted(lot, key=lambda i: -scores[i]) for lot in permutations(range(len(scores)))]
    return float(np.mean([figure(order[:k]) for order in orders]))


TIED = {
    "constant": [0.0, 0, 0, 0, 0, 0],
    "constant infinity": [-np.inf] * 6,
    "two levels": [1.0, 0, 1, 0, 0, 1],
    "the last are level": [3.0, 2, 1, 1, 1, 1],
    "some broke": [2.0, -np.inf, 2, -np.inf, 1, -np.inf],
    "all differ": [3.0, 5, 1, 2, 4, 0],
}


@pytest.mark.parametrize("name", TIED)
def test_ties_are_by_expectation(name: str) -> None:
    scores, truth = np.array(TIED[name]), np.array([6.0, 5, 4, 4, 2, 1])  # the first is the best
    place = [1 + (truth > t).sum() for t in truth]
    curve = regret_curve(truth, scores)
    for k in range(1, 7):
        found = _over_all_lots(scores, k, lambda first: truth.max() - truth[first].max())
        assert regret(truth, scores, k) == pytest.approx(found)
        assert curve[k - 1] == pytest.approx(found)
        found = _over_all_lots(scores, k, lambda first: min(place[i] for i in first))
        assert best_rank(truth, scores, k) == pytest.approx(found)
        best = chances(truth, k)
        found = _over_all_lots(scores, k, lambda first, b=best, k=k: b[first].sum() / k)
        assert overlap(truth, scores, k) == pytest.approx(found)
        assert chances(scores, k).sum() == pytest.approx(k)


def test_the_best_of_ties_are_drawn_by_lot() -> None:
    values = np.array([9.0, *[1.0] * 99])
    found = tops(values, 0.2, lots=200)
    assert found.shape == (200, 20)
    assert (found[:, 0] == 0).all()
    assert all(len(set(row)) == 20 for row in found)
    counts = np.bincount(found.ravel(), minlength=100)[1:]
    assert counts.min() > 15 and counts.max() < 70  # 38 each on the mean
    assert tops(np.arange(10.0), 0.2).tolist() == [[9, 8]]


def test_regret_where_some_broke() -> None:
    truth = np.array([-np.inf, -np.inf, 1.0, 2.0])
    assert regret(truth, np.array([2.0, 1, 0, 0])) == np.inf
    assert regret(truth, np.array([1.0, 1, 0, 0]), 2) == np.inf
    assert regret(truth, np.array([1.0, 0, 1, 0])) == 1  # half of it the worst that didn't
    assert regret_curve(truth, np.array([3.0, 2, 1, 0])).tolist() == [np.inf, np.inf, 1, 0]
    assert np.isnan(regret(np.full(3, -np.inf), np.arange(3.0)))


def test_kendalls_bootstrap_is_the_slow_one() -> None:
    generator = np.random.default_rng(0)
    truth, score = generator.integers(0, 9, 20).astype(float), generator.normal(size=20)
    score[[3, 5]] = -np.inf
    draws = np.random.default_rng(1).integers(20, size=(30, 20))
    assert bootstrap_kendall(truth, score, 30, 1) == pytest.approx(
        [kendall(truth[row], score[row]) for row in draws]
    )


def test_intervals_that_hold_together() -> None:
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(40, 2000))
    (alone,) = simultaneous([0.0], samples[:1])
    assert alone == pytest.approx(percentile_interval(samples[0]))
    wide = simultaneous([0.0] * 40, samples)
    expected = stats.norm.ppf(1 - (1 - 0.95 ** (1 / 40)) / 2)  # of 40 that are independent
    assert np.mean([high for _, high in wide]) == pytest.approx(expected, rel=0.05)
    same, undefined, other = simultaneous(
        [0.0, np.nan, 0.0], [np.zeros(2000), np.full(2000, np.nan), samples[0]]
    )
    assert (same, undefined) == ((0, 0), (None, None))
    assert other == pytest.approx(percentile_interval(samples[0]))


def test_twelve_rankings_that_are_as_good_are_seldom_told_apart() -> None:
    claimed = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        truth = generator.normal(size=40)
        scores = truth + generator.normal(size=(12, 40))
        samples = bootstrap_spearman(truth, scores, 400, 0)
        rhos = [spearman(truth, row) for row in scores]
        pairs = list(combinations(range(12), 2))
        found = simultaneous(
            [rhos[i] - rhos[j] for i, j in pairs], [samples[i] - samples[j] for i, j in pairs]
        )
        claimed += any(low > 0 or high < 0 for low, high in found)
    assert claimed <= 3  # one by one, 14 of these 20 claim a difference
