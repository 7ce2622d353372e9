"""Jacobian covariance (Mellor et al. 2020, the first version of "NAS without Training")."""

import torch
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture
from nasproxy.estimators.zerocost.shared import distinct, finite, scores
from nasproxy.spaces.network import logits_of

EPSILON = 1e-5
_ROUNDING = 1e-6  # of float32 gradients' correlation


@scores
def jacob_cov(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """How little the gradients at different images are correlated.

    arXiv 2006.04647v1, section 3, on the eigenvalues v of the correlation matrix of the images'
    gradients: -sum(log(v + k) + 1 / (v + k)); arXiv 2101.08134, section 3.2. An image that is
    there twice counts once. Higher is better.

    Args:
        network: untrained; it stays as it is.
        inputs: (N, C, H, W) float32, normalised; N of 2 or more.
        labels: not used.

    Raises:
        BrokenArchitecture: the output doesn't depend on some image, or on all in the same way,
            or the score is not finite.
    """
    images = distinct(inputs, "jacob_cov").requires_grad_()
    (gradient,) = torch.autograd.grad(
        logits_of(network(images.clone())).sum(), images, allow_unused=True, materialize_grads=True
    )
    jacobian = gradient.flatten(1).double()  # (N, CHW)
    correlation = torch.corrcoef(jacobian)  # (N, N)
    if not torch.isfinite(correlation).all():
        raise BrokenArchitecture("jacob_cov: the output does not depend on some image")
    if correlation.min() > 1 - _ROUNDING:
        raise BrokenArchitecture("jacob_cov: all images have the same gradient: it is linear")
    eigenvalues = torch.linalg.eigvalsh(correlation).clamp(min=0) + EPSILON
    return finite("jacob_cov", -(eigenvalues.log() + 1 / eigenvalues).sum().item())
