"""The only door to search spaces: find, load, copy, rebuild, draw and enumerate architectures."""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from torch import nn

from nasproxy.errors import BrokenArchitecture, UserError, nearest, reason
from nasproxy.spaces.code import Code, Home, builtin_spaces, importing, is_path, load_code
from nasproxy.spaces.draw import check_alike, every_trial, stored_trial, uniform_trial
from nasproxy.spaces.network import materialise
from nasproxy.spaces.size import count_flops, count_params
from nasproxy.system.files import write_text
from nasproxy.system.machine import contained
from nasproxy.system.spelling import parse_spec
from nasproxy.workers.task import Candidate

_BARREN = 2000  # invalid draws in a row after which a space is taken to hold no more valid ones
_Distributions = Mapping[str, BaseDistribution] | None


@dataclass(frozen=True)
class Architecture:
    """A point of a space: its parameters, or why it can't be built.

    Attributes:
        choices: what `build` suggested, by name.
        distributions: where each came from.
        key: the readable name on which studies are joined.
        error: why `build` refused it, else None.
        drawn: ``uniform``, ``all`` (the whole space), ``given`` (by hand), or the sampler that
            steered to it.
    """

    choices: dict[str, Any]
    distributions: dict[str, BaseDistribution] = field(repr=False)
    key: str
    error: str | None = None
    drawn: str = "given"


