"""Functions of a user's own, in a file of his: loaded, called and what they return looked at."""

import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from nasproxy.errors import BrokenArchitecture, UserError, nearest
from nasproxy.spaces.code import Code, importing, load_code
from nasproxy.system.files import expanded

_OF_METRIC = ("logits", "labels")


@dataclass(frozen=True)
class OwnMetric:
    """A metric of a user's own: ``function(logits, labels)``, higher is better.

    Attributes:
        name: ``FILE.py:function`` as it was given.
        file: of the function.
        function: its name.
        digest: of the file and its neighbours.
    """

    name: str
    file: str
    function: str
    digest: str

    @classmethod
    def of(cls, name: str) -> "OwnMetric":
        """The metric of a reading's name. The file is code, and runs.

        Raises:
            UserError: the file fails to import, has no such function, or it takes something else.
        """
        file, _, function = name.rpartition(":")
        code = load_function(file, function, _OF_METRIC)[1]
        return cls(name, str(expanded(file).resolve()), function, code.sources.sha256)

    @cached_property
    def _loaded(self) -> tuple[Callable[..., Any], Code]:
        return load_function(self.file, self.function, _OF_METRIC, self.digest)

    def __call__(self, logits: Tensor, labels: Tensor) -> float:
        """What the function says of logits (N, classes) float32 and labels (N,) int64, on the CPU.

        Raises:
            BrokenArchitecture: it is no number.
        """
        function, code = self._loaded
        with code.home.entered():  # it may import what is beside it
            return as_number(function(logits.cpu(), labels.cpu()), self.name)


def as_number(value: Any, name: str) -> float:
    """What a function of this name returned, as a number; infinite ones are.

    Raises:
        BrokenArchitecture: it is none.
    """
    value = value.item() if getattr(value, "ndim", None) == 0 else value  # a tensor's, numpy's
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        kind = type(value).__name__
        raise BrokenArchitecture(f"{name}: expected a number or a dict of them, got {kind}")
    if math.isnan(value):
        raise BrokenArchitecture(f"{name} returned NaN")
    return float(value)


def load_function(
    file: str, name: str, arguments: Sequence[str], digest: str | None = None
) -> tuple[Callable[..., Any], Code]:
    """A function of a file, and the code that it is in.

    Args:
        file: ``.py``; it runs.
        name: of the function.
        arguments: that it must take, by position.
        digest: that the file must have: it was loaded elsewhere before.

    Raises:
        UserError: it is not there, takes other arguments, or has changed.
    """
    if not expanded(file).is_file():
        raise UserError(f"no such file: {file}")
    with importing(file):
        code = load_code(file)
    module = code.module
    found = getattr(module, name, None)
    if not callable(found):
        known = [n for n, value in vars(module).items() if inspect.isfunction(value)]
        raise UserError(f"{file} has no function {name!r}{nearest(name, known)}")
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError as error:
        expected = f"{name}({', '.join(arguments)})"
        raise UserError(f"{file}: expected a function {expected} ({error})") from None
    if digest is not None and digest != code.sources.sha256:
        raise UserError(f"{file} has changed while it was in use; start again")
    return found, code
