"""The only door to search spaces: find, load, copy, rebuild, draw and enumerate architectures."""

import dataclasses
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import nn

from nasproxy.errors import BrokenArchitecture, UserError, nearest, reason
from nasproxy.files import write_text
from nasproxy.runtime import contained
from nasproxy.size import count_macs, count_params
from nasproxy.spec import parse_spec

_BARREN = 2000  # invalid draws in a row after which a space is taken to hold no more valid ones
ENTRY_POINTS = "nasproxy.spaces"  # group in which an installed package offers spaces


@dataclass(frozen=True)
class Architecture:
    """A point of a space: its parameters, or why it can't be built.

    Attributes:
        params: what `build` suggested, by name.
        distributions: where each came from.
        key: the readable name on which studies are joined.
        error: why `build` refused it, else None.
        drawn: ``uniform``, ``all`` (the whole space), or the sampler that steered to it.
    """

    params: dict[str, Any]
    distributions: dict[str, BaseDistribution] = field(repr=False)
    key: str
    error: str | None = None
    drawn: str = "uniform"


@dataclass(frozen=True)
class Space:
    """A search space for images of one shape.

    Attributes:
        name: what it was loaded by.
        path: its source file.
        sha256: of that file and of those beside it that it imports, 16 hex digits.
        options: more arguments of its `build`, such as a number of channels.
        max_params, max_macs: architectures above count as invalid; None is no limit.
    """

    name: str
    path: Path
    sha256: str
    module: ModuleType = field(repr=False)
    options: dict[str, Any] = field(default_factory=dict)
    max_params: float | None = None
    max_macs: float | None = None

    def __post_init__(self) -> None:
        for name, most in (("max_params", self.max_params), ("max_flops", self.max_macs)):
            if most is not None and not most > 0:
                raise UserError(f"expected {name} above 0, got {most}")

    def __reduce__(self) -> tuple[Callable[..., "Space"], tuple[str, str]]:
        # modules don't travel; the other side loads it anew
        return _load_the_same, (self.locator, self.sha256)

    @property
    def locator(self) -> str:
        """The name, with a file's path made absolute: it loads the space from any folder."""
        name, colon, options = self.name.partition(":")
        return str(self.path.resolve()) + colon + options if _is_path(name) else self.name

    @property
    def summary(self) -> str:
        """First line of the file's docstring."""
        return (self.module.__doc__ or "").strip().partition("\n")[0]

    def key(self, params: Mapping[str, Any]) -> str:
        """The readable name of an architecture: the space's `describe`, else its parameters."""
        if not hasattr(self.module, "describe"):
            return plain_key(params)
        try:
            key = self.module.describe(dict(params))
        except (Exception, SystemExit) as error:
            raise UserError(f"{self.name}: describe failed: {reason(error)}") from error
        if not isinstance(key, str) or not key:
            raise UserError(f"{self.name}: expected a name from describe, got {key!r}")
        return key

    def canonical(self, params: Mapping[str, Any]) -> str:
        """The space's `canonical` name, shared by architectures that compute the same."""
        if hasattr(self.module, "canonical"):
            return str(self.module.canonical(dict(params)))
        return self.key(params)

    def build(
        self, params: Mapping[str, Any], input_shape: tuple[int, int, int], num_classes: int
    ) -> nn.Module:
        """The network of stored parameters; seed torch before for its weights.

        Raises:
            UserError: a parameter is missing, unknown or outside the space.
            BrokenArchitecture: the space refuses to build it.
        """
        trial = _ScriptedTrial(lambda name, distribution: _stored(params, name, distribution))
        try:
            network = self.module.build(trial, input_shape, num_classes, **self.options)
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from None
        except (Exception, SystemExit) as error:
            raise BrokenArchitecture(reason(error)) from error
        unknown = set(params) - set(trial.params)
        if unknown:
            raise UserError(f"{self.name}: no such parameter: {', '.join(sorted(unknown))}")
        if not isinstance(network, nn.Module):
            raise BrokenArchitecture(f"build returned {type(network).__name__}, not an nn.Module")
        return network

    def trace(
        self,
        trial: optuna.trial.BaseTrial,
        input_shape: tuple[int, int, int],
        num_classes: int,
    ) -> Architecture:
        """Let `build` draw an architecture from a trial, without spending memory on weights."""
        error: str | None = None
        try:
            try:
                with contained(), torch.device("meta"):
                    self._build_within_limits(trial, input_shape, num_classes)
            except (UserError, BrokenArchitecture):
                raise
            except Exception:  # some code needs real tensors; a trial repeats what it suggested
                with contained():
                    self._build_within_limits(trial, input_shape, num_classes)
        except UserError:
            raise
        except (Exception, SystemExit) as failure:
            error = reason(failure)
        params, distributions = dict(trial.params), dict(trial.distributions)
        if error is not None:  # perhaps not all parameters are there to be described
            return Architecture(params, distributions, plain_key(params), error)
        return Architecture(params, distributions, self.key(params))

    def _build_within_limits(
        self,
        trial: optuna.trial.BaseTrial,
        input_shape: tuple[int, int, int],
        num_classes: int,
    ) -> None:
        if self.max_params is None and self.max_macs is None and hasattr(self.module, "suggest"):
            self.module.suggest(trial)  # a space whose every choice is valid may offer this
            return
        network = self.module.build(trial, input_shape, num_classes, **self.options)
        if not isinstance(network, nn.Module):
            raise BrokenArchitecture(f"build returned {type(network).__name__}, not an nn.Module")
        if self.max_params is not None and (params := count_params(network)) > self.max_params:
            raise BrokenArchitecture(f"over budget: {params} parameters")
        if self.max_macs is not None and (macs := count_macs(network, input_shape)) > self.max_macs:
            raise BrokenArchitecture(f"over budget: {macs} multiply-accumulates")

    def sample(
        self, count: int, seed: int, input_shape: tuple[int, int, int], num_classes: int
    ) -> list[Architecture]:
        """Draw uniformly, without repeats, until `count` can be built; invalid ones come along.

        The first k of a longer draw are the draw of k. A space that seems to hold fewer gives
        all that were found. In a conditional space each branch is as likely as its siblings.

        Raises:
            UserError: none of those drawn can be built.
        """
        generator = np.random.default_rng(seed)
        found: dict[str, Architecture] = {}
        valid, repeats, barren = 0, 0, 0  # barren: draws in a row that could not be built
        while valid < count and repeats < max(100, 10 * len(found)) and barren < _BARREN:
            trial = _ScriptedTrial(lambda name, distribution: _uniform(generator, distribution))
            drawn = self.trace(trial, input_shape, num_classes)
            if drawn.key in found:
                repeats += 1
                continue
            found[drawn.key] = drawn
            valid, repeats = valid + (drawn.error is None), 0
            barren = 0 if drawn.error is None else barren + 1
        if not valid:
            first = next((a.error for a in found.values()), "nothing was drawn")
            raise UserError(f"{self.name}: no architecture can be built; the first: {first}")
        return list(found.values())

    def enumerate(
        self, input_shape: tuple[int, int, int], num_classes: int
    ) -> Iterator[Architecture]:
        """Every architecture once, valid or not, in the order of the choices.

        Raises:
            UserError: a parameter is continuous.
        """
        path: list[int] = []
        seen: set[str] = set()
        while True:
            taken: list[tuple[int, int]] = []  # (number of the choice, how many there were)

            def choose(name: str, distribution: BaseDistribution) -> Any:
                values = _values(name, distribution)
                number = path[len(taken)] if len(taken) < len(path) else 0
                taken.append((number, len(values)))
                return values[number]

            drawn = self.trace(_ScriptedTrial(choose), input_shape, num_classes)
            if drawn.key not in seen:
                seen.add(drawn.key)
                yield dataclasses.replace(drawn, drawn="all")
            while taken and taken[-1][0] + 1 == taken[-1][1]:
                taken.pop()
            if not taken:
                return
            path = [number for number, _ in taken]
            path[-1] += 1


