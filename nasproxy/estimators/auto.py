"""``auto``: what is free and a short training together, by fixed weights.

No score is right everywhere: AZ-NAS, naswot and logsynflow rank cells, and mislead on ConvNets,
where training on a few hundred images ranks well. The sum of the logarithms of their ranks, with
twice as much weight on the training as on the three together, gave away little on either where it
was chosen. On later draws it had .93 on cells on CIFAR-10, .88 on ConvNets, where its training
alone had .91, and .71 on cells on CIFAR-100, where 1,000 updates are few and its training had .47
(docs/LOG.md, 2026-11-29).
"""

from dataclasses import dataclass, replace

from nasproxy.errors import BrokenArchitecture
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.ranks import Part
from nasproxy.estimators.training import TrainingEstimator
from nasproxy.estimators.training_free import TrainingFreeEstimator
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.workers.task import Candidate, Scorer, Scores

FREE = ("az_nas", "naswot", "logsynflow")
WEIGHT = 2.0  # of the training, where the free scores together have 1
IPC = 50  # random images of each class that are trained on
STEPS = 1000  # updates, which are 100 passes over ten classes


@dataclass(frozen=True)
class AutoEstimator(Estimator):
    """A training on a proxy set, and free scores of the same network.

    Its trials carry all numbers; the value of a trial is the training's reading alone. A training
    that isn't settled has no say in the ranking (`nasproxy.studies.reliability`).

    Attributes:
        name: see `Estimator`.
        trained: the training.
        free: of `FREE`, on images of the same size.
    """

    name: str
    trained: TrainingEstimator
    free: tuple[TrainingFreeEstimator, ...]

    kind = "proxy"
    copies_twins = True

    @property
    def metric(self) -> str:
        return self.trained.metric

    @property
    def read(self) -> str:
        return self.trained.read

    @property
    def parts(self) -> tuple[Part, ...]:
        found = [Part((self.read,), WEIGHT)]
        for each in self.free:
            found.append(Part(each.components or (each.score,), 1 / len(self.free)))
        return tuple(found)

    @property
    def proxy(self) -> ProxySet | None:  # type: ignore[override]  # an attribute of most
        return self.trained.proxy

    @property
    def twice(self) -> "AutoEstimator":
        return replace(self, trained=self.trained.twice)

    @property
    def network_shape(self) -> tuple[int, int, int]:
        return self.trained.network_shape

    @property
    def seconds_once(self) -> float | None:
        return self.trained.seconds_once

    @property
    def floor(self) -> dict[str, float]:
        return self.trained.floor

    @property
    def probe(self) -> Scorer:
        return self.trained.probe

    @property
    def identity(self) -> dict[str, str | int | float | bool]:
        scored_on = self.free[0].digest
        return {**self.trained.identity, "estimator": self.name, "scored_on": scored_on}

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        """All numbers; of a free score that the network has not, none."""
        found = self.trained(candidate, seed)
        for each in self.free:
            try:
                scores = each(candidate, seed)
            except BrokenArchitecture:
                continue
            found["seconds"] += scores["seconds"]
            named = {each.score: scores["score"]} if not each.components else scores
            found |= {k: v for k, v in named.items() if k in self.components}
        return found
