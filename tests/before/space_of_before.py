"""Six linear networks, two of them broken in different ways."""
from torch import nn


def build(trial, input_shape, num_classes):
    width = trial.suggest_categorical("width", [2, 8, 16])
    kind = trial.suggest_categorical("kind", ["plain", "deep"])
    if width == 2 and kind == "deep":
        raise ValueError("too thin to be deep")
    channels, height, side = input_shape
    layers = [nn.Flatten(), nn.Linear(channels * height * side, width), nn.ReLU()]
    if kind == "deep":
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
