"""The features that a network's layers and activations give, and where their channels are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nasproxy.estimators.zerocost.activations import Activations
from nasproxy.estimators.zerocost.shared import multiplies


@dataclass(frozen=True)
class Feature:
    """What a block gives.

    Attributes:
        tensor: three or four dimensions, in the graph.
        axis: of the channels.
        images: how many there are.
    """

    tensor: Tensor
    axis: int
    images: int

    def map(self, tensor: Tensor) -> Tensor:
        """A tensor of this shape as maps (N, C, H, W), or tokens as (N, C, L, 1)."""
        if tensor.dim() == 3 and len(tensor) != self.images:  # (L, N, C)
            tensor = tensor.transpose(0, 1)
        tensor = tensor.movedim(self.axis, 1)
        return tensor if tensor.dim() == 4 else tensor[..., None]


def channel_axis(block: nn.Module, output: Tensor, images: int) -> int:
    """Where a block's channels are: first (1), or last, as of tokens and in Swin."""
    if output.dim() == 3:
        return 1 if any(isinstance(module, nn.Conv1d) for module in block.modules()) else 2
    _, one, two, three = output.shape
    if (one == two) == (two == three):  # the image's sides don't tell: what the last layer is
        kinds = [m for m in block.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.LayerNorm)]
        return 3 if kinds and not any(isinstance(m, nn.Conv2d) for m in kinds) else 1
    return 3 if one == two else 1


@torch.no_grad()
def run_features(network: nn.Module, inputs: Tensor, take: Callable[[Feature], None]) -> None:
    """Run a network, and hand over what each layer and each activation gives, as it runs.

    A layer is a module that multiplies by a matrix of its own, such as a convolution; norms are
    none, which are as often functions without a module. An activation has its channels where the
    layer before it with as many dimensions has them.
    """
    size = len(inputs)
    axes = {2: 1, 3: 2, 4: 1}  # by dimensions

    def layer(module: nn.Module, _: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor) and first.dim() in axes:
            if first.dim() > 2:
                axes[first.dim()] = channel_axis(module, first, size)
            take(Feature(first, axes[first.dim()], size))

    def activation(output: Tensor) -> None:
        if output.dim() in axes:
            take(Feature(output, axes[output.dim()], size))

    for module in network.modules():
        if multiplies(module):
            module.register_forward_hook(layer)
    with Activations(network, after=activation):
        network(inputs)
