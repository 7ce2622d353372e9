"""Scores of untrained networks on one batch of training images."""

import math
import time
from dataclasses import dataclass
from functools import cached_property

import torch

from nasproxy.data import Dataset, ImageSet
from nasproxy.errors import UserError
from nasproxy.estimators.base import Candidate, Scores
from nasproxy.runtime import seeded
from nasproxy.size import count_macs, count_params
from nasproxy.zerocost import SCORES, az_nas_components

_WORST = -1e9  # stands for minus infinity, which a storage doesn't take


@dataclass(frozen=True)
class TrainingFreeEstimator:
    """One of `SCORES`, or ``az_nas``.

    AZ-NAS is only defined among other architectures: its trials carry the four components, from
    which the report makes the score; the value of a trial is expressivity alone.

    Attributes:
        name: of the score, with its options.
        score: which.
        batch: normalised images and their labels.
        digest: of the data set that the batch was drawn from.
        device: where to score.
    """

    name: str
    score: str
    batch: ImageSet
    digest: str
    device: str

    kind = "free"
    seeded = True
    needs_data = True
    cost = 0.0

    @property
    def metric(self) -> str:
        return self.score

    @property
    def identity(self) -> dict[str, str | int | float]:
        identity: dict[str, str | int | float] = {"estimator": self.name, "scored_on": self.digest}
        if self.score == "az_nas":
            identity["components"] = "expressivity,progressivity,trainability,macs"
        return identity

    @cached_property
    def _on_device(self) -> ImageSet:
        return self.batch.to(torch.device(self.device))

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        batch = self._on_device
        channels, height, width = batch.images.shape[1:]
        start = time.perf_counter()
        with seeded(seed):
            network = candidate.build().to(self.device)
            found: Scores = {"params": float(count_params(network))}
            if self.score == "az_nas":
                found["macs"] = float(count_macs(network, (channels, height, width)))
                parts = az_nas_components(network, batch.images, batch.labels)
                found |= {name: value for name, value in parts.items() if math.isfinite(value)}
                found["score"] = found.get("expressivity", _WORST)
            else:
                function, _ = SCORES[self.score]
                found["score"] = function(network, batch.images, batch.labels)
        return found | {"seconds": time.perf_counter() - start}


def make_training_free(
    name: str, score: str, data: Dataset, device: str, batch_size: int = 64
) -> TrainingFreeEstimator:
    """The estimator of a score on `batch_size` training images, the same for all architectures.

    Raises:
        UserError: the batch is larger than the training set or too small.
    """
    if not 2 <= batch_size <= len(data.train):
        raise UserError(f"expected batch_size from 2 to {len(data.train)}, got {batch_size}")
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    chosen = data.train[order[:batch_size]]
    batch = ImageSet(data.normalisation(chosen.images), chosen.labels)
    return TrainingFreeEstimator(name, score, batch, data.digest, device)


TRAINING_FREE: dict[str, str] = {
    **{name: summary for name, (_, summary) in SCORES.items()},
    "az_nas": "AZ-NAS: expressivity, progressivity, trainability and FLOPs, combined by rank",
}
