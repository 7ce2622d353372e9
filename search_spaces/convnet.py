"""The 720 ConvNets of the dataset condensation papers (DM, arXiv 2110.04181, section 4.4).

`depth` blocks of [3x3 convolution, norm, activation, 2x2 pool] and a linear layer. An
architecture is a width, a depth, a norm, an activation and a pooling: 4 x 4 x 5 x 3 x 3.
With pooling, an image of side 2^k takes at most k blocks; deeper ones are invalid.
"""

from collections.abc import Sequence
from typing import Any

import optuna
from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256)


def build(
    trial: optuna.trial.BaseTrial,
    input_shape: tuple[int, int, int],
    num_classes: int,
    widths: Sequence[int] = WIDTHS,
) -> nn.Module:
    """The network of a trial for images (C, H, W); weights come from torch's generator.

    Raises:
        ValueError: the images are too small for so many poolings.
    """
    return ConvNet(
        input_shape,
        num_classes,
        width=trial.suggest_categorical("width", list(widths)),
        depth=trial.suggest_categorical("depth", [1, 2, 3, 4]),
        norm=trial.suggest_categorical("norm", ["none", "batch", "layer", "instance", "group"]),
        activation=trial.suggest_categorical("activation", ["sigmoid", "relu", "leaky_relu"]),
        pooling=trial.suggest_categorical("pooling", ["none", "max", "average"]),
    )


def describe(params: dict[str, Any]) -> str:
    """The architecture in short, such as ``w64-d3-instance-relu-average``."""
    return "w{width}-d{depth}-{norm}-{activation}-{pooling}".format(**params)


class ConvNet(nn.Module):
    """See the top of this file."""

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: int,
        depth: int,
        norm: str,
        activation: str,
        pooling: str,
    ) -> None:
        super().__init__()
        channels, height, side = input_shape
        blocks: list[nn.Module] = []
        for _ in range(depth):
            blocks.append(nn.Conv2d(channels, width, 3, padding=1))
            blocks += _norm(norm, width, height, side)
            blocks.append(_ACTIVATIONS[activation]())
            if pooling != "none":
                if min(height, side) < 2:
                    raise ValueError(
                        f"{input_shape[1]}x{input_shape[2]} pixels cannot be pooled {depth} times"
                    )
                blocks.append(_POOLINGS[pooling](2))
                height, side = height // 2, side // 2
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels * height * side, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (N, C, H, W) -> (N, classes)."""
        features = self.blocks(images).permute(0, 2, 3, 1)  # no copy where channels are last
        logits: Tensor = self.classifier(features.flatten(1))
        return logits


_ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}
_POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def _norm(name: str, width: int, height: int, side: int) -> list[nn.Module]:
    if name == "none":
        return []
    if name == "batch":
        return [nn.BatchNorm2d(width)]
    if name == "layer":
        return [nn.LayerNorm([width, height, side])]
    if name == "instance":
        return [nn.GroupNorm(width, width)]  # one group a channel: instance norm with affine
    return [nn.GroupNorm(4, width)]
