"""What a search would have needed where every truth is known."""

import numpy as np
import pytest

import nasproxy
from nasproxy.searches.pool import Pool, draw_pool
from nasproxy.searches.replay import trainings_needed


@pytest.fixture(scope="module")
def pool() -> Pool:
    return draw_pool(nasproxy.load_space("nasbench201"), (3, 32, 32), 10, 40, 0)


def test_a_perfect_ranking_needs_one_training_and_random_half_of_all(pool: Pool) -> None:
    truth = np.random.default_rng(0).normal(size=len(pool))
    scored = pool.those(range(len(pool)))
    scored.add("perfect", "proxy", truth)
    needed = trainings_needed(scored, truth)
    assert needed.search == 1 and needed.random == (len(pool) + 1) / 2
    assert "within 1.0 trainings" in str(needed)
    useless = pool.those(range(len(pool)))
    useless.add("noise", "free", np.random.default_rng(1).normal(size=len(pool)))
    assert trainings_needed(useless, truth).search > 3


def test_of_several_best_any_is_found(pool: Pool) -> None:
    truth = np.repeat([1.0, 2.0], [len(pool) - 4, 4])
    needed = trainings_needed(pool, truth)
    assert needed.random == (len(pool) + 1) / 5
    drawn = [
        1 + np.flatnonzero(np.random.default_rng(k).permutation(truth) == 2)[0] for k in range(4000)
    ]
    assert np.mean(drawn) == pytest.approx(needed.random, rel=0.05)


@pytest.mark.parametrize("truth", [[1.0, 1.0, 1.0], [-np.inf] * 3])
def test_nothing_to_find(pool: Pool, truth: list[float]) -> None:
    assert trainings_needed(pool.those(range(3)), truth) is None
