"""The surrogate's covariance, and the prior that its parameters are learnt under."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize
from scipy.spatial.distance import cdist
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from nasproxy.estimators.ranks import Array

BOUNDS = (1e-7, 1e7)  # of the parameters: far away, the prior holds them
LEVEL = 4.0  # variance of the truth's unknown level
_SPREAD = 1.0  # of the logarithms of the parameters, before anything is known


class Covariance(Kernel):
    """Of two architectures; a kernel of scikit-learn's, with its gradient.

    The truth's level, a slope for each ranking, and a shape that is alike where both rankings and
    choices are: ``level + slopes z.z' + shape exp(-|z - z'|^2 / 2 r_z^2 - |c - c'|^2 / 2 r_c^2)``.

    Args:
        rankings: how many of the first columns are rankings z, the others are choices c.
        slopes, shape: variances.
        reach_scores, reach_choices: distances r_z and r_c over which the shape changes.
    """

    def __init__(
        self,
        rankings: int,
        slopes: float = 0.1,
        shape: float = 1.0,
        reach_scores: float = 2.0,
        reach_choices: float = 2.0,
    ) -> None:
        self.rankings = rankings
        self.slopes, self.shape = slopes, shape
        self.reach_scores, self.reach_choices = reach_scores, reach_choices

    # scikit-learn finds these, and takes them in the order of their names
    hyperparameter_reach_choices = Hyperparameter("reach_choices", "numeric", BOUNDS)
    hyperparameter_reach_scores = Hyperparameter("reach_scores", "numeric", BOUNDS)
    hyperparameter_shape = Hyperparameter("shape", "numeric", BOUNDS)
    hyperparameter_slopes = Hyperparameter("slopes", "numeric", BOUNDS)

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:
        """(a, b), and (a, a, 4), derivatives by the parameters' logarithms, if asked for."""
        (z, c), (z2, c2) = self.split(X), self.split(X if Y is None else Y)
        slopes = self.slopes * z @ z2.T
        by_scores = cdist(z, z2, "sqeuclidean") / self.reach_scores**2
        by_choices = cdist(c, c2, "sqeuclidean") / self.reach_choices**2
        shape = self.shape * np.exp(-(by_scores + by_choices) / 2)
        covariance = LEVEL + slopes + shape
        if not eval_gradient:
            return covariance
        return covariance, np.stack([shape * by_choices, shape * by_scores, shape, slopes], 2)

    def diag(self, X: Array) -> Array:
        """(a,), the variances."""
        variances: Array = LEVEL + self.slopes * (self.split(X)[0] ** 2).sum(1) + self.shape
        return variances

    def is_stationary(self) -> bool:
        """No: slopes aren't."""
        return False

    def split(self, X: Array) -> tuple[Array, Array]:
        """Rankings and choices of (a, features)."""
        return X[:, : self.rankings], X[:, self.rankings :]


def most_likely(objective: Callable[..., Any], start: Array, bounds: Array) -> tuple[Array, float]:
    """The parameters most likely under the data and a prior around `start`; for scikit-learn.

    Args:
        objective: negative log likelihood, and its gradient, of logarithms of parameters.
        start: (p,) the middle of the prior.
        bounds: (p, 2).
    """

    def with_prior(theta: Array) -> tuple[float, Array]:
        value, gradient = objective(theta)
        away = (theta - start) / _SPREAD
        return value + away @ away / 2, gradient + away / _SPREAD

    found = optimize.minimize(with_prior, start, jac=True, bounds=bounds, method="L-BFGS-B")
    return found.x, found.fun
