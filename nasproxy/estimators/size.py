"""Size as a score: parameters or FLOPs, the baselines that cost nothing."""

import time
from dataclasses import dataclass

from nasproxy.estimators.base import Candidate, Scores
from nasproxy.runtime import seeded
from nasproxy.size import count_macs, count_params


@dataclass(frozen=True)
class SizeEstimator:
    """The larger, the higher it ranks.

    Attributes:
        name: ``params``, or ``flops`` for the multiply-accumulates of one image.
        input_shape: (C, H, W).
    """

    name: str
    input_shape: tuple[int, int, int]

    kind = "free"
    seeded = False
    needs_data = True  # the image's shape and the number of classes
    cost = 0.0

    @property
    def metric(self) -> str:
        return "parameters" if self.name == "params" else "multiply-accumulates"

    @property
    def identity(self) -> dict[str, str | int | float]:
        return {"estimator": self.name}

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        start = time.perf_counter()
        with seeded(seed):  # building draws weights that nobody will see
            network = candidate.build()
        counts = {"params": float(count_params(network))}
        if self.name == "flops":
            counts["macs"] = float(count_macs(network, self.input_shape))
        score = counts["macs" if self.name == "flops" else "params"]
        return {"score": score, **counts, "seconds": time.perf_counter() - start}
