"""Scores of untrained networks on one batch of training images."""

import math
import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from nasproxy.data.dataset import Dataset
from nasproxy.data.images import ImageSet
from nasproxy.errors import UserError
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.ranks import Part
from nasproxy.estimators.zerocost import SCORES, az_nas_components
from nasproxy.estimators.zerocost.swap import check_size
from nasproxy.spaces.size import count_flops, count_params
from nasproxy.system.machine import seeded
from nasproxy.workers.task import Candidate, Scores

BATCH = 64  # training images
AGGREGATES: dict[str, tuple[str, ...]] = {  # by their components, ranked among all architectures
    "az_nas": ("expressivity", "progressivity", "trainability", "macs"),
    # arXiv 2502.04975, eq. 15
    "vkdnw_agg": ("vkdnw", "jacob_cov", "expressivity", "trainability", "macs"),
}
OPTIONS: dict[str, tuple[str, ...]] = {"swap": ("mu", "sigma")}  # numbers, of scores that take some
_WORST = -1e9  # stands for minus infinity, which a storage doesn't take


@dataclass(frozen=True)
class TrainingFreeEstimator(Estimator):
    """One of `SCORES` or of `AGGREGATES`.

    An aggregate is only defined among other architectures: its trials carry the components, from
    which the report makes the score; the value of a trial is the first of them alone.

    Attributes:
        name: of the score, with its options.
        score: which.
        batch: normalised images and their labels.
        digest: of the data set that the batch was drawn from.
        device: where to score.
        options: of the score, by name; see `OPTIONS`.
    """

    name: str
    score: str
    batch: ImageSet
    digest: str
    device: str
    options: tuple[tuple[str, float], ...] = ()

    kind = "free"

    @property
    def metric(self) -> str:
        return self.score

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(Part((name,)) for name in AGGREGATES.get(self.score, ()))

    @property
    def identity(self) -> dict[str, str | int | float | bool]:
        return {"estimator": self.name, "scored_on": self.digest}

    @cached_property
    def _on_device(self) -> ImageSet:
        return self.batch.to(torch.device(self.device))

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        channels, height, width = self.batch.images.shape[1:]
        start = time.perf_counter()
        with seeded(seed):
            network = candidate.build().to(self.device)
            found: Scores = {"params": float(count_params(network, (channels, height, width)))}
            if "macs" in self.components:
                found["macs"] = float(count_flops(network, (channels, height, width)))
            if not self.components:
                found["score"] = self._score(self.score, network, dict(self.options))
                return found | {"seconds": time.perf_counter() - start}
            parts = az_nas_components(network, self._on_device.images, self._on_device.labels)
        for name in self.components:
            if name in SCORES and name not in parts:
                with seeded(seed):  # the same as of that score alone
                    parts[name] = self._score(name, candidate.build().to(self.device), {})
        kept = {name: value for name, value in parts.items() if name in self.components}
        found |= {name: value for name, value in kept.items() if math.isfinite(value)}
        found["score"] = found.get(self.components[0], _WORST)
        return found | {"seconds": time.perf_counter() - start}

    def _score(self, name: str, network: nn.Module, options: dict[str, float]) -> float:
        return SCORES[name](network, self._on_device.images, self._on_device.labels, **options)


def make_training_free(
    score: str, data: Dataset, device: str, batch_size: int = BATCH, **options: float
) -> TrainingFreeEstimator:
    """The estimator of a score on `batch_size` training images, the same for all architectures.

    Raises:
        UserError: the batch is larger than the training set or too small, or the score has no
            such option.
    """
    if unknown := options.keys() - set(OPTIONS.get(score, ())):
        raise UserError(f"{score} has no option {', '.join(sorted(unknown))}")
    if score == "swap":
        check_size(options.get("mu"), options.get("sigma"))
    if not 2 <= batch_size <= len(data.train):
        raise UserError(f"expected batch_size from 2 to {len(data.train)}, got {batch_size}")
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    chosen = data.train[order[:batch_size]]
    batch = ImageSet(data.normalisation(chosen.images), chosen.labels)
    given = tuple((key, float(options[key])) for key in sorted(options))
    spelt = [] if batch_size == BATCH else [f"batch_size={batch_size}"]
    spelt += [f"{key}={value!r}" for key, value in given]
    name = ":".join(filter(None, (score, ",".join(spelt))))
    return TrainingFreeEstimator(name, score, batch, data.digest, device, given)
