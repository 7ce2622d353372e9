"""Trained networks, at work."""

from collections.abc import Sequence
from pathlib import Path

from nasproxy.cli.answer import Answer
from nasproxy.training.predicting import Prediction, predict
from nasproxy.training.saved import load_with_inputs


def on_predict(network: str, images: Sequence[str]) -> Answer:
    """Name the classes of pictures, with a trained network.

    Args:
        network: file of a trained network, such as runs/digits-convnet_small/best.safetensors. The
            code of its search space lies beside it, and runs: take only what you trust.
        images: files of pictures, of any size.
    """
    loaded, inputs = load_with_inputs(Path(network))
    return _answer(images, predict(loaded, list(images), inputs))


def _answer(images: Sequence[str], found: Prediction) -> Answer:
    """What a network says of pictures, a line each, in their order."""
    rows = [
        {
            "image": image,
            "label": label,
            "probabilities": dict(zip(found.class_names, map(float, row), strict=True)),
        }
        for image, label, row in zip(images, found.labels, found.probabilities, strict=True)
    ]
    lines = [
        f"{image}: {label} ({100 * row.max():.1f}%)"
        for image, label, row in zip(images, found.labels, found.probabilities, strict=True)
    ]
    return Answer({"predictions": rows}, "\n".join(lines))
