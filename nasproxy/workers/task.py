"""What workers are given and what they give back: a candidate to score, and its scores."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import nn

# "score", higher is better, and whatever else is worth recording; "loss@3" is a learning curve's
Scores = dict[str, float]


@dataclass(frozen=True)
class Failure:
    """Why there are no scores: the candidate is ``broken``, or a table has none (``missing``)."""

    reason: str
    kind: Literal["broken", "missing"] = "broken"


Outcome = Scores | Failure
Keep = Callable[[nn.Module, Scores], None]  # puts a trained network somewhere


@dataclass(frozen=True)
class Candidate:
    """An architecture to be scored.

    Attributes:
        key: its readable name.
        build: makes its network.
        until: epochs after which a training is put aside and scored; None is to its end.
        checkpoint: file from which a training is taken up, and where it is put aside.
        keep: is given the trained network and its scores; raises `NotKept`.
    """

    key: str
    build: Callable[[], nn.Module]
    until: int | None = None
    checkpoint: Path | None = None
    keep: Keep | None = None


class Scorer(Protocol):
    """Gives a candidate numbers; small enough to be sent to a worker once."""

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        """Score an architecture.

        Raises:
            BrokenArchitecture: it has no score.
        """


@dataclass(frozen=True, eq=False)
class Task:
    """A candidate to be scored with a seed; `of` is whatever the asker wants to know it by."""

    scorer: Scorer
    candidate: Candidate
    seed: int
    of: Any = None
