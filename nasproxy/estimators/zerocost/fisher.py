"""Fisher pruning (Theis et al. 2018; Turner et al. 2020, "BlockSwap") as a score of networks."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nasproxy.estimators.zerocost.shared import finite, module_weights, scores, weights
from nasproxy.spaces.network import logits_of


@scores
def fisher(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Sum over channels of the change in loss, to second order, when the channel is removed.

    arXiv 1801.05787, section 2, and arXiv 2101.08134, section 3.2. As in the code that the latter's
    figures were made with, each output channel of a convolution or linear layer counts as often as
    it has weights (the equation alone would count it once). Higher is better.

    Args:
        network: untrained; it stays as it is.
        inputs: (N, C, H, W) float32, normalised.
        labels: (N,) int64.

    Raises:
        BrokenArchitecture: the score is not finite.
    """
    outputs: list[tuple[nn.Module, Tensor]] = []  # (layer, its activations), one a call

    def keep(layer: nn.Module, _: tuple[Tensor, ...], output: Any) -> Any:
        first, *rest = output if isinstance(output, tuple) else (output,)  # recurrent: its states
        if not first.requires_grad:
            return output
        first.retain_grad()
        outputs.append((layer, first))
        copy = first.clone()  # what follows may write into it
        return (copy, *rest) if isinstance(output, tuple) else copy

    weights(network)
    for layer in network.modules():
        if module_weights(layer):
            layer.register_forward_hook(keep)
    F.cross_entropy(logits_of(network(inputs)), labels).backward()
    total = 0.0
    for module, output in outputs:
        if output.grad is None:  # nothing depends on it
            continue
        axis = 1 if isinstance(module, _ConvNd) else -1
        product = (output.detach() * output.grad).movedim(axis, 1)  # (N, channels, ...)
        per_image = product.flatten(2).sum(2) if product.dim() > 2 else product  # (N, channels)
        channels = per_image.square().mean(0) / 2  # Delta_c = 1/2N sum_n (sum_ij a g)^2
        weights_per_channel = sum(w.numel() for w in module_weights(module)) // len(channels)
        total += channels.sum().item() * weights_per_channel
    return finite("fisher", total)
