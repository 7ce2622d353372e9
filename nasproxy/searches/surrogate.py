"""What to train in full next, from cheap rankings of a pool and the trainings so far.

A Gaussian process (scikit-learn's) sees each architecture as its normal scores in all rankings and
its own choices. Before anything is known it expects, weakly, what the mean of the rankings says;
what each part of its covariance counts is learnt from every training anew, under priors that keep
it sensible while little is known. Pure arrays: nothing here knows of studies, networks or data.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel, WhiteKernel
from sklearn.linear_model import RidgeCV

from nasproxy.estimators.ranks import Array, Kind, normal_scores
from nasproxy.searches.covariance import BOUNDS, LEVEL, Covariance, most_likely
from nasproxy.searches.pareto import Indices, expected_improvement, hypervolume

Expected = tuple[float, tuple[float, float]]  # a mean, and a 95% interval

_BOLDNESS = 1.0  # standard deviations by which a choice is judged above its mean
_MARGIN = 0.1  # of the way from the best to the median seen: differences below it count little
_MARGIN_OF_A_FRONT = 1.0  # what is cheap and not so good counts as well
_BLIND = (1, 4)  # how many are taken when one is drawn among the good, and not chosen
_GOOD = 0.5  # the share of those left that is not good
_SAMPLES = 500  # functions that the truth may be
_JUDGED = 500  # architectures, at most, that such a function is drawn at


@dataclass(frozen=True)
class Prior:
    """What is believed before anything is known, of the standardised target.

    Attributes:
        trust: how far it rises with the mean of the rankings.
        shape: variance of what neither the rankings' mean nor their slopes say.
        noise: variance of a training.
    """

    trust: float
    shape: float
    noise: float


SEARCHING = Prior(trust=0.5, shape=1.0, noise=0.1)  # anything may be found
RANKING = Prior(trust=0.8, shape=0.2, noise=0.3)  # a few trainings shall not spoil a ranking


@dataclass(frozen=True)
class Target:
    """What the process sees of the truth: -log(best + margin - truth), standardised.

    Among the best, where a search is decided, differences count for more. Only what was seen
    decides on it, and no unit: the margin is `_MARGIN` of the way from the best to the median.
    What broke is as bad as the worst that didn't.

    Attributes:
        values: (k,) of those trained.
        best: the truth's best.
        margin: in the truth's unit, above 0.
        centre, scale: of the logarithms.
    """

    values: Array
    best: float
    margin: float
    centre: float
    scale: float

    @classmethod
    def of(cls, truth: Array, margin: float = _MARGIN) -> "Target":
        """That of the trainings so far."""
        there = np.isfinite(truth)
        if not there.any():  # the more that break, the less is expected
            return cls(np.full(len(truth), -1.0), 0.0, 1.0, 0.0, 1.0)
        seen = np.where(there, truth, truth[there].min())
        best = float(seen.max())
        margin = margin * (best - float(np.median(seen))) or 1e-3 * float(np.ptp(seen)) or 1.0
        logs = -np.log(best + margin - seen)
        centre, scale = float(logs.mean()), float(logs.std()) or 1.0
        return cls((logs - centre) / scale, best, margin, centre, scale)

    def truth_of(self, values: Array) -> Array:
        """The truth, in its own unit, of standardised values; straight on above the best seen."""
        logs = self.centre + self.scale * np.asarray(values)
        top = -math.log(self.margin)  # of the best seen
        # below the worst that was seen an exponential would say more than is known
        worst = self.centre + self.scale * (self.values.min(initial=0.0) - 1)
        inside = self.best + self.margin - np.exp(-np.clip(logs, worst, top))
        truth: Array = inside + self.margin * np.maximum(logs - top, 0.0)
        return truth


@dataclass(frozen=True)
class Pick:
    """An architecture to train next.

    Attributes:
        index: in the pool.
        by: ``surrogate``, which chose it, or ``blind``, drawn among the good.
    """

    index: int
    by: Literal["surrogate", "blind"]


class Surrogate:
    """A pool of architectures, as the process sees it before any is trained.

    Args:
        scores: (rankings, n), higher is better; minus infinity is the worst, NaN is no score. One
            that is the same for all carries nothing.
        choices: (n, d), as of `encode`.
        kinds: of each ranking; a proxy, which is trained, is at first trusted as much as all
            together that are free. By default all are free.
        places: (n,) of a second objective, see `pareto`; None is a search for the best alone.
        prior: what is believed at first.
    """

    def __init__(
        self,
        scores: Array,
        choices: Array,
        kinds: Sequence[Kind] | None = None,
        places: Array | None = None,
        prior: Prior = SEARCHING,
    ) -> None:
        self.places, self.prior = places, prior
        scores = np.asarray(scores, float).reshape(-1, len(choices))
        kinds = ["free"] * len(scores) if kinds is None else list(kinds)
        rankings = np.array([normal_scores(row) for row in scores]).reshape(scores.shape)
        telling = np.array([len(np.unique(row[~np.isnan(row)])) > 1 for row in rankings], bool)
        free = max(1, sum(kind == "free" for kind, tells in zip(kinds, telling) if tells))
        trust = np.array([1.0 if kind == "free" else float(free) for kind in kinds]) * telling
        self.trust = trust / (trust.sum() or 1.0)  # (rankings,), of sum 1
        choices = choices - choices.mean(0)
        rankings = _complete(rankings, choices)
        # the mean of rankings that don't agree hardly varies, and so they are hardly trusted
        self.slopes = prior.trust * self.trust  # (rankings,), before anything is known
        self.expected = self.slopes @ rankings  # (n,), likewise
        self.features = np.concatenate([(rankings.T * np.sqrt(self.trust)), choices], 1)

    def __len__(self) -> int:
        return len(self.features)

    def fit(self, known: Sequence[int] | Indices, truth: Sequence[float] | Array) -> "Belief":
        """What some full trainings say of all.

        Args:
            known: (k,) indices of those trained; k may be 0.
            truth: (k,) what came out, higher is better; NaN or minus infinity is what broke.
        """
        margin = _MARGIN if self.places is None else _MARGIN_OF_A_FRONT
        index, target = np.array(known, int), Target.of(np.array(truth, float), margin)
        return Belief(self, index, target, self.process(index, target.values))

    def process(
        self, index: Indices, target: Array, kernel: Kernel | None = None
    ) -> GaussianProcessRegressor:
        """The process that has seen the `target` (k,) of those at `index` (k,), k may be 0.

        A kernel that is given stays as it is; else it is learnt.
        """
        learn = kernel is None and len(index) > 0
        covariance = Covariance(len(self.trust), shape=self.prior.shape)
        process = GaussianProcessRegressor(
            kernel=kernel or covariance + WhiteKernel(self.prior.noise, BOUNDS),
            alpha=1e-6,
            optimizer=most_likely if learn else None,
        )
        if len(index):
            process.fit(self.features[index], target - self.expected[index])
        return process


@dataclass(frozen=True)
class Belief:
    """What is believed of a pool after some full trainings; `Surrogate.fit` makes it.

    Attributes:
        pool: the architectures.
        known: (k,) indices of those trained.
        target: what came out, as the process sees it.
        process: which has seen it.
    """

    pool: Surrogate
    known: Indices
    target: Target
    process: GaussianProcessRegressor

    @cached_property
    def prediction(self) -> tuple[Array, Array]:
        """Mean and standard deviation of all architectures' standardised target, (n,) each."""
        return self._predict(self.process)

    def predict(self) -> tuple[Array, Array, Array]:
        """The truth of all architectures as a long row of trainings would show it, in its unit.

        Returns:
            (n,) each: the median, and the ends of an interval that holds two thirds.
        """
        mean, std = self.prediction
        median, low, high = (self.target.truth_of(mean + k * std) for k in (0.0, -1.0, 1.0))
        return median, low, high

    def weights(self) -> Array:
        """The say of each ranking, (rankings,): how far the truth is expected to rise with it.

        In standard deviations of what was seen for one of the ranking, in the mean over the pool,
        all else being equal. Below 0, it misleads.
        """
        if not len(self.known):
            return self.pool.slopes
        kernel, alpha = self._kernel.k1, self.process.alpha_
        rankings = kernel.split(self.pool.features)[0]
        seen = rankings[self.known]
        shape = kernel(self.pool.features, self.pool.features[self.known])
        shape = shape - LEVEL - kernel.slopes * rankings @ seen.T  # (n, k)
        bent = (shape.sum(0) * alpha) @ seen - (shape @ alpha) @ rankings
        learnt = kernel.slopes * seen.T @ alpha + bent / (len(rankings) * kernel.reach_scores**2)
        weights: Array = self.pool.slopes + learnt * np.sqrt(self.pool.trust)
        return weights

    def best(self) -> int:
        """Index of what is believed to be the best of those trained: one lucky training fools less.

        Raises:
            ValueError: nothing was trained.
        """
        return int(self.known[self.prediction[0][self.known].argmax()])

    def choose(
        self, count: int, pending: Sequence[int], generator: np.random.Generator
    ) -> list[Pick]:
        """What to train next.

        Args:
            count: how many; fewer come back where the pool has no more.
            pending: indices of what is being trained, which counts as seen, at its prediction.
            generator: of the few that are drawn.
        """
        taken, picks = [*self.known, *pending], list[Pick]()
        while len(picks) < count and len(set(taken)) < len(self.pool):
            left = np.setdiff1d(np.arange(len(self.pool)), taken)
            worth = self._worth(np.array(taken, int))[left]
            if len(taken) in _BLIND:
                good = left[worth >= np.quantile(worth, _GOOD)]
                pick = Pick(int(generator.choice(good)), "blind")
            else:
                pick = Pick(int(left[worth.argmax()]), "surrogate")
            picks.append(pick)
            taken.append(pick.index)
        return picks

    def _worth(self, taken: Indices) -> Array:
        """What it is worth to train each (n,), when those `taken` are trained or under way."""
        mean, std = self.prediction[0], self._deviation_when(taken)
        if self.pool.places is None:
            return mean + _BOLDNESS * std
        return expected_improvement(mean, std, self.pool.places, taken, float(mean.min()))

    def is_settled(self, count: int, generator: np.random.Generator) -> bool:
        """Whether `count` more are expected to add less than a tenth of a training's noise."""
        if self.pool.places is None:
            return self.gain(count, generator) < self.noise() / 10
        worth = np.delete(self._worth(self.known), self.known)
        return float(np.sort(worth)[-count:].sum()) < math.sqrt(self._kernel.k2.noise_level) / 10

    def gain(self, count: int, generator: np.random.Generator) -> float:
        """What `count` more trainings are expected to find above the best so far, truth's unit."""
        mean, std = self.prediction
        untrained = np.setdiff1d(np.arange(len(self.pool)), self.known)
        order = np.argsort(-(mean + _BOLDNESS * std)[untrained], kind="stable")
        here = self.best()
        judged = np.array([here, *untrained[order[:count]]])
        values = self.target.truth_of(self._functions(judged, generator))
        return float((values.max(1) - values[:, 0]).mean())

    def noise(self) -> float:
        """Standard deviation of one training of the best architecture, in the truth's unit."""
        mean = self.prediction[0][self.best()]
        std = math.sqrt(self._kernel.k2.noise_level)
        high, low = (self.target.truth_of(mean + away * std) for away in (0.5, -0.5))
        return float(high - low)

    def expected_of_random(self, count: int, generator: np.random.Generator) -> Expected:
        """The truth of the best of `count` architectures drawn at random instead.

        It is the mean and the 95% interval over draws and over what the truth may be.
        """
        mean, low, high = self.random_curve(count, generator)[:, -1]
        return float(mean), (float(low), float(high))

    def random_curve(self, count: int, generator: np.random.Generator) -> Array:
        """Likewise for 1, 2, ... `count` trainings, at most `_JUDGED`: (3, trainings)."""
        noise, found = math.sqrt(self._kernel.k2.noise_level), []
        for _, drawn in self._random_draws(count, generator):
            seen = drawn + noise * generator.standard_normal(len(drawn))
            leads = seen >= np.maximum.accumulate(seen)
            found.append(drawn[np.maximum.accumulate(np.where(leads, np.arange(len(drawn)), 0))])
        best = self.target.truth_of(np.array(found))
        return np.array([best.mean(0), *np.quantile(best, [0.025, 0.975], axis=0)])

    def hypervolume_of_random(
        self, count: int, worst: float, generator: np.random.Generator
    ) -> Expected:
        """Likewise the hypervolume of the front of what is drawn, above `worst`."""
        assert self.pool.places is not None
        found = np.array([
            hypervolume(self.target.truth_of(drawn), self.pool.places[index], worst)
            for index, drawn in self._random_draws(count, generator)
        ])  # fmt: skip
        low, high = np.quantile(found, [0.025, 0.975])
        return float(found.mean()), (float(low), float(high))

    def _random_draws(
        self, count: int, generator: np.random.Generator
    ) -> Iterator[tuple[Indices, Array]]:
        """Random draws: indices, and their standardised targets in a function that is likely."""
        judged = generator.permutation(len(self.pool))[:_JUDGED]
        for values in self._functions(judged, generator):
            drawn = generator.choice(len(judged), min(count, len(judged)), replace=False)
            yield judged[drawn], values[drawn]

    @property
    def _kernel(self) -> Kernel:
        return self.process.kernel_ if len(self.known) else self.process.kernel

    def _predict(self, process: GaussianProcessRegressor) -> tuple[Array, Array]:
        mean, std = process.predict(self.pool.features, return_std=True)
        # scikit-learn's has the noise of another training in it
        variance = np.maximum(std**2 - self._kernel.k2.noise_level, 1e-12)
        return mean + self.pool.expected, np.sqrt(variance)

    def _deviation_when(self, taken: Indices) -> Array:
        """Standard deviations (n,) when those `taken` have been seen at their prediction."""
        if len(taken) == len(self.known):
            return self.prediction[1]
        process = self.pool.process(taken, self.prediction[0][taken], self._kernel)
        return self._predict(process)[1]

    def _functions(self, judged: Indices, generator: np.random.Generator) -> Array:
        """(`_SAMPLES`, judged): standardised targets that are likely, without noise."""
        mean, covariance = self.process.predict(self.pool.features[judged], return_cov=True)
        covariance -= self._kernel.k2.noise_level * np.eye(len(judged))
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn = generator.standard_normal((_SAMPLES, len(judged)))
        functions: Array = mean + self.pool.expected[judged] + drawn @ root.T
        return functions


def _complete(rankings: Array, choices: Array) -> Array:
    """Rankings (r, n) without NaN: what is missing is what the others and the choices say."""
    there = ~np.isnan(rankings)
    filled = np.where(there, rankings, 0.0)
    completed = filled.copy()
    for row, known in enumerate(there):
        if known.all() or known.sum() < 5:
            continue
        others = np.concatenate([np.delete(filled, row, 0).T, choices], 1)
        model = RidgeCV(np.logspace(-1, 4, 6)).fit(others[known], filled[row, known])
        completed[row, ~known] = model.predict(others[~known])
    return completed
