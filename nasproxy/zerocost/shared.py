"""What several training-free scores need: a network made ready, its weights, their gradients."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from nasproxy.errors import BrokenArchitecture

WEIGHTED = (_ConvNd, nn.Linear)  # the layers that count; biases and norms don't, as published
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU),
    *(nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.LogSigmoid),
)


def prepare(network: nn.Module) -> nn.Module:
    """Training mode (norms use the batch), but without dropout and without layers in place.

    Dropout would draw from torch's generator; a layer in place changes outputs that a score keeps.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
        if getattr(module, "inplace", False) is True:
            setattr(module, "inplace", False)  # noqa: B010 - not every module has it
    return network


def layers(network: nn.Module) -> list[_ConvNd | nn.Linear]:
    """Convolutions and linear layers, each once.

    Raises:
        BrokenArchitecture: there are none.
    """
    found = [module for module in network.modules() if isinstance(module, WEIGHTED)]
    if not found:
        raise BrokenArchitecture("no convolution and no linear layer to score")
    return found


def weight_gradients(
    network: nn.Module, inputs: Tensor, labels: Tensor, create_graph: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """(weight, gradient of the mean cross-entropy) of every convolution and linear layer.

    Weights that the loss doesn't depend on get zeros.
    """
    weights = [layer.weight for layer in layers(network)]
    loss = F.cross_entropy(network(inputs), labels)
    gradients = torch.autograd.grad(
        loss, weights, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return list(zip(weights, gradients))


@torch.no_grad()
def kaiming_init(network: nn.Module, mode: Literal["fan_in", "fan_out"]) -> None:
    """Kaiming normal weights, biases 0, norms 1 and 0; draws from torch's global generator."""
    for module in network.modules():
        parameters = dict(module.named_parameters(recurse=False))
        if isinstance(module, WEIGHTED):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
        elif isinstance(module, NORMS) and "weight" in parameters:
            nn.init.ones_(parameters["weight"])
        if isinstance(module, (*WEIGHTED, *NORMS)) and "bias" in parameters:
            nn.init.zeros_(parameters["bias"])


def finite(name: str, value: float) -> float:
    """The value itself.

    Raises:
        BrokenArchitecture: it is infinite or NaN.
    """
    if not math.isfinite(value):
        raise BrokenArchitecture(f"{name} is {value}")
    return value
