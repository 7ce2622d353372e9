"""What a surrogate must do in any space, seen on a pool whose truth is made up."""

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from nasproxy.estimators.ranks import normal_scores
from nasproxy.searches.encoding import encode
from nasproxy.searches.surrogate import Belief, Pick, Surrogate, Target

N = 150
NOISE = 0.3  # of a training; the truth has a standard deviation of about 3


@pytest.fixture(scope="module")
def pool() -> dict[str, np.ndarray]:
    """Choices, their truth, a good ranking (Spearman about .8) and a useless one."""
    generator = np.random.default_rng(0)
    taken = generator.integers(3, size=(N, 5))
    choices = np.eye(3)[taken].reshape(N, 15) / np.sqrt(2)
    effects = generator.normal(size=15)
    truth = 4 * choices @ effects + 2 * (taken[:, 0] == taken[:, 1]) + 50
    return {
        "choices": choices,
        "truth": truth,
        "seen": truth + NOISE * generator.normal(size=N),
        "good": truth + 0.7 * truth.std() * generator.normal(size=N),
        "useless": generator.normal(size=N),
    }


def searched(surrogate: Surrogate, seen: np.ndarray, count: int, seed: int = 0) -> Belief:
    """After `count` trainings, one after the other."""
    generator, known = np.random.default_rng(seed), list[int]()
    belief = surrogate.fit([], [])
    for _ in range(count):
        known += [pick.index for pick in belief.choose(1, [], generator)]
        belief = surrogate.fit(known, seen[known])
    return belief


def test_normal_scores_take_what_is_missing_broken_and_constant() -> None:
    found = normal_scores([1.0, np.nan, -np.inf, 2.0])
    np.testing.assert_allclose(found, [0, np.nan, -0.67449, 0.67449], atol=1e-5)
    assert normal_scores([5.0, 5.0]).tolist() == [0, 0]
    assert np.isnan(normal_scores([np.nan, np.nan])).all()


def test_architectures_are_encoded() -> None:
    depth, width = IntDistribution(1, 5), FloatDistribution(1, 100, log=True)
    kind = CategoricalDistribution([True, 1, None])
    found = encode(
        [
            {"depth": 1, "kind": True, "width": 10.0},
            {"depth": 5, "kind": 1, "width": 100.0},
            {"depth": 3, "kind": None},  # a width is a choice of some only
        ],
        [
            {"depth": depth, "kind": kind, "width": width},
            {"depth": depth, "kind": kind, "width": width},
            {"depth": depth, "kind": kind},
        ],
    )
    assert found.shape == (3, 1 + 3 + 2)
    np.testing.assert_allclose(found[:, 0], [0, 1, 0.5])
    kinds = found[:, 1:4]
    assert np.linalg.norm(kinds[0] - kinds[1]) == pytest.approx(1)  # True is not 1
    np.testing.assert_allclose(found[:, 4:], [[0.5, 1], [1, 1], [0, 0]])


def test_a_parameter_of_one_value_says_nothing() -> None:
    found = encode([{"a": 3}, {"a": 3}], [{"a": IntDistribution(3, 3)}] * 2)
    assert found.tolist() == [[0], [0]]


def test_ranges_may_differ_between_trials() -> None:
    given = [{"a": IntDistribution(0, 4)}, {"a": IntDistribution(0, 8)}]
    assert encode([{"a": 4}, {"a": 8}], given).tolist() == [[0.5], [1]]


def test_the_order_of_the_pool_does_not_matter(pool) -> None:
    scores = np.array([pool["good"], pool["useless"]])
    known = np.arange(12)
    order = np.random.default_rng(1).permutation(N)
    place = np.argsort(order)
    one = Surrogate(scores, pool["choices"]).fit(known, pool["seen"][known])
    other = Surrogate(scores[:, order], pool["choices"][order])
    two = other.fit(place[known], pool["seen"][known])
    for a, b in zip(one.predict(), two.predict(), strict=True):
        np.testing.assert_allclose(a[order], b, rtol=1e-4)
    picks = [belief.choose(3, [], np.random.default_rng(0)) for belief in (one, two)]
    assert [pick.index for pick in picks[0]] == [order[pick.index] for pick in picks[1]]


def test_the_unit_of_the_truth_does_not_matter(pool) -> None:
    surrogate = Surrogate(np.array([pool["good"]]), pool["choices"])
    found = [
        [p.index for p in surrogate.fit(range(9), seen[:9]).choose(3, [], np.random.default_rng(0))]
        for seen in (pool["seen"], pool["seen"] / 100 - 7)
    ]
    assert found[0] == found[1]