class _ScriptedTrial(optuna.trial.FixedTrial):
    """A trial whose every parameter is chosen by a function of its name and distribution."""

    def __init__(self, choose: Callable[[str, BaseDistribution], Any]) -> None:
        super().__init__({})
        self._choose = choose
        self._chosen: dict[str, tuple[Any, BaseDistribution]] = {}

    def _take(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._chosen:
            self._chosen[name] = self._choose(name, distribution), distribution
        return self._chosen[name][0]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if not all(c is None or isinstance(c, bool | int | float | str) for c in choices):
            raise UserError(f"{name}: expected choices of text, numbers or None, got {choices}")
        return self._take(name, CategoricalDistribution(choices))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return int(self._take(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._take(name, FloatDistribution(low, high, log=log, step=step)))

    @property
    def params(self) -> dict[str, Any]:
        return {name: value for name, (value, _) in self._chosen.items()}

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {name: distribution for name, (_, distribution) in self._chosen.items()}


def _values(name: str, distribution: BaseDistribution) -> Sequence[Any]:
    """All values of a parameter.

    Raises:
        UserError: it is continuous.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        count = round((distribution.high - distribution.low) / distribution.step) + 1
        return [
            min(distribution.low + i * distribution.step, distribution.high) for i in range(count)
        ]
    raise UserError(f"parameter {name} is continuous: the space can't be enumerated; draw from it")


def _uniform(generator: np.random.Generator, distribution: BaseDistribution) -> Any:
    """Draw one value: uniformly, or log-uniformly where the distribution says so."""
    if not getattr(distribution, "log", False) and getattr(distribution, "step", 1) is not None:
        values = _values("", distribution)
        return values[int(generator.integers(len(values)))]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if not distribution.log:
        return float(generator.uniform(distribution.low, distribution.high))
    if isinstance(distribution, FloatDistribution):
        return float(np.exp(generator.uniform(*np.log((distribution.low, distribution.high)))))
    # each integer holds the stretch half below and half above it, as in Optuna
    ends = np.log((distribution.low - 0.5, distribution.high + 0.5))
    value = round(float(np.exp(generator.uniform(*ends))))
    return min(max(value, distribution.low), distribution.high)


def _stored(params: Mapping[str, Any], name: str, distribution: BaseDistribution) -> Any:
    """The stored value of a parameter.

    Raises:
        UserError: it is missing or outside the space.
    """
    if name not in params:
        raise UserError(f"parameter {name} is missing (given: {', '.join(params) or 'none'})")
    try:
        inside = distribution._contains(distribution.to_internal_repr(params[name]))
    except (ValueError, TypeError):
        inside = False
    if not inside:
        raise UserError(f"{name}={params[name]!r} is outside the space: {distribution}")
    return params[name]


def plain_key(params: Mapping[str, Any]) -> str:
    """Sorted parameters, such as ``depth=3 width=64``."""
    return " ".join(f"{name}={params[name]}" for name in sorted(params))


def drawing(name: str | None, params: Mapping[str, Any]) -> str | None:
    """The SVG of an architecture, where its space is one of ours and has a `draw`.

    The name may come from somebody else's study: no file of theirs is loaded and run.
    """
    name = (name or "").partition(":")[0]
    if not params or name not in builtin_spaces():
        return None
    draw = getattr(load_space(name).module, "draw", None)
    try:
        return None if draw is None else str(draw(dict(params)))
    except (KeyError, ValueError):  # parameters of another version
        return None


def load_space(name: str) -> Space:
    """Load a search space. It is Python code and runs: load only what you trust.

    Args:
        name: of a file in `search_spaces` (``convnet``), of an installed package's entry point,
            a file path (``./my_space.py``) or a module path (``my_package.my_space``); with
            options of its `build` as in ``nasbench201:C=8,N=1``.

    Raises:
        UserError: nothing is found there, it fails to import, or it has no `build`.
    """
    spec, (name, options) = name, parse_spec(name)
    try:
        module = _import(name)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"search space {name!r} fails to import: {reason(error)}") from error
    if not callable(getattr(module, "build", None)):
        raise UserError(
            f"search space {name!r} has no function build(trial, input_shape, num_classes)"
        )
    path = Path(str(getattr(module, "__file__", None)))
    if not path.is_file():
        raise UserError(f"search space {name!r} has no file")
    known = list(inspect.signature(module.build).parameters)[3:]
    for option in options:
        if option not in known:
            raise UserError(
                f"search space {name!r} has no option {option!r}{nearest(option, known)}"
            )
    return Space(spec, path, _digest(module, path), module, options)


def _load_the_same(name: str, sha256: str) -> Space:
    """A space that another process has loaded.

    Raises:
        UserError: it can't be loaded here, or is another here, or by now.
    """
    space = load_space(name)
    if space.sha256 != sha256:
        raise UserError(
            f"search space {name!r}: expected the file of digest {sha256}, got {space.sha256}; "
            "it must stay as it is, and be the same on every machine"
        )
    return space


def _digest(module: ModuleType, path: Path) -> str:
    """SHA-256 of the file and, in order of name, of its neighbours that it imports."""
    values = [value for value in vars(module).values() if isinstance(value, ModuleType)]
    files = {Path(str(value.__file__)) for value in values if getattr(value, "__file__", None)}
    beside = sorted(file for file in files if file.parent == path.parent)
    digest = hashlib.sha256(path.read_bytes())
    for file in beside:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _is_path(name: str) -> bool:
    return name.endswith(".py") or os.sep in name


def _import(name: str) -> ModuleType:
    if _is_path(name):
        return _import_file(Path(name).expanduser())
    if name in builtin_spaces():
        return importlib.import_module(f"search_spaces.{name}")
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name == name:
            module = entry.load()
            assert isinstance(module, ModuleType)
            return module
    if "." in name and _find_module(name):
        return importlib.import_module(name)
    raise UserError(
        f"unknown search space {name!r}{nearest(name, space_names())}, "
        "a file path ending in .py or a module path"
    )


def _find_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"no such search space file: {path}")
    name = f"nasproxy_space_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # classes defined there can be pickled
    spec.loader.exec_module(module)
    return module


def builtin_spaces() -> list[str]:
    """Names of the files in `search_spaces`."""
    import search_spaces

    folder = Path(str(search_spaces.__file__)).parent
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


def space_names() -> list[str]:
    """Names that `load_space` takes, those of installed packages too."""
    entries = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return sorted({*builtin_spaces(), *(entry.name for entry in entries)})


def copy_space(name: str, path: str | Path) -> None:
    """Copy a space's file, to be edited: the supported way to change one.

    Raises:
        UserError: the space is unknown, or something is at `path` already.
    """
    source, path = load_space(name).path, Path(path)
    if path.exists():
        raise UserError(f"{path} is there already; give another name")
    write_text(path, source.read_text(encoding="utf-8"))
