"""Jacobian covariance (Mellor et al. 2020, the first version of "NAS without Training")."""

import torch
from torch import Tensor, nn

from nasproxy.zerocost.shared import finite, prepare

EPSILON = 1e-5


def jacob_cov(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """How little the gradients at different images are correlated.

    arXiv 2006.04647v1, section 3, on the eigenvalues v of the correlation matrix of the images'
    gradients: -sum(log(v + k) + 1 / (v + k)); arXiv 2101.08134, section 3.2. Higher is better.

    Args:
        network: untrained; used up.
        inputs: (N, C, H, W) float32, normalised; N of 2 or more.
        labels: not used.

    Raises:
        BrokenArchitecture: the output doesn't depend on some image, or the score is not finite.
    """
    images = inputs.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        prepare(network)(images).sum(), images, allow_unused=True, materialize_grads=True
    )
    jacobian = gradient.flatten(1).double()  # (N, CHW)
    correlation = torch.corrcoef(jacobian)  # (N, N)
    if not torch.isfinite(correlation).all():
        return finite("jacob_cov", float("nan"))  # a constant row has no correlation
    eigenvalues = torch.linalg.eigvalsh(correlation).clamp(min=0) + EPSILON
    return finite("jacob_cov", -(eigenvalues.log() + 1 / eigenvalues).sum().item())