def test_a_perfect_score_is_followed(pool) -> None:
    surrogate = Surrogate(np.array([pool["truth"]]), pool["choices"])
    first = surrogate.fit([], []).choose(1, [], np.random.default_rng(0))
    assert first == [Pick(int(pool["truth"].argmax()), "surrogate")]
    belief = searched(surrogate, pool["truth"], 8)
    chosen = np.sort(pool["truth"][belief.known])[::-1]
    assert (chosen[:5] >= np.sort(pool["truth"])[-20]).all()
    assert belief.weights()[0] > 0.3


def test_a_score_that_misleads_loses_its_say(pool) -> None:
    # without choices, so that nothing else can be right
    alone = Surrogate(np.array([-pool["truth"]]), np.zeros((N, 1)))
    assert alone.fit([], []).weights()[0] > 0.3
    assert searched(alone, pool["seen"], 8).weights()[0] < 0


def test_a_useless_score_loses_its_say_within_ten_trainings(pool) -> None:
    say = []
    for seed in range(6):
        useless = np.random.default_rng(seed).normal(size=N)
        surrogate = Surrogate(np.array([pool["good"], useless]), pool["choices"])
        at_first = surrogate.fit([], []).weights()
        assert at_first[0] == at_first[1]
        say.append(searched(surrogate, pool["seen"], 10, seed).weights())
    good, useless = np.mean(say, 0)
    assert good > at_first[0]
    assert abs(useless) < at_first[0] / 2


@pytest.mark.parametrize("kind", ["useless", "misleading"])
def test_wrong_scores_cost_no_more_than_choosing_blindly(pool, kind: str) -> None:
    score = pool["useless"] if kind == "useless" else -pool["good"]
    surrogate = Surrogate(np.array([score]), pool["choices"])
    found = [pool["truth"][searched(surrogate, pool["seen"], 15, s).best()] for s in range(8)]
    generator = np.random.default_rng(0)
    blind = [pool["truth"][generator.choice(N, 15, replace=False)].max() for _ in range(1000)]
    assert np.mean(found) > np.mean(blind)


@pytest.mark.parametrize("empty", [np.full(N, np.nan), np.full(N, 3.0), np.full(N, -np.inf)])
def test_a_score_of_nothing_or_the_same_for_all_carries_nothing(pool, empty) -> None:
    known = np.arange(10)
    one, two = (
        Surrogate(scores, pool["choices"]).fit(known, pool["seen"][known])
        for scores in (np.array([pool["good"]]), np.array([pool["good"], empty]))
    )
    np.testing.assert_allclose(one.predict(), two.predict(), rtol=1e-6)
    assert two.weights()[1] == 0


def test_no_score_at_all_will_do(pool) -> None:
    belief = searched(Surrogate(np.empty((0, N)), pool["choices"]), pool["seen"], 12)
    assert len(set(belief.known.tolist())) == 12
    assert belief.weights().shape == (0,)


def test_scores_may_be_missing_for_some(pool) -> None:
    some = np.where(pool["good"] > np.median(pool["good"]), pool["truth"], np.nan)
    surrogate = Surrogate(np.array([pool["good"], some]), pool["choices"], ["free", "proxy"])
    first = surrogate.fit([], []).choose(1, [], np.random.default_rng(0))[0]
    assert not np.isnan(some[first.index])  # what was worth a proxy, and did well on it
    assert np.isfinite(np.array(searched(surrogate, pool["seen"], 8).predict())).all()


def test_a_proxy_is_at_first_trusted_as_all_free_scores_together(pool) -> None:
    scores = np.array([pool["useless"], -pool["good"], pool["good"]])
    say = Surrogate(scores, pool["choices"], ["free", "free", "proxy"]).fit([], []).weights()
    assert say[2] == pytest.approx(say[0] + say[1])


def test_what_is_under_way_counts_as_seen(pool) -> None:
    surrogate = Surrogate(np.array([pool["good"]]), pool["choices"])
    belief = surrogate.fit(range(10), pool["seen"][:10])
    first, second, third = belief.choose(3, [], np.random.default_rng(0))
    assert len({*range(10), first.index, second.index, third.index}) == 13
    assert belief.choose(1, [first.index], np.random.default_rng(0)) == [second]
    assert belief.choose(2, [first.index], np.random.default_rng(0)) == [second, third]


