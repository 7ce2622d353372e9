"""Scoring a pool by what is cheap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nasproxy.data.dataset import Dataset
from nasproxy.errors import UserError
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.making import make_estimator
from nasproxy.estimators.ranks import Array, combine_parts
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.searches.pool import Pool
from nasproxy.spaces.size import params_without_weights
from nasproxy.spaces.space import Space
from nasproxy.studies.plan import built_for
from nasproxy.system.progress import progress as progress_bar
from nasproxy.workers.local import Workers
from nasproxy.workers.task import Failure, Task

FREE = ("params", "flops", "logsynflow", "naswot", "az_nas")  # from the cheapest to the dearest


@dataclass(frozen=True)
class Scoring:
    """What scores architectures of a space.

    Attributes:
        space, data: that they are for.
        workers: that score.
        device: where.
        seed: of the networks' weights.
        show: whether to show progress.
    """

    space: Space
    data: Dataset | None
    workers: Workers
    device: torch.device
    seed: int
    show: bool = False

    def estimator(self, by: str | ProxySet) -> Estimator:
        """What `rank` scores by for the same `by`."""
        return make_estimator(by, self.data, device=self.device, space=self.space)

    def add(self, pool: Pool, scores: Sequence[str]) -> None:
        """Score a pool by everything, as `rank` takes it, that it has no ranking by yet.

        Raises:
            UserError: a score is unknown, or is NaN or broken for all.
        """
        for by in scores:
            if by not in pool.columns:
                estimator = self.estimator(by)
                found = self.score(pool, estimator)
                pool.add(by, "free" if estimator.proxy is None else "proxy", found)

    def heed_memory(self, pool: Pool, estimator: Estimator, index: Sequence[int]) -> None:
        """Have no more workers than can train the largest of an `index`; see `Workers`."""
        probe, (shape, classes) = estimator.probe, built_for(self.data)
        if probe is None or not self.workers.is_number_open:
            return
        shape = estimator.network_shape or shape
        found = [self.space.candidate(pool.architectures[i], shape, classes) for i in index]
        if "params" in pool.columns:
            sizes = [float(pool.columns["params"][i]) for i in index]
        else:  # such as a sampler's, which asks for no sizes
            sizes = [params_without_weights(each.build, shape, self.seed) for each in found]
        largest = found[int(np.argmax(sizes))]
        self.workers.heed_memory(Task(probe, largest, self.seed))

    def score(self, pool: Pool, estimator: Estimator, index: Sequence[int] | None = None) -> Array:
        """Scores (n,) of a pool, or of an `index` of it: NaN for the others.

        Minus infinity stands for what broke.

        Raises:
            UserError: none has a score.
        """
        shape, classes = built_for(self.data)
        shape = estimator.network_shape or shape
        index = range(len(pool)) if index is None else index
        names = estimator.components or ("score",)
        columns, failures = np.full((len(names), len(pool)), np.nan), dict[int, Failure]()
        self.heed_memory(pool, estimator, index)
        tasks = (
            Task(
                estimator, self.space.candidate(pool.architectures[i], shape, classes), self.seed, i
            )
            for i in index
        )
        with progress_bar(f"scoring by {estimator.name}", len(index), 0, self.show) as bar:
            for task, outcome in self.workers.outcomes(tasks):
                bar.update()
                if isinstance(outcome, Failure):
                    failures[task.of] = outcome
                else:
                    columns[:, task.of] = [outcome.get(name, -np.inf) for name in names]
        found = columns[0].copy()
        if estimator.components:  # made of ranks, among those that were scored
            there = ~np.isnan(found)
            numbers = dict(zip(names, columns[:, there], strict=True))
            found[there] = combine_parts(estimator.parts, numbers)
        found[[i for i, failure in failures.items() if failure.kind == "broken"]] = -np.inf
        if not np.isfinite(found).any():
            why = next((f.reason for f in failures.values()), "it is NaN for all")
            raise UserError(
                f"{estimator.name} scores none of the {len(index)} architectures: {why}"
            )
        return found
