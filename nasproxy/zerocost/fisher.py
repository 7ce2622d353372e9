"""Fisher pruning (Theis et al. 2018; Turner et al. 2020, "BlockSwap") as a score of networks."""

import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.zerocost.shared import finite, layers, prepare


def fisher(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Sum over channels of the change in loss, to second order, when the channel is removed.

    arXiv 1801.05787, section 2, and arXiv 2101.08134, section 3.2. As in the code that the latter's
    figures were made with, each output channel of a convolution or linear layer counts as often as
    it has weights (the equation alone would count it once). Higher is better.

    Args:
        network: untrained; used up.
        inputs: (N, C, H, W) float32, normalised.
        labels: (N,) int64.

    Raises:
        BrokenArchitecture: the score is not finite.
    """
    outputs: list[tuple[nn.Module, Tensor]] = []  # (layer, its activations), one a call

    def keep(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        output.retain_grad()
        outputs.append((layer, output))

    for layer in layers(prepare(network)):
        layer.register_forward_hook(keep)
    F.cross_entropy(network(inputs), labels).backward()
    total = 0.0
    for module, output in outputs:
        if output.grad is None:  # nothing depends on it
            continue
        axis = -1 if isinstance(module, nn.Linear) else 1
        product = (output.detach() * output.grad).movedim(axis, 1)  # (N, channels, ...)
        per_image = product.flatten(2).sum(2) if product.dim() > 2 else product  # (N, channels)
        channels = per_image.square().mean(0) / 2  # Delta_c = 1/2N sum_n (sum_ij a g)^2
        assert isinstance(module.weight, Tensor)
        weights_per_channel = module.weight.numel() // len(channels)
        total += channels.sum().item() * weights_per_channel
    return finite("fisher", total)
