"""GraSP (Wang et al. 2020, "Picking Winning Tickets Before Training")."""

import torch
from torch import Tensor, nn

from nasproxy.estimators.zerocost.shared import finite, scores, weight_gradients


@scores
def grasp(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Sum over weights of -(H g) w: what removing each weight does to the norm of the gradient.

    arXiv 2002.07376, section 4; as a score of networks arXiv 2101.08134, section 3.2, with the
    sign given there. H and g belong to the convolutions' and linear layers' weights and to a
    softmax of temperature 1. Higher is better.

    Args:
        network: untrained; it stays as it is.
        inputs: (N, C, H, W) float32, normalised.
        labels: (N,) int64.

    Raises:
        BrokenArchitecture: the score is not finite.
    """
    pairs = weight_gradients(network, inputs, labels, create_graph=True)
    weights = [weight for weight, _ in pairs]
    # the derivative of g . stop(g) is H g
    product = sum(((g * g.detach()).sum() for _, g in pairs), start=inputs.new_zeros(()))
    hessian_gradient = torch.autograd.grad(
        product, weights, allow_unused=True, materialize_grads=True
    )
    saliency = sum(
        -(weight.detach() * change).sum().item()
        for weight, change in zip(weights, hessian_gradient)
    )
    return finite("grasp", saliency)  # sum -(H g) w
