"""The number of parameters: the baseline that costs nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from nasproxy.estimators.base import Scores


@dataclass(frozen=True)
class ParamsEstimator:
    """More parameters, higher rank."""

    name = "params"
    metric = "parameters"
    seeded = False
    cost = 0.0

    @property
    def identity(self) -> dict[str, str | int | float]:
        return {"estimator": self.name}

    def __call__(self, build: Callable[[], nn.Module], seed: int) -> Scores:
        start = time.perf_counter()
        with torch.random.fork_rng(devices=[]):  # building draws weights that nobody will see
            count = float(sum(p.numel() for p in build().parameters()))
        return {"score": count, "params": count, "seconds": time.perf_counter() - start}
