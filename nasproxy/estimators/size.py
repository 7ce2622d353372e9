"""Size as a score: parameters or FLOPs, the baselines that cost nothing."""

import time
from dataclasses import dataclass

from nasproxy.estimators.estimator import Estimator
from nasproxy.spaces.size import count_flops, count_params
from nasproxy.system.machine import seeded
from nasproxy.workers.task import Candidate, Scores


@dataclass(frozen=True)
class SizeEstimator(Estimator):
    """The larger, the higher it ranks.

    Attributes:
        name: ``params``, or ``flops`` for the multiply-accumulates of one image.
        input_shape: (C, H, W).
    """

    name: str
    input_shape: tuple[int, int, int]

    kind = "free"
    seeded = False

    @property
    def metric(self) -> str:
        return "parameters" if self.name == "params" else "multiply-accumulates"

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        start = time.perf_counter()
        with seeded(seed):  # building draws weights that nobody will see
            network = candidate.build()
        counts = {"params": float(count_params(network, self.input_shape))}
        if self.name == "flops":
            counts["macs"] = float(count_flops(network, self.input_shape))
        score = counts["macs" if self.name == "flops" else "params"]
        return {"score": score, **counts, "seconds": time.perf_counter() - start}