@dataclass(frozen=True)
class Space:
    """A search space for images of one shape.

    Attributes:
        name: what it was loaded by.
        path: its source file.
        sha256: of that file and of those of its author that it imports, 16 hex digits.
        code_sha256: of what of them builds networks: neither comments, docstrings and formatting
            nor `proxy_recipe` change it.
        options: more arguments of its `build`, such as a number of channels.
        max_params, max_flops: architectures above count as invalid; None is no limit.
        home: where its code runs.
    """

    name: str
    path: Path
    sha256: str
    code_sha256: str = field(repr=False)
    module: ModuleType = field(repr=False)
    options: dict[str, Any] = field(default_factory=dict)
    max_params: float | None = None
    max_flops: float | None = None
    home: Home = field(default_factory=Home, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, most in (("max_params", self.max_params), ("max_flops", self.max_flops)):
            if most is not None and not most > 0:
                raise UserError(f"expected {name} above 0, got {most}")

    def __reduce__(self) -> tuple[Callable[..., "Space"], tuple[str, str]]:
        # modules don't travel; the other side loads it anew
        return _load_the_same, (self.locator, self.sha256)

    @property
    def locator(self) -> str:
        """The name, with a file's path made absolute: it loads the space from any folder."""
        name, colon, options = self.name.partition(":")
        return str(self.path.resolve()) + colon + options if is_path(name) else self.name

    @property
    def summary(self) -> str:
        """First line of the file's docstring."""
        return (self.module.__doc__ or "").strip().partition("\n")[0]

    def key(self, params: Mapping[str, Any], distributions: _Distributions = None) -> str:
        """The readable name of an architecture: the space's `describe`, else its parameters.

        Without where they came from, the text "1" has the name of the number.
        """
        if not hasattr(self.module, "describe"):
            return plain_key(params, distributions)
        try:
            with self.home.entered():
                key = self.module.describe(dict(params))
        except (Exception, SystemExit) as error:
            raise UserError(f"{self.name}: describe failed: {reason(error)}") from error
        if not isinstance(key, str) or not key:
            raise UserError(f"{self.name}: expected a name from describe, got {key!r}")
        return key

    def canonical(self, params: Mapping[str, Any], distributions: _Distributions = None) -> str:
        """The space's `canonical` name, shared by architectures that compute the same."""
        if hasattr(self.module, "canonical"):
            with self.home.entered():
                return str(self.module.canonical(dict(params)))
        return self.key(params, distributions)

    def build(
        self, params: Mapping[str, Any], input_shape: tuple[int, int, int], num_classes: int
    ) -> nn.Module:
        """The network of stored parameters; seed torch before for its weights.

        Lazy modules have had images of the input's shape, and are lazy no more.

        Raises:
            UserError: a parameter is missing, unknown or outside the space.
            BrokenArchitecture: the space refuses to build it.
        """
        trial = stored_trial(params)
        try:
            network = materialise(self._build(trial, input_shape, num_classes), input_shape)
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from None
        except (Exception, SystemExit) as error:
            raise BrokenArchitecture(reason(error)) from error
        unknown = set(params) - set(trial.params)
        if unknown:
            raise UserError(f"{self.name}: no such parameter: {', '.join(sorted(unknown))}")
        return network

    def _build(
        self, trial: optuna.trial.BaseTrial, input_shape: tuple[int, int, int], num_classes: int
    ) -> nn.Module:
        with self.home.entered():
            network = self.module.build(trial, input_shape, num_classes, **self.options)
        if not isinstance(network, nn.Module):
            raise BrokenArchitecture(f"build returned {type(network).__name__}, not an nn.Module")
        return network

    def candidate(
        self, architecture: Architecture, input_shape: tuple[int, int, int], num_classes: int
    ) -> Candidate:
        """What a worker is given of an architecture."""
        build = partial(self.build, architecture.choices, input_shape, num_classes)
        return Candidate(architecture.key, build)

    def trace(
        self, trial: optuna.trial.BaseTrial, input_shape: tuple[int, int, int], num_classes: int
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
            return Architecture(params, distributions, plain_key(params, distributions), error)
        return Architecture(params, distributions, self.key(params, distributions))

    def _build_within_limits(
        self, trial: optuna.trial.BaseTrial, input_shape: tuple[int, int, int], num_classes: int
    ) -> None:
        if self.max_params is None and self.max_flops is None and hasattr(self.module, "suggest"):
            with self.home.entered():
                self.module.suggest(trial)  # a space whose every choice is valid may offer this
            return
        network = self._build(trial, input_shape, num_classes)
        if (
            self.max_params is not None
            and (params := count_params(network, input_shape)) > self.max_params
        ):
            raise BrokenArchitecture(f"over budget: {params} parameters")
        if (
            self.max_flops is not None
            and (flops := count_flops(network, input_shape)) > self.max_flops
        ):
            raise BrokenArchitecture(f"over budget: {flops} multiply-accumulates")

    def sample(
        self, count: int, seed: int, input_shape: tuple[int, int, int], num_classes: int
    ) -> list[Architecture]:
        """Draw uniformly, without repeats, until `count` can be built; invalid ones come along.

        The first k of a longer draw are the draw of k. A space that seems to hold fewer gives
        all that were found. In a conditional space each branch is as likely as its siblings.

        Raises:
            UserError: none of those drawn can be built, or one name has two distributions.
        """
        generator = np.random.default_rng(seed)
        found: dict[str, Architecture] = {}
        known: dict[str, BaseDistribution] = {}
        valid, repeats, barren = 0, 0, 0  # barren: draws in a row that could not be built
        while valid < count and repeats < max(100, 10 * len(found)) and barren < _BARREN:
            drawn = self.trace(uniform_trial(generator), input_shape, num_classes)
            drawn = dataclasses.replace(drawn, drawn="uniform")
            check_alike(known, drawn.distributions)
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
            UserError: a parameter is continuous, or has two distributions.
        """
        seen: set[str] = set()
        known: dict[str, BaseDistribution] = {}
        for trial in every_trial():
            drawn = self.trace(trial, input_shape, num_classes)
            check_alike(known, drawn.distributions)
            if drawn.key not in seen:
                seen.add(drawn.key)
                yield dataclasses.replace(drawn, drawn="all")


def plain_key(params: Mapping[str, Any], distributions: _Distributions = None) -> str:
    """Sorted parameters, such as ``depth=3 width=64``; text in quotes where a number is like it."""

    def text(name: str) -> str:
        value, distribution = params[name], (distributions or {}).get(name)
        if isinstance(value, str) and isinstance(distribution, CategoricalDistribution):
            alike = {choice for choice in distribution.choices if str(choice) == value}
            return repr(value) if len(alike) > 1 else value
        return str(value)

    return " ".join(f"{name}={text(name)}" for name in sorted(params))


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
    of_file, _ = parse_spec(name)
    with importing(f"search space {of_file!r}"):
        code = load_code(of_file)
    return made_of(code, name)


def made_of(code: Code, spec: str) -> Space:
    """The space of a module that was loaded for a name with options.

    Raises:
        UserError: it has no `build`, or none with these options.
    """
    (name, options), module = parse_spec(spec), code.module
    if not callable(getattr(module, "build", None)):
        raise UserError(
            f"search space {name!r} has no function build(trial, input_shape, num_classes)"
        )
    known = list(inspect.signature(module.build).parameters)[3:]
    for option in options:
        if option not in known:
            raise UserError(
                f"search space {name!r} has no option {option!r}{nearest(option, known)}"
            )
    digests = code.sources.sha256, code.sources.code_sha256
    return Space(spec, code.path, *digests, module, options, home=code.home)


def as_space(
    space: Space | str, max_params: float | None = None, max_flops: float | None = None
) -> Space:
    """A space itself, or that of a name, as `load_space` takes it.

    A limit that is given takes the place of the space's own; None leaves it.
    """
    loaded = load_space(space) if isinstance(space, str) else space
    limits = {"max_params": max_params, "max_flops": max_flops}
    given: dict[str, Any] = {name: n for name, n in limits.items() if n is not None}
    return dataclasses.replace(loaded, **given) if given else loaded


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


def copy_space(name: str, path: str | Path) -> None:
    """Copy a space's file, to be edited: the supported way to change one.

    Args:
        name: a search space's name.
        path: file to write, such as ./my_space.py.

    Raises:
        UserError: the space is unknown, or something is at `path` already.
    """
    source, path = load_space(name).path, Path(path)
    if path.exists():
        raise UserError(f"{path} is there already; give another name")
    write_text(path, source.read_text(encoding="utf-8"))
