"""A user's own function as an estimator: ``FILE.py:function``.

The function is ``function(network, data, seed)``: it trains or looks at the network, which has the
weights that `seed` gave it, on a `Dataset`, and returns a number, higher is better, or a dict of
numbers of which one is the score.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nasproxy.data.dataset import Dataset
from nasproxy.errors import BrokenArchitecture
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.functions import as_number, load_function
from nasproxy.estimators.training import score_of
from nasproxy.spaces.code import Code
from nasproxy.system.files import expanded
from nasproxy.system.machine import seeded
from nasproxy.workers.task import Candidate, Scores

ARGUMENTS = ("network", "data", "seed")


@dataclass(frozen=True)
class OwnEstimator(Estimator):
    """What a function in a file says of a network.

    Attributes:
        name: ``FILE.py:function``, without the folder.
        file: of the function.
        function: its name.
        digest: of the file and its neighbours.
        data: what the function is given.
        device: where its network is.
        reading: which of a dict's numbers is the score; None is ``score``.
    """

    name: str
    file: str
    function: str
    digest: str
    data: Dataset
    device: str
    reading: str | None = None

    @property
    def metric(self) -> str:
        return self.reading or self.function

    @property
    def identity(self) -> dict[str, str | int | float | bool]:
        return {"estimator": self.name, "code": self.digest}

    @cached_property
    def _loaded(self) -> tuple[Callable[..., Any], Code]:
        return load_function(self.file, self.function, ARGUMENTS, self.digest)

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        """What the function returns, and the seconds that it took."""
        start = time.perf_counter()
        with seeded(seed):
            network = candidate.build().to(self.device)
            function, code = self._loaded
            with code.home.entered():  # it may import what is beside it
                said = function(network, self.data, seed)
        found = {"seconds": time.perf_counter() - start, **self._numbers(said)}
        score = found.get("score") if self.reading is None else score_of(found, self.reading)
        if score is None:
            given = ", ".join(name for name in found if name != "seconds")
            wanted = "score" if self.reading is None else self.reading
            raise BrokenArchitecture(
                f"{self.name} returned {given or 'nothing'}: expected {wanted!r} among it, or "
                f"{self.name}:read=NAME"
            )
        return {**found, "score": score}

    def _numbers(self, said: Any) -> Scores:
        if not isinstance(said, Mapping):
            return {"score": as_number(said, self.name)}
        return {str(name): as_number(value, self.name) for name, value in said.items()}


def make_own(
    file: str, function: str, data: Dataset, device: str, reading: str | None = None
) -> OwnEstimator:
    """The estimator of a function in a file. The file is code, and runs.

    Raises:
        UserError: the file fails to import, has no such function, or it takes something else.
    """
    _, code = load_function(file, function, ARGUMENTS)
    name = f"{Path(file).name}:{function}" + (f":read={reading}" if reading else "")
    return OwnEstimator(
        name, str(expanded(file).resolve()), function, code.sources.sha256, data, device, reading
    )
