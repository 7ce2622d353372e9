"""What a network costs before it is trained: parameters and multiply-accumulates."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_params(network: nn.Module) -> int:
    """Number of trainable and frozen parameters."""
    return sum(p.numel() for p in network.parameters())


def count_macs(network: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates of convolutions and matrix products for one image (C, H, W).

    The field's papers call this FLOPs (NAS-Bench-201 does); norms, activations, pooling and
    biases are left out.
    """
    tensor = next(network.parameters(), torch.empty(0))
    was_training = network.training
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(torch.empty(1, *input_shape, device=tensor.device))
    network.train(was_training)
    return int(counter.get_total_flops()) // 2  # it counts a multiply-accumulate as two
