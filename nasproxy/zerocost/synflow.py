"""SynFlow (Tanaka et al. 2020) and LogSynflow (Cavagnero et al. 2022)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nasproxy.zerocost.shared import NORMS, finite, kaiming_init, layers, prepare


def synflow(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Synaptic flow: the weights' part in what flows through when all of them are positive.

    "Pruning neural networks without any data by iteratively conserving synaptic flow", arXiv
    2006.05467, section 6: R is the summed output for an image of ones and absolute parameters,
    and the score sums |w dR/dw|; as a score of networks arXiv 2101.08134, section 3.2. As there,
    norms are left out (all kinds of them here) and activations stay; in float64, because it grows
    beyond float32. No data. Higher is better.

    Args:
        network: untrained; used up.
        inputs: (N, C, H, W); only the shape is used.
        labels: not used.

    Raises:
        BrokenArchitecture: the score is not finite.
    """
    return finite("synflow", _flow(network, inputs, lambda gradient: gradient))


def logsynflow(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """SynFlow with each gradient replaced by log(1 + gradient), so that no layer outweighs all.

    Cavagnero et al. 2022, "FreeREA: Training-Free Evolution-based Architecture Search", arXiv
    2207.05135, section 3 (LogSynflow). The logarithm makes the score depend on the scale of the
    weights, so they are first drawn anew as in the published figures: Kaiming normal of the fan
    out, biases 0. **Draws from torch's global generator.** Higher is better.

    Args:
        network: untrained; used up.
        inputs: (N, C, H, W); only the shape is used.
        labels: not used.

    Raises:
        BrokenArchitecture: the score is not finite.
    """
    kaiming_init(network, "fan_out")
    return finite("logsynflow", _flow(network, inputs, torch.log1p))


def _flow(network: nn.Module, inputs: Tensor, scale: Callable[[Tensor], Tensor]) -> float:
    """Sum over weights of |w| scale(dR/d|w|)."""
    prepare(network).double()
    for module in network.modules():
        if isinstance(module, NORMS):
            module.forward = _unchanged  # type: ignore[assignment]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    weights = [layer.weight for layer in layers(network)]
    ones = torch.ones_like(inputs[:1], dtype=torch.float64)
    flow = network(ones).sum()  # R = 1^T prod_l |theta_l| 1
    gradients = torch.autograd.grad(flow, weights, allow_unused=True, materialize_grads=True)
    # an activation that falls somewhere (GELU, SiLU) can make a gradient negative
    return sum((w * scale(g.abs())).sum().item() for w, g in zip(weights, gradients))


def _unchanged(features: Tensor) -> Tensor:
    return features
