"""How long an untrained network takes: a cost, measured on this machine."""

import statistics
import time
from dataclasses import dataclass
from functools import cached_property

import torch

from nasproxy.data.images import ImageSet, Normalisation
from nasproxy.estimators.estimator import Estimator
from nasproxy.spaces.size import count_params
from nasproxy.system.machine import seeded
from nasproxy.training.training import check_network
from nasproxy.workers.task import Candidate, Scores

IMAGES = 32  # in a batch, at most
_PASSES = 7  # whose median counts, after one that is not timed


@dataclass(frozen=True)
class LatencyEstimator(Estimator):
    """Milliseconds an image, in a batch, of the network as it is built; the faster, the higher.

    Attributes:
        batch: images.
        normalisation: of them.
        num_classes: outputs that the network must have.
        device: where to measure.
    """

    batch: ImageSet
    normalisation: Normalisation
    num_classes: int
    device: str

    name = "latency"
    kind = "free"

    @property
    def metric(self) -> str:
        return "-milliseconds an image"

    @cached_property
    def _inputs(self) -> torch.Tensor:
        return self.normalisation(self.batch.images.to(self.device))

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        start = time.perf_counter()
        inputs, seconds = self._inputs, list[float]()
        with seeded(seed):
            network = candidate.build().to(self.device).eval()
            check_network(network, inputs[:2], self.num_classes)
        with torch.inference_mode():
            for _ in range(1 + _PASSES):
                began = time.perf_counter()
                network(inputs)
                if inputs.is_cuda:
                    torch.cuda.synchronize(inputs.device)
                seconds.append(time.perf_counter() - began)
        latency = 1000 * statistics.median(seconds[1:]) / len(inputs)
        return {
            "score": -latency,
            "latency": latency,
            "params": float(count_params(network)),
            "seconds": time.perf_counter() - start,
        }
