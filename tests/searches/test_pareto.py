"""Two objectives: hypervolumes by counting, improvements by sampling, searches on a table."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nasproxy
from nasproxy import UserError, search
from nasproxy.searches.pareto import expected_improvement, front, hypervolume, places
from tests.searches.test_search import replay

numbers = st.floats(-3, 3).map(lambda x: round(x, 1))


def dominated(truth: np.ndarray, place: np.ndarray, worst: float) -> float:
    """The area by counting the points of a grid."""
    costs, levels = (np.arange(400) + 0.5) / 400, worst + (np.arange(400) + 0.5) / 400 * 8
    under = np.zeros((400, 400), bool)
    for t, p in zip(truth, place, strict=True):
        under |= (costs[:, None] >= p) & (levels <= t)
    return float(under.mean() * 8)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(numbers, st.floats(0.01, 0.99)), min_size=1, max_size=8))
def test_the_hypervolume_is_the_area_that_is_dominated(points) -> None:
    truth, place = np.array(points).T
    assert hypervolume(truth, place, -3.0) == pytest.approx(dominated(truth, place, -3.0), abs=0.08)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
def test_a_front_is_what_nothing_dominates(points) -> None:
    truth, costs = np.array(points).T
    steps = front(truth, costs)
    for i in range(len(points)):
        better = (truth >= truth[i]) & (costs <= costs[i])
        strictly = better & ((truth > truth[i]) | (costs < costs[i]))
        kept = (truth[i], costs[i]) in {(truth[k], costs[k]) for k in steps}
        assert kept == (not strictly.any())
    assert (np.diff(costs[steps]) > 0).all() and (np.diff(truth[steps]) > 0).all()


def test_what_broke_is_on_no_front() -> None:
    assert front(np.array([-math.inf, 1.0, math.nan]), np.array([0.0, 1.0, 0.5])).tolist() == [1]
    assert hypervolume(np.array([-math.inf]), np.array([0.1]), 0.0) == 0.0


@pytest.mark.parametrize("taken", [[], [0], [0, 3, 5]])
def test_the_expected_improvement_is_the_mean_of_samples(taken: list[int]) -> None:
    generator = np.random.default_rng(len(taken))
    mean, std = generator.normal(size=8), generator.uniform(0.1, 1, 8)
    place, worst = places(generator.normal(size=8)), -4.0
    found = expected_improvement(mean, std, place, taken, worst)
    before = hypervolume(mean[taken], place[taken], worst)
    for i in range(8):
        values = mean[i] + std[i] * generator.standard_normal(4000)
        after = [
            hypervolume(np.append(mean[taken], v), np.append(place[taken], place[i]), worst)
            for v in values
        ]
        error = 5 * np.std(after) / math.sqrt(4000) + 1e-4
        assert found[i] == pytest.approx(np.mean(after) - before, abs=error)


def test_equal_costs_have_one_place() -> None:
    assert places(np.array([5.0, 1.0, 5.0, 9.0])).tolist() == [0.5, 0.125, 0.5, 0.875]


def test_a_search_spreads_along_the_front(table: str, tmp_path: Path) -> None:
    alone = replay(table, tmp_path / "a", "good", trainings=10)
    found = replay(table, tmp_path / "b", "good", trainings=10, objective=f"table:{table}:cost")
    costs = [point["cost"] for point in found.front]
    truths = [point["validation_accuracy"] for point in found.front]
    assert costs == sorted(costs) and truths == sorted(truths)
    assert len(found.front) >= 3 and costs[-1] > 2 * costs[0]
    area, random = found.hypervolume["found"], found.hypervolume["of_random"]
    low, high = random["interval"]
    assert low <= random["mean"] <= high and area > random["mean"]
    assert (alone.front, alone.hypervolume) == ([], {})
    assert "Front of" in str(found) and "Front" not in str(alone)
    again = replay(table, tmp_path / "b", "good", trainings=12, objective=f"table:{table}:cost")
    assert again.trainings == 12 or "noise" in again.ended
    assert again.hypervolume["found"] >= area


def test_a_limit_on_latency_leaves_the_slow_out(tiny_space, data, tmp_path: Path) -> None:
    study = nasproxy.rank(tiny_space, "latency", data=data, sampler="all", jobs=1)
    by_key = {
        t.user_attrs["architecture"]: t.user_attrs["latency"] for t in study.trials if t.value
    }
    assert len(by_key) == 5 and all(0 < ms < 100 for ms in by_key.values())
    assert all(t.value == -t.user_attrs["latency"] for t in study.trials if t.value)
    options = {"method": "none", "full": "full:epochs=1", "trainings": 2, "jobs": 1, "quiet": True}
    found = search(data, tiny_space, max_latency=100, out=str(tmp_path / "a"), **options)
    assert found.pool == 5
    with pytest.raises(UserError, match=r"takes 1e-09 ms or less an image; the fastest takes \d"):
        search(data, tiny_space, max_latency=1e-9, out=str(tmp_path / "b"), **options)


def test_an_objective_that_says_nothing_is_refused(table: str, tmp_path: Path) -> None:
    flat = tmp_path / "flat.csv"
    rows = Path(table).read_text().splitlines()
    flat.write_text("\n".join(["arch,cost", *(f"{row.split(',')[0]},1" for row in rows[1:])]))
    with pytest.raises(UserError, match="is the same for all"):
        replay(table, tmp_path / "out", "good", objective=f"table:{flat}:cost")