def test_workers_that_ask_before_anything_is_known_get_others(pool) -> None:
    surrogate = Surrogate(np.array([pool["good"]]), pool["choices"])
    picks = surrogate.fit([], []).choose(4, [7], np.random.default_rng(0))
    assert len({7, *(pick.index for pick in picks)}) == 5
    assert {pick.by for pick in picks} == {"surrogate", "blind"}


def test_a_pool_comes_to_its_end() -> None:
    surrogate = Surrogate(np.array([[1.0, 2, 3]]), np.eye(3))
    belief = surrogate.fit([0], [1.0])
    assert {pick.index for pick in belief.choose(5, [1], np.random.default_rng(0))} == {2}
    assert surrogate.fit([0, 1, 2], [1.0, 2, 3]).choose(1, [], np.random.default_rng(0)) == []


def test_the_same_seed_chooses_the_same(pool) -> None:
    surrogate = Surrogate(np.array([pool["useless"]]), pool["choices"])
    one, two, other = (searched(surrogate, pool["seen"], 8, seed).known for seed in (0, 0, 1))
    assert one.tolist() == two.tolist() != other.tolist()


def test_what_breaks_counts_as_bad(pool) -> None:
    surrogate = Surrogate(np.array([pool["useless"]]), pool["choices"])
    breaks = pool["choices"][:, 0] > 0  # all with one choice
    known = np.arange(20)
    seen = np.where(breaks, -np.inf, pool["seen"])[known]
    mean, *_ = surrogate.fit(known, seen).predict()
    assert mean[20:][breaks[20:]].mean() < mean[20:][~breaks[20:]].mean() - pool["truth"].std() / 2


def test_when_all_break_others_are_tried(pool) -> None:
    surrogate = Surrogate(np.array([pool["good"]]), pool["choices"])
    known = [pick.index for pick in surrogate.fit([], []).choose(3, [], np.random.default_rng(0))]
    belief = surrogate.fit(known, [np.nan, -np.inf, np.nan])
    (pick,) = belief.choose(1, [], np.random.default_rng(0))
    assert pick.index not in known
    away = np.abs(pool["choices"][known] - pool["choices"][pick.index]).sum(1)
    assert away.min() > 0


def test_equal_truths_are_no_trouble(pool) -> None:
    surrogate = Surrogate(np.array([pool["good"]]), pool["choices"])
    for known in ([0], [0, 1], [0, 1, 2]):
        belief = surrogate.fit(known, [5.0] * len(known))
        assert np.isfinite(belief.predict()).all()
        assert belief.choose(1, [], np.random.default_rng(0))


def test_the_target_goes_back_to_the_truth() -> None:
    seen = np.array([1.0, 5.0, 9.0, 9.5, 9.9])
    target = Target.of(seen)
    np.testing.assert_allclose(target.truth_of(target.values), seen)
    assert (np.diff(target.values) > 0).all()
    assert target.truth_of(target.values.max() + 1) > 9.9


def test_random_search_is_foretold(pool) -> None:
    surrogate = Surrogate(np.array([pool["good"]]), pool["choices"])
    belief = searched(surrogate, pool["seen"], 20)
    generator = np.random.default_rng(0)
    for count in (5, 20):
        draws = [generator.choice(pool["truth"], count, replace=False) for _ in range(2000)]
        mean, (low, high) = belief.expected_of_random(count, np.random.default_rng(1))
        truly = np.mean([draw.max() for draw in draws])
        assert low < truly < high
        assert mean == pytest.approx(truly, abs=0.5 * pool["truth"].std())


def test_going_on_pays_less_the_more_is_known(pool) -> None:
    surrogate = Surrogate(np.array([pool["good"]]), pool["choices"])
    gains = [
        searched(surrogate, pool["seen"], count).gain(5, np.random.default_rng(0))
        for count in (3, 30)
    ]
    assert gains[0] > gains[1] >= 0


def test_the_noise_of_a_training_is_found(pool) -> None:
    surrogate = Surrogate(np.array([pool["good"]]), pool["choices"])
    noisy = pool["truth"] + 3 * np.random.default_rng(0).normal(size=N)
    quiet, loud = (surrogate.fit(range(80), seen[:80]).noise() for seen in (pool["truth"], noisy))
    assert quiet < 0.3 < loud
