"""Scores by training: on a proxy set, on the full data, or on the full data for a short while."""

import hashlib
import json
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import safetensors.torch
import torch

from nasproxy.data import ImageSet, Normalisation
from nasproxy.estimators.base import Candidate, Scores
from nasproxy.files import write_atomically
from nasproxy.runtime import seeded
from nasproxy.size import count_macs, count_params
from nasproxy.train import (
    LOSSES,
    READINGS,
    Recipe,
    Training,
    balance,
    check_network,
    evaluate_network,
)

FIT_IMAGES = 1000  # training images that `fit_loss` is taken on, where there are more


@dataclass(frozen=True)
class TrainingEstimator:
    """How a network does after training on `images` by `recipe`.

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
        until: epochs after which to stop and score, None for all of the recipe's.
        checkpoints: folder where what has been trained so far is left for the next call.
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
    until: int | None = None
    checkpoints: Path | None = None

    seeded = True
    needs_data = True

    @property
    def metric(self) -> str:
        return READINGS[self.recipe.read]

    @property
    def identity(self) -> dict[str, str | int | float]:
        recipe = json.dumps(self.recipe.to_dict())
        return {"estimator": self.name, "trained_on": self.digest, "recipe": recipe}

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that networks see."""
        channels, height, width = self.validation.images.shape[1:]
        return channels, *self.prepare.sides(height, width)

    @property
    def prepare(self) -> Normalisation:
        """Makes of images what networks see."""
        return replace(self.normalisation, image_size=self.recipe.image_size)

    @cached_property
    def _on_device(self) -> tuple[ImageSet, ImageSet]:
        device = torch.device(self.device)
        return self.images.to(device), self.validation.to(device)

    @cached_property
    def _some(self) -> ImageSet:
        """What is trained on, or `FIT_IMAGES` of it, the same for all architectures."""
        images = self._on_device[0]
        if len(images) <= FIT_IMAGES:
            return images
        index = torch.arange(FIT_IMAGES, device=images.labels.device)
        return images[index * len(images) // FIT_IMAGES]  # evenly: sets may be sorted by class

    @property
    def epochs(self) -> int:
        """Passes over the images that the recipe asks for."""
        return self.recipe.passes(len(self.images))

    def up_to(self, epochs: int | None, checkpoints: Path) -> "TrainingEstimator":
        """The score after some of the epochs; a later call with more of them goes on."""
        return replace(self, until=epochs, checkpoints=checkpoints)

    def fit(self, candidate: Candidate, seed: int) -> Training:
        """Build a network and train it."""
        images, validation = self._on_device
        with seeded(seed):
            network = candidate.build().to(self.device)
            check_network(network, self.prepare(validation.images[:2]), self.num_classes)
            training = Training(
                network, images, self.recipe, self.prepare, flip=self.flip, seed=seed
            )
            kept = self._checkpoint(candidate, seed)
            if kept is not None and kept.is_file():
                training.load_state(safetensors.torch.load_file(kept))
            training.run(self.until)
            if kept is not None and training.epoch < training.epochs:
                state = training.state()
                write_atomically(kept, lambda path: safetensors.torch.save_file(state, path))
            elif kept is not None:
                kept.unlink(missing_ok=True)
        return training

    def _checkpoint(self, candidate: Candidate, seed: int) -> Path | None:
        if self.checkpoints is None:
            return None
        name = hashlib.sha256(f"{candidate.key}\n{seed}".encode()).hexdigest()[:32]
        return self.checkpoints / f"{name}.safetensors"

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        """All of `READINGS` (losses in nats), size, latency in ms an image, seconds, curve."""
        start = time.perf_counter()
        training = self.fit(candidate, seed)
        network = training.network
        trained = time.perf_counter()
        evaluation = evaluate_network(
            network, self._on_device[1], self.prepare, self.recipe.precision
        )
        validated = time.perf_counter()
        fit = evaluate_network(network, self._some, self.prepare, self.recipe.precision)
        end = time.perf_counter()
        readings = {
            "accuracy": evaluation.accuracy,
            "loss": evaluation.loss,
            "train_loss": training.loss,
            "mean_loss": training.mean_loss,
            "fit_loss": fit.loss,
            "both": balance(evaluation.accuracy, training.loss),
        }
        return {
            "score": readings[self.recipe.read] * (-1 if self.recipe.read in LOSSES else 1),
            **readings,
            "params": float(count_params(network)),
            "macs": float(count_macs(network, self.input_shape)),
            "latency": 1000 * (validated - trained) / len(self.validation),
            "seconds": end - start,
            "epochs": float(training.epoch),
            "images": float(len(self.images)),
            **{f"train_loss@{epoch}": loss for epoch, loss in training.curve.items()},
        }
