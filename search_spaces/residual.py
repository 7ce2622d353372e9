"""Residual stages for images of 32 to 224 pixels, of torchvision's own blocks.

A stem, then two to four stages of torchvision's ResNet blocks or MobileNet inverted residuals;
depth, width, and expansion and kernel or the kind of residual block are chosen stage by stage.
The stem halves the image until it is at most 64 pixels wide, each stage after the first once more.
"""

from typing import Any

import optuna
from torch import nn
from torchvision.models.efficientnet import MBConv, MBConvConfig
from torchvision.models.resnet import BasicBlock, Bottleneck

_RESIDUAL = {"basic": BasicBlock, "bottleneck": Bottleneck}


def build(
    trial: optuna.trial.BaseTrial,
    input_shape: tuple[int, int, int],
    num_classes: int,
    width: int = 16,
) -> nn.Module:
    """The network of a trial for images (C, H, W).

    Args:
        width: channels of the stem and base of the stages' widths.

    Raises:
        ValueError: the images are too small for so many stages.
    """
    stages = trial.suggest_categorical("stages", [2, 3, 4])
    side, stride = min(input_shape[1:]), 1
    while side // stride > 64:
        stride *= 2
    if side // stride < 2**stages:
        raise ValueError(f"{side} pixels are too few for {stages} stages")
    layers: list[nn.Module] = [_stem(input_shape[0], width, stride)]
    channels = width
    for stage in range(stages):
        kind = trial.suggest_categorical(f"block{stage}", [*_RESIDUAL, "inverted"])
        depth = trial.suggest_categorical(f"depth{stage}", [1, 2, 3])
        factor = trial.suggest_categorical(f"width{stage}", [1.0, 1.5, 2.0])
        planes = int(width * factor * 2**stage)
        if kind == "inverted":
            kernel = trial.suggest_categorical(f"kernel{stage}", [3, 5])
            expansion = trial.suggest_categorical(f"expansion{stage}", [2, 4, 6])
        for block in range(depth):
            step = 2 if stage and not block else 1
            if kind == "inverted":
                layers.append(_inverted(channels, planes, kernel, expansion, step))
                channels = planes
            else:
                layers.append(_residual(kind, channels, planes, step))
                channels = planes * _RESIDUAL[kind].expansion
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    return nn.Sequential(*layers)


def describe(params: dict[str, Any]) -> str:
    """Stage by stage, such as ``basic-d2-w1.5/inverted-d1-w2.0-k5-e4``."""
    texts = []
    for stage in range(params["stages"]):
        text = f"{params[f'block{stage}']}-d{params[f'depth{stage}']}-w{params[f'width{stage}']}"
        if params[f"block{stage}"] == "inverted":
            text += f"-k{params[f'kernel{stage}']}-e{params[f'expansion{stage}']}"
        texts.append(text)
    return "/".join(texts)


def _stem(channels: int, width: int, stride: int) -> nn.Module:
    layers: list[nn.Module] = []
    for step in [2] * (stride.bit_length() - 1) or [1]:
        layers += [
            nn.Conv2d(channels, width, 3, step, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        channels = width
    return nn.Sequential(*layers)


def _residual(kind: str, channels: int, planes: int, stride: int) -> nn.Module:
    block = _RESIDUAL[kind]
    out = planes * block.expansion
    shortcut = None
    if stride > 1 or channels != out:
        shortcut = nn.Sequential(
            nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
        )
    return block(channels, planes, stride, shortcut)


def _inverted(channels: int, out: int, kernel: int, expansion: int, stride: int) -> nn.Module:
    config = MBConvConfig(expansion, kernel, stride, channels, out, 1)
    return MBConv(config, 0.0, nn.BatchNorm2d)  # 0: no stochastic depth
