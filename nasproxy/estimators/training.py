"""Scores by training: on a proxy set, on the full data, or on the full data for a short while."""

import dataclasses
import json
import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from nasproxy.data import ImageSet, Normalisation
from nasproxy.estimators.base import Candidate, Scores
from nasproxy.runtime import seeded
from nasproxy.size import count_macs, count_params
from nasproxy.train import Recipe, check_network, evaluate_network, train


@dataclass(frozen=True)
class TrainingEstimator:
    """Accuracy on `validation` after training on `images` by `recipe`.

    Attributes:
        name: see `Estimator`.
        images: uint8 or normalised float32.
        validation: uint8, hard labels.
        digest: of what `images` came from.
        recipe: how to train.
        normalisation: of uint8 images.
        num_classes: outputs that the network must have.
        flip: whether mirror images keep their class.
        device: where to train.
        kind: see `Estimator`.
        cost: see `Estimator`.
    """

    name: str
    images: ImageSet
    validation: ImageSet
    digest: str
    recipe: Recipe
    normalisation: Normalisation
    num_classes: int
    flip: bool
    device: str
    kind: str = "proxy"
    cost: float | None = 0.0

    metric = "validation accuracy"
    seeded = True
    needs_data = True

    @property
    def identity(self) -> dict[str, str | int | float]:
        recipe = json.dumps(dataclasses.asdict(self.recipe))
        return {"estimator": self.name, "trained_on": self.digest, "recipe": recipe}

    @cached_property
    def _on_device(self) -> tuple[ImageSet, ImageSet]:
        device = torch.device(self.device)
        return self.images.to(device), self.validation.to(device)

    def fit(self, candidate: Candidate, seed: int) -> tuple[nn.Module, float]:
        """Build and train a network; it comes with the mean loss of its last epoch, in nats."""
        images, validation = self._on_device
        with seeded(seed):
            network = candidate.build().to(self.device)
            check_network(network, self.normalisation(validation.images[:2]), self.num_classes)
            loss = train(
                network, images, self.recipe, self.normalisation, flip=self.flip, seed=seed
            )
        return network, loss

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        """Besides accuracy: both losses in nats, size, latency in ms an image, seconds."""
        start = time.perf_counter()
        network, loss = self.fit(candidate, seed)
        trained = time.perf_counter()
        evaluation = evaluate_network(
            network, self._on_device[1], self.normalisation, self.recipe.precision
        )
        end = time.perf_counter()
        channels, height, width = self.validation.images.shape[1:]
        input_shape = (channels, height, width)
        return {
            "score": evaluation.accuracy,
            "loss": evaluation.loss,
            "train_loss": loss,
            "params": float(count_params(network)),
            "macs": float(count_macs(network, input_shape)),
            "latency": 1000 * (end - trained) / len(self.validation),
            "seconds": end - start,
        }
