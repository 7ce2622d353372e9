"""Chains of inverted residual blocks (MobileNetV2, arXiv 1801.04381, section 3.3), 157,464 of them.

A stem and three stages; depth, width, kernel and expansion are chosen stage by stage, as in
once-for-all networks (arXiv 1908.09791, section 3.2). The stem halves the image, once at least,
until it is at most 16 pixels wide, and each stage after the first once more.
"""

from typing import Any

import optuna
from torch import Tensor, nn

STAGES = 3


def build(
    trial: optuna.trial.BaseTrial,
    input_shape: tuple[int, int, int],
    num_classes: int,
    width: int = 16,
) -> nn.Module:
    """The network of a trial for images (C, H, W).

    Args:
        width: channels of the stem and base of the stages' widths.
    """
    channels, side = input_shape[0], min(input_shape[1:])
    layers: list[nn.Module] = []
    while not layers or side > 16:
        layers += [*_convolution(channels, width, 3, stride=2), nn.ReLU()]
        channels, side = width, (side + 1) // 2
    for stage in range(STAGES):
        depth = trial.suggest_categorical(f"depth{stage}", [1, 2, 3])
        factor = trial.suggest_categorical(f"width{stage}", [0.5, 1.0, 1.5])
        kernel = trial.suggest_categorical(f"kernel{stage}", [3, 5])
        expansion = trial.suggest_categorical(f"expansion{stage}", [1, 2, 4])
        out = int(width * factor * 2**stage)
        for block in range(depth):
            stride = 2 if stage and not block else 1
            layers.append(InvertedResidual(channels, out, kernel, expansion, stride))
            channels = out
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    return nn.Sequential(*layers)


def describe(params: dict[str, Any]) -> str:
    """Stage by stage, such as ``d1-w1.0-k3-e4/d3-w0.5-k5-e1/d2-w1.5-k5-e2``."""
    return "/".join(
        f"d{params[f'depth{stage}']}-w{params[f'width{stage}']}"
        f"-k{params[f'kernel{stage}']}-e{params[f'expansion{stage}']}"
        for stage in range(STAGES)
    )


class InvertedResidual(nn.Module):
    """Expands the channels, filters each by itself, and projects them without an activation.

    Its input is added to what comes out where both have the same shape.
    """

    def __init__(self, channels: int, out: int, kernel: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = expansion * channels
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [*_convolution(channels, inner, 1), nn.ReLU()]
        layers += [*_convolution(inner, inner, kernel, stride, groups=inner), nn.ReLU()]
        self.layers = nn.Sequential(*layers, *_convolution(inner, out, 1))
        self.has_shortcut = stride == 1 and channels == out

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, out, H / stride, W / stride)."""
        features: Tensor = self.layers(images)
        return images + features if self.has_shortcut else features


def _convolution(
    channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    padding = kernel // 2
    return (
        nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out),
    )
