"""Searches that are replayed on a bed: each trains one architecture after the other.

A search sees `seen` of what it has trained. Those that propose architectures of their own (Optuna's
samplers, evolution's children) get the nearest of the pool that is not yet trained, in the number
of parameters that differ, ties at random.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from benchmarks.beds import Bed
from nasproxy.estimators.ranks import normal_scores
from nasproxy.searches.encoding import encode
from nasproxy.searches.pool import Pool
from nasproxy.searches.surrogate import Surrogate

_POPULATION, _SAMPLE = 10, 5  # of regularised evolution (Real et al. 2019, algorithm 1)
_WORKERS = ((20, 1), (50, 2), (10**9, 5))  # up to so many trainings, so many are chosen at once


@dataclass(frozen=True)
class Found:
    """What a search trained, in order, what it would hand over after each training, and before.

    Attributes:
        trained: indices.
        handed: indices, as many.
        seconds_before: of training for cheap scores.
    """

    trained: list[int]
    handed: list[int]
    seconds_before: float = 0.0


Searcher = Callable[[Bed, int, int], Found]  # of a pool, a seed, and how many trainings


def random_search(pool: Bed, seed: int, trainings: int) -> Found:
    """Draw uniformly."""
    order = np.random.default_rng(seed).permutation(len(pool.params))[:trainings]
    return _by_what_was_seen(pool, order.tolist())


def evolution(pool: Bed, seed: int, trainings: int) -> Found:
    """Regularised evolution: the oldest dies, the best of a sample has a child."""
    generator = np.random.default_rng(seed)
    codes = _codes(pool)
    trained = generator.permutation(len(codes))[:_POPULATION].tolist()
    while len(trained) < trainings:
        alive = trained[-_POPULATION:]
        sample = generator.choice(alive, _SAMPLE, replace=False)
        parent = sample[pool.seen[sample].argmax()]
        trained.append(_nearest_untrained(codes, codes[parent], trained, generator))
    return _by_what_was_seen(pool, trained[:trainings])


def warm_up(pool: Bed, seed: int, trainings: int) -> Found:
    """By the mean of the free scores' normal scores, and nothing else."""
    mean = np.mean([normal_scores(score) for score in pool.free.values()], 0)
    return _by_what_was_seen(pool, np.argsort(-mean, kind="stable")[:trainings].tolist())


def tpe(pool: Bed, seed: int, trainings: int) -> Found:
    """Optuna's TPESampler, as it is."""
    return _of_optuna(pool, optuna.samplers.TPESampler(seed=seed), seed, trainings)


def gp_sampler(pool: Bed, seed: int, trainings: int) -> Found:
    """Optuna's GPSampler, as it is."""
    return _of_optuna(pool, optuna.samplers.GPSampler(seed=seed), seed, trainings)


def ours(proxy: str | None) -> Searcher:
    """The project's, with free scores, and with proxies of this name.

    Where the bed has several sets of proxies of a name, each repetition takes the next.
    """

    def search(pool: Bed, seed: int, trainings: int) -> Found:
        generator = np.random.default_rng(seed)
        choices = encode(pool.params, [pool.distributions] * len(pool.params))
        scores, kinds = list(pool.free.values()), ["free"] * len(pool.free)
        before = 0.0
        if proxy:
            sets = _of_name(pool, proxy)
            score, scored = sets[seed % len(sets)], np.full(len(choices), True)
            if pool.proxies_of is not None:
                free = Pool(tuple(pool.params), dict(pool.free))
                scored[:] = False
                scored[free.promising(pool.proxies_of, seed)] = True
                before = pool.proxy_cost * pool.seconds[scored].sum()
            scores, kinds = [*scores, np.where(scored, score, np.nan)], [*kinds, "proxy"]
        surrogate = Surrogate(np.array(scores), choices, kinds)
        belief, trained, handed = surrogate.fit([], []), list[int](), list[int]()
        while len(trained) < min(trainings, len(pool.params)):
            count = next(at_once for up_to, at_once in _WORKERS if len(trained) < up_to)
            picks = belief.choose(min(count, trainings - len(trained)), [], generator)
            trained += [pick.index for pick in picks]
            belief = surrogate.fit(trained, pool.seen[trained])
            handed += [belief.best()] * len(picks)
        return Found(trained, handed, before)

    return search


SEARCHERS: dict[str, Searcher] = {
    "random search": random_search,
    "evolution": evolution,
    "TPE": tpe,
    "GPSampler": gp_sampler,
    "zero-cost warm-up": warm_up,
    "nasproxy-free": ours(None),
    "nasproxy-early": ours("early"),
    "nasproxy-random": ours("random"),
    "nasproxy-dm": ours("dm"),
}
SLOW = ("TPE", "GPSampler")


def applies(name: str, bed: Bed) -> bool:
    """Whether a bed has what a searcher needs."""
    kind = name.removeprefix("nasproxy-")
    return kind in ("free", name) or bool(_of_name(bed, kind))


def _of_name(bed: Bed, name: str) -> list[NDArray[np.float64]]:
    return [score for key, score in bed.proxies.items() if key.partition("-")[0] == name]


def _by_what_was_seen(pool: Bed, trained: list[int]) -> Found:
    seen = pool.seen[trained]
    handed = [trained[int(seen[: k + 1].argmax())] for k in range(len(trained))]
    return Found(trained, handed)


def _of_optuna(pool: Bed, sampler: optuna.samplers.BaseSampler, seed: int, trainings: int) -> Found:
    generator, codes = np.random.default_rng(seed), _codes(pool)
    places = {tuple(code): i for i, code in enumerate(codes.tolist())}
    distributions = pool.distributions
    study = optuna.create_study(direction="maximize", sampler=sampler)
    trained: list[int] = []
    while len(trained) < min(trainings, len(codes)):
        trial = study.ask(distributions)
        wanted = np.array([_code(distributions, trial.params)])[0]
        index = places.get(tuple(wanted.tolist()), -1)
        if index in trained or index < 0:
            index = _nearest_untrained(codes, wanted, trained, generator)
            study.tell(trial, state=TrialState.FAIL)  # what is told is what was trained
            params = dict(pool.params[index])
            value = float(pool.seen[index])
            study.add_trial(
                optuna.create_trial(params=params, distributions=distributions, value=value)
            )
        else:
            study.tell(trial, float(pool.seen[index]))
        trained.append(index)
    return _by_what_was_seen(pool, trained)


def _codes(pool: Bed) -> NDArray[np.int64]:
    """(n, parameters): the number of each choice."""
    distributions = pool.distributions
    return np.array([_code(distributions, params) for params in pool.params])


def _code(distributions, params) -> list[int]:
    return [each.choices.index(params[name]) for name, each in distributions.items()]


def _nearest_untrained(
    codes: NDArray[np.int64],
    wanted: NDArray[np.int64],
    trained: Sequence[int],
    generator: np.random.Generator,
) -> int:
    away = (codes != wanted).sum(1).astype(float)
    away[list(trained)] = np.inf
    return int(generator.choice(np.flatnonzero(away == away.min())))
