"""The best architecture's network: trained as it was when it was scored, tested once, kept."""

from pathlib import Path
from typing import Any

from nasproxy.data.dataset import Dataset
from nasproxy.estimators.training import TrainingEstimator
from nasproxy.spaces.same import digests_of, is_same_space
from nasproxy.spaces.space import Architecture, Space
from nasproxy.system.machine import threads
from nasproxy.training.predicting import written
from nasproxy.training.saved import describe_network, save_network
from nasproxy.training.training import evaluate_network


def keep_winner(
    path: Path,
    space: Space,
    winner: Architecture,
    estimator: TrainingEstimator,
    data: Dataset,
    seed: int,
) -> dict[str, Any]:
    """Train the network that was scored again and save it, unless it is there.

    Args:
        path: of the ``.safetensors`` file.
        space: of the winner.
        winner: the architecture.
        estimator: that scored it, by training on all of the data.
        data: whose test images it is tested on, this once.
        seed: of the training.

    Returns:
        What is kept with the weights, ``validation_accuracy`` and ``test_accuracy`` (fractions)
        of this very network, computed in float32, among it.
    """
    same: dict[str, Any] = {
        "architecture": winner.key,
        "recipe": estimator.recipe.to_dict(),
        "dataset_digest": data.digest,
        "seed": seed,
    }
    about = describe_network(path) if path.exists() else {}
    there = "validation_accuracy" in about  # older versions left it out
    there &= is_same_space(about, digests_of(space))
    if there and all(about.get(key) == value for key, value in same.items()):
        return about
    shape, classes = estimator.network_shape, data.num_classes
    with threads(1):  # as the workers do: the very network that was scored
        network = estimator.fit(space.candidate(winner, shape, classes), seed).network
        of_splits = {
            f"{name}_accuracy": evaluate_network(network.cpu(), split, estimator.prepare).accuracy
            for name, split in (("validation", data.validation), ("test", data.test))
        }
    about = {
        **same,
        **describe_images(data),
        **of_splits,
    }
    save_network(path, network, space, winner.choices, shape, classes, **about)
    return about


def describe_images(data: Dataset) -> dict[str, Any]:
    """What a network's file says of its data, JSON values, so that `predict` can take pictures."""
    return {
        "mean": list(data.normalisation.mean),
        "std": list(data.normalisation.std),
        "class_names": list(data.class_names),
        "image_shape": list(data.input_shape),
        "levels": written(data.levels),
    }
