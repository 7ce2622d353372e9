"""What every way of giving an architecture a number has in common."""

from abc import ABC, abstractmethod

from nasproxy.estimators.ranks import Part
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.workers.task import Candidate, Scorer, Scores


class Estimator(ABC):
    """Scores architectures, and says what may be asked of it; small enough for a worker.

    One of your own needs a `name` and `__call__`; the rest has defaults.

    Attributes:
        name: short, for tables: ``dm-10``, ``full:epochs=2``, ``params``.
        kind: what a report files it under: ``free``, ``proxy``, ``full``, ``table`` or ``own``.
        seeded: whether the score depends on the seed; if not, one seed is enough.
        needs_data: whether the scores are of one data set.
        copies_twins: whether isomorphic architectures have the same score.
        proxy: the proxy set that is trained on.
    """

    name: str
    kind: str = "own"
    seeded: bool = True
    needs_data: bool = True
    copies_twins: bool = False
    proxy: ProxySet | None = None

    @property
    def metric(self) -> str:
        """What the score measures, such as ``validation accuracy``."""
        return "score"

    @property
    def parts(self) -> tuple[Part, ...]:
        """Rankings whose combination is the score, of a score that is one among others alone."""
        return ()

    @property
    def components(self) -> tuple[str, ...]:
        """Numbers that `parts` are made of."""
        return tuple(name for part in self.parts for name in part.names)

    @property
    def read(self) -> str | None:
        """The number that stands for a training, of several that are recorded; None without."""
        return None

    @property
    def twice(self) -> "Estimator | None":
        """The same with trainings of twice as many updates; None where nothing is trained."""
        return None

    @property
    def epochs(self) -> int | None:
        """Of a training that can be put aside after any of them; None if nothing is trained."""
        return None

    @property
    def network_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) of the images that networks are built for; None is the data's."""
        return None

    @property
    def seconds_once(self) -> float | None:
        """Spent before any architecture (condensing); None when unknown."""
        return 0.0

    @property
    def identity(self) -> dict[str, str | int | float | bool]:
        """What must be the same for scores to belong to one study."""
        return {"estimator": self.name}

    @property
    def floor(self) -> dict[str, float]:
        """Accuracies in [0, 1] that a network must exceed to have learnt anything, by name."""
        return {}

    @property
    def probe(self) -> Scorer | None:
        """Scores an architecture by the bytes of memory that a process needs to score it.

        As soon as that is known; None where nothing is worth measuring.
        """
        return None

    @abstractmethod
    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        """Score an architecture: ``score``, higher is better, and whatever else is worth keeping.

        Raises:
            BrokenArchitecture: it has no score.
        """
