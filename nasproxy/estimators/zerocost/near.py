"""NEAR (Husistein et al. 2025, "A Training-Free Pre-Estimator of Machine Learning Performance")."""

import torch
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture
from nasproxy.estimators.zerocost.features import Feature, run_features
from nasproxy.estimators.zerocost.shared import finite, scores


@scores
def near(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Sum of the effective ranks of what layers give before and after their activations.

    arXiv 2408.08776, section 3: s = sum_l erank(Z_l) + erank(H_l), with erank(A) = exp(H(p)), the
    entropy of A's singular values as shares of their sum. Rows are images, or images' pixels; of
    those, the first C are taken for C channels, so that a matrix is square (section 3.3); they are
    neighbours, as in the published code, and spread over all images they rank worse. Z is what each
    module gives that multiplies by a matrix, H what each activation gives. The published code has
    norms as well. Higher is better.

    Args:
        network: untrained; it stays as it is.
        inputs: (N, C, H, W) float32, normalised.
        labels: not used.

    Raises:
        BrokenArchitecture: there is no layer, or the features are not finite.
    """
    found: list[float] = []

    def take(feature: Feature) -> None:
        found.append(effective_rank(_rows(feature)))

    run_features(network, inputs, take)
    if not found:
        raise BrokenArchitecture("near: no layer and no activation to look at")
    return finite("near", sum(found))


def effective_rank(matrix: Tensor) -> float:
    """exp of the entropy of the singular values; 0 of a matrix of zeros."""
    if not torch.isfinite(matrix).all():
        return float("nan")
    values = torch.linalg.svdvals(matrix.double())
    if not values.sum() > 0:
        return 0.0
    share = values / values.sum()
    return float(torch.special.entr(share).sum().exp())


def _rows(feature: Feature) -> Tensor:
    """(rows, C), as many rows as channels where there are enough."""
    tensor = feature.tensor
    rows = tensor if tensor.dim() == 2 else feature.map(tensor).movedim(1, 3).flatten(0, 2)
    if len(rows) <= rows.shape[1]:
        return rows
    return rows[: rows.shape[1]]
