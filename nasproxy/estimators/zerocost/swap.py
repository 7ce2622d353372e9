"""SWAP (Peng et al. 2024, "SWAP-NAS: Sample-Wise Activation Patterns for Ultra-fast NAS")."""

import math

import numpy as np
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture, UserError
from nasproxy.estimators.zerocost.activations import run_patterns
from nasproxy.estimators.zerocost.shared import scores

SAMPLES = 16  # images, as in the published code


@scores
def swap(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    mu: float | None = None,
    sigma: float | None = None,
) -> float:
    """How many different patterns the units show over a few images.

    arXiv 2403.04161, section 3.2: a unit's pattern is one bit an image, whether it is on, and the
    score is the number of different patterns among all units, V at most. Only the first
    `SAMPLES` images are looked at: with many more each unit has a pattern of its own, and the score
    counts units. As in naswot here the bit is the sign of what goes *into* an activation, and all
    activations that run count; the weights are the network's own. Higher is better.

    With `mu` and `sigma` the score is regularised, section 3.3: times exp(-(params - mu)^2 /
    sigma), the parameters in thousands. Given is the logarithm of the product, which ranks the
    same, and doesn't vanish far from `mu`.

    Args:
        network: untrained; it stays as it is.
        inputs: (N, C, H, W) float32, normalised.
        labels: not used.
        mu: size that is wanted, in thousands of parameters; None doesn't regularise.
        sigma: how far around it, in thousands of parameters squared; above 0.

    Raises:
        UserError: `mu` without `sigma` or the other way round, or `sigma` is not above 0.
        BrokenArchitecture: there is no activation.
    """
    check_size(mu, sigma)
    found = _Patterns()
    run_patterns(network, inputs[:SAMPLES], found.add)
    if not found.parts:
        raise BrokenArchitecture("swap needs activations; the network runs none")
    score = float(len(found))  # Psi = |A|
    if mu is None or sigma is None:
        return score
    thousands = sum(parameter.numel() for parameter in network.parameters()) / 1000
    return math.log(score) - (thousands - mu) ** 2 / sigma  # log (Psi exp(-(Theta - mu)^2 / sigma))


def check_size(mu: float | None, sigma: float | None) -> None:
    """Whether `swap` can be regularised so.

    Raises:
        UserError: it can't.
    """
    if mu is None and sigma is None:
        return
    if mu is None or sigma is None or not (math.isfinite(mu) and 0 < sigma < math.inf):
        raise UserError(f"expected a finite mu and a sigma above 0 together, got {mu} and {sigma}")


class _Patterns:
    """Different patterns so far, those of each activation on its own."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []  # (units, bytes) uint8

    def add(self, positive: Tensor) -> None:
        self.parts.append(_different(np.packbits(positive.T.cpu().numpy(), axis=1)))

    def __len__(self) -> int:
        return len(_different(np.concatenate(self.parts)))


def _different(rows: np.ndarray) -> np.ndarray:
    """The different ones of rows of bytes."""
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1])))
    return np.unique(whole).view(np.uint8).reshape(-1, rows.shape[1])
