"""What every way of giving an architecture a number has in common."""

from collections.abc import Callable
from typing import Protocol

from torch import nn

Scores = dict[str, float]  # "score", higher is better, and whatever else is worth recording


class Estimator(Protocol):
    """Scores architectures; small enough to be sent to a worker once."""

    @property
    def name(self) -> str:
        """Short, for tables: ``dm:ipc=10``, ``full:epochs=2``, ``params``."""

    @property
    def metric(self) -> str:
        """What `score` measures, such as ``validation accuracy``."""

    @property
    def seeded(self) -> bool:
        """Whether the score depends on the seed; if not, one seed is enough."""

    @property
    def cost(self) -> float | None:
        """Seconds spent once, before any architecture (condensing); None when unknown."""

    @property
    def identity(self) -> dict[str, str | int | float]:
        """What must be the same for scores to belong to one study."""

    def __call__(self, build: Callable[[], nn.Module], seed: int) -> Scores:
        """Score the network that `build` makes.

        Raises:
            BrokenArchitecture: it has no score.
        """
