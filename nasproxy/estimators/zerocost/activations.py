"""What goes into a network's activations and comes out of them, as they run."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nasproxy.estimators.zerocost.shared import ACTIVATIONS

_FUNCTIONS = {  # torch's activations that are no modules, by the names of their kernels
    *("relu", "relu_", "leaky_relu", "leaky_relu_", "_prelu_kernel", "threshold", "threshold_"),
    *("rrelu_with_noise", "rrelu_with_noise_", "elu", "elu_", "gelu", "gelu_", "silu", "silu_"),
    *("mish", "mish_", "sigmoid", "sigmoid_", "tanh", "tanh_", "softplus", "log_sigmoid_forward"),
    *("hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "hardtanh", "hardtanh_"),
}
_CLAMPS = ("clamp", "clamp_", "clamp_min", "clamp_min_")  # at 0 they are a ReLU
Seen = Callable[[Tensor], None]


class Activations(TorchDispatchMode):
    """Shows what all activations that run are given and give: modules, functions, gates.

    An activation of a parameter alone, a gate that no image has a part in, is left out.

    Args:
        network: a score's copy, which keeps the hooks.
        before: takes what goes into an activation, before it may be written over.
        after: takes what comes out.
    """

    def __init__(
        self, network: nn.Module, before: Seen | None = None, after: Seen | None = None
    ) -> None:
        super().__init__()
        self._before, self._after = before, after
        self._parameters = {parameter.data_ptr() for parameter in network.parameters()}
        self._inside = 0  # modules that are activations: what they run is theirs
        for module in network.modules():
            if isinstance(module, ACTIVATIONS):
                module.register_forward_pre_hook(self._enter)
                module.register_forward_hook(self._leave)

    def _enter(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if not self._inside:
            self._show(self._before, arguments[0])
        self._inside += 1

    def _leave(self, _: nn.Module, __: Any, output: Tensor) -> None:
        self._inside -= 1
        if not self._inside:
            self._show(self._after, output)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        found = name in _FUNCTIONS or (name in _CLAMPS and _at_0(args, kwargs))
        if self._inside or not found or args[0].data_ptr() in self._parameters:
            return func(*args, **(kwargs or {}))
        self._show(self._before, args[0])
        output = func(*args, **(kwargs or {}))
        self._show(self._after, output[0] if isinstance(output, tuple) else output)
        return output

    def _show(self, seen: Seen | None, features: Tensor) -> None:
        if seen and features.data_ptr() not in self._parameters and features.dim() >= 2:
            seen(features)


def patterns(features: Tensor, images: int) -> Tensor | None:
    """Which units (N, units) are positive; None where the images are not told apart.

    Args:
        features: (N, ...), (L, N, C), or windows of an image side by side.
        images: N.
    """
    if len(features) % images and features.shape[1] == images:  # (L, N, C)
        features = features.transpose(0, 1)
    if len(features) % images:
        return None
    return features.reshape(images, -1) > 0


def _at_0(args: tuple[Any, ...], kwargs: Any) -> bool:
    low = args[1] if len(args) > 1 else (kwargs or {}).get("min")
    return isinstance(low, int | float) and low == 0


@torch.no_grad()
def run_patterns(network: nn.Module, inputs: Tensor, take: Seen) -> None:
    """Run a network, and hand over the patterns (N, units) of one activation after another."""

    def before(features: Tensor) -> None:
        found = patterns(features, len(inputs))
        if found is not None:
            take(found)

    with Activations(network, before):
        network(inputs)
