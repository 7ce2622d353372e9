"""The ConvNets of `convnet` at widths 4 to 32: seconds each on two CPU cores and small images."""

import optuna
from torch import nn

from search_spaces import convnet
from search_spaces.convnet import describe

__all__ = ["build", "describe"]


def build(
    trial: optuna.trial.BaseTrial, input_shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """See `search_spaces.convnet.build`."""
    return convnet.build(trial, input_shape, num_classes, widths=(4, 8, 16, 32))
