"""What the steps of a search share."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from nasproxy.estimators.estimator import Estimator
from nasproxy.searches.scoring import Scoring
from nasproxy.system.progress import say


@dataclass(frozen=True)
class Job:
    """One search.

    Attributes:
        scoring: of its space, on its data.
        full: what an architecture is worth: the full training.
        folder: of everything that is made.
        trainings: at most how many.
        seconds_in_all: of this call, after which none is begun; None is never.
        objective: the second one; None without.
        command: what makes the search again.
        start: of this call, on the monotonic clock.
        seconds: by stage, as far as it has come.
    """

    scoring: Scoring
    full: Estimator
    folder: Path
    trainings: int
    seconds_in_all: float | None
    objective: str | None
    command: str
    start: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    def tell(self, text: str) -> None:
        """Say on stderr what has been done."""
        say(f"[{time.monotonic() - self.start:5.0f} s] {text}", show=self.scoring.show)
