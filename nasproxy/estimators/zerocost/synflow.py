"""SynFlow (Tanaka et al. 2020) and LogSynflow (Cavagnero et al. 2022)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nasproxy.errors import BrokenArchitecture
from nasproxy.estimators.zerocost.shared import NORMS, kaiming_init, scores, weights
from nasproxy.spaces.network import logits_of


@scores
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
        BrokenArchitecture: the score is not finite: deep attention without norms goes beyond
            float64.
    """
    return _flow("synflow", network, inputs, lambda gradient: gradient)


@scores
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
        BrokenArchitecture: the score is not finite: deep attention without norms goes beyond
            float64.
    """
    kaiming_init(network, "fan_out")
    return _flow("logsynflow", network, inputs, torch.log1p)


def _flow(
    name: str, network: nn.Module, inputs: Tensor, scale: Callable[[Tensor], Tensor]
) -> float:
    """Sum over weights of |w| scale(dR/d|w|)."""
    network.double()
    for module in network.modules():
        if isinstance(module, NORMS):
            module.forward = _unchanged  # type: ignore[assignment]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.abs())
    found = weights(network)
    ones = torch.ones_like(inputs[:1], dtype=torch.float64)
    with _WithoutNorms():
        flow = logits_of(network(ones)).sum()  # R = 1^T prod_l |theta_l| 1
    gradients = torch.autograd.grad(flow, found, allow_unused=True, materialize_grads=True)
    # an activation that falls somewhere (GELU, SiLU) can make a gradient negative
    score = sum((w * scale(g.abs())).sum().item() for w, g in zip(found, gradients))
    if not math.isfinite(score):
        raise BrokenArchitecture(
            f"{name}: without norms the flow through so many layers goes beyond float64"
        )
    return score


class _WithoutNorms(TorchFunctionMode):
    """Norms that are functions leave features as they are, as those that are modules do."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in _NORM_FUNCTIONS:
            return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


_NORM_FUNCTIONS = (
    *("batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"),
    "local_response_norm",
)


def _unchanged(features: Tensor, *_: Any) -> Tensor:
    return features
