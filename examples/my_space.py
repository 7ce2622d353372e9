"""Depthwise separable blocks, with or without a shortcut and squeeze-and-excitation."""

from typing import Any

import optuna
from torch import Tensor, nn


def build(
    trial: optuna.trial.BaseTrial, input_shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """The network of a trial, for images (C, H, W)."""
    width = trial.suggest_categorical("width", [8, 16, 24])
    kernel = trial.suggest_categorical("kernel", [3, 5])
    attention = trial.suggest_categorical("attention", [False, True])
    layers = [nn.Conv2d(input_shape[0], width, 3, stride=2, padding=1, bias=False)]
    layers += [nn.BatchNorm2d(width), nn.ReLU()]
    for _ in range(trial.suggest_int("depth", 1, 3)):
        layers.append(Block(width, kernel, attention))
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, num_classes)]
    return nn.Sequential(*layers)


def describe(params: dict[str, Any]) -> str:
    """A short name, such as ``w16-d2-k3-se``."""
    short = "w{width}-d{depth}-k{kernel}".format(**params)
    return f"{short}-se" if params["attention"] else short


class Block(nn.Module):
    """Depthwise and pointwise convolution, channels weighed by their means, and a shortcut."""

    def __init__(self, width: int, kernel: int, attention: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.weigh = Weigh(width) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        return nn.functional.relu(x + self.weigh(self.body(x)))


class Weigh(nn.Module):
    """Squeeze and excitation (Hu et al., 2018): channels times what their means ask for."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ask = nn.Sequential(nn.Linear(width, width), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same shape."""
        return x * self.ask(x.mean((2, 3)))[:, :, None, None]
