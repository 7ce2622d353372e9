"""What every way of giving an architecture a number has in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

# "score", higher is better, and whatever else is worth recording; "loss@3" is a learning curve's
Scores = dict[str, float]


@dataclass(frozen=True)
class Candidate:
    """An architecture to be scored: its readable key, and the function that builds it."""

    key: str
    build: Callable[[], nn.Module]


class Estimator(Protocol):
    """Scores architectures; small enough to be sent to a worker once."""

    @property
    def name(self) -> str:
        """Short, for tables: ``dm:ipc=10``, ``full:epochs=2``, ``params``."""

    @property
    def kind(self) -> str:
        """``free``, ``proxy``, ``full`` or ``table``: what a report files it under."""

    @property
    def metric(self) -> str:
        """What `score` measures, such as ``validation accuracy``."""

    @property
    def seeded(self) -> bool:
        """Whether the score depends on the seed; if not, one seed is enough."""

    @property
    def needs_data(self) -> bool:
        """Whether the scores are of one data set."""

    @property
    def cost(self) -> float | None:
        """Seconds spent once, before any architecture (condensing); None when unknown."""

    @property
    def identity(self) -> dict[str, str | int | float]:
        """What must be the same for scores to belong to one study."""

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        """Score an architecture.

        Raises:
            BrokenArchitecture: it has no score.
        """
