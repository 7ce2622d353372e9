"""The ConvNets of `convnet` at widths 8 to 64: what two CPU cores train in a second or two."""

import optuna
from torch import nn

from search_spaces import convnet
from search_spaces.convnet import describe

__all__ = ["build", "describe"]


def build(
    trial: optuna.trial.BaseTrial, input_shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """See `search_spaces.convnet.build`."""
    return convnet.build(trial, input_shape, num_classes, widths=(8, 16, 32, 64))
