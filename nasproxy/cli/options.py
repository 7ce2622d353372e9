"""The options of a command: the parameters of its functions that can be written as text.

A parameter's type, default and help stand in its function's signature and docstring, and nowhere
else. One that takes an object or its name, such as ``data: Dataset | str``, is a name here; one
that takes objects only is left out; a `Recipe` is an option for each of its fields.
"""

import argparse
import collections.abc
import dataclasses
import functools
import importlib
import inspect
import operator
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasproxy.cli.answer import Answer, answer_of
from nasproxy.system.spelling import command_line

REQUIRED, UNSET = inspect.Parameter.empty, argparse.SUPPRESS  # UNSET: no value if it isn't given


@dataclass(frozen=True)
class Option:
    """An option: its name, with underscores, what it takes, and a line of help.

    Attributes:
        parameter: what its function calls it.
    """

    parameter: str
    type: Any
    default: Any
    help: str
    name: str

    @property
    def is_list(self) -> bool:
        """Whether it may be given several times."""
        return any(typing.get_origin(t) is list for t in (self.type, *typing.get_args(self.type)))

    @property
    def is_recipe(self) -> bool:
        """Whether it is a recipe, whose fields are options."""
        return dataclasses.is_dataclass(self.type)

    @property
    def fields(self) -> "list[Option]":
        """What a recipe is made of; of another type there is nothing."""
        if not self.is_recipe:
            return []
        helps = helps_of(self.type)
        return [
            Option(k, hint, getattr(self.default, k, UNSET), helps.get(k, ""), f"{self.name}.{k}")
            for k, hint in typing.get_type_hints(self.type).items()
        ]


_LOG = "file to which progress is appended, every ten seconds."
_ROOT = "folder of the data sets that torchvision downloads."
JSON = Option("json", bool, False, "put one JSON document on stdout.", "json")
QUIET = Option("quiet", bool, False, "show no progress.", "quiet")
LOG = Option("log", str | None, None, _LOG, "log")
_SIZE = "side in pixels to which image files are brought; by default their own."
_FLIP = "whether a mirror image keeps its class; by default the data set's name decides."
_SPLITS = "whether folders named like train, val and test are splits, and no classes."


@functools.cache
def of_data() -> tuple[Option, ...]:
    """Of each command that takes the name of a data set."""
    from nasproxy.data.named import DEFAULT_ROOT

    return (
        Option("root", str, DEFAULT_ROOT, _ROOT, "root"),
        Option("image_size", int | None, None, _SIZE, "image_size"),
        Option("flip", bool | None, None, _FLIP, "flip"),
        Option("splits", bool, True, _SPLITS, "splits"),
    )


def _found(named: Any) -> Any:
    """What ``module:name`` names; what is no text is itself."""
    if not isinstance(named, str):
        return named
    module, _, name = named.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Command:
    """A command, its options made from its functions.

    Functions are given as ``module:name``, to be imported when the command is called.

    Attributes:
        summary: a line of help.
        function: whose parameters are options.
        handler: what the command does instead of calling the function and showing its result. It
            has the function's options as keywords; its own named parameters are the options that
            Python has no use for.
        defaults: by parameter, where they differ from the function's.
        names: of options that are called otherwise than their parameters.
        positional: parameters that are given by position.
        without: parameters that the command line has no use for.
        by_choice: dataclasses whose fields are options too, by the choice that each belongs to.
    """

    summary: str
    function: str | Callable[..., Any] | None = None
    handler: str | Callable[..., Any] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    positional: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    by_choice: str | Mapping[str, Any] | None = None

    def run(self, **given: Any) -> Answer:
        """Do it, with arguments by parameter."""
        if self.handler is None:
            return answer_of(_found(self.function)(**given))
        answer: Answer = _found(self.handler)(**given)
        return answer

    @functools.cached_property
    def shows_progress(self) -> bool:
        """Whether its function takes `progress`, which is --quiet here, the other way round."""
        function = _found(self.function)
        return function is not None and "progress" in inspect.signature(function).parameters

    @functools.cached_property
    def options(self) -> list[Option]:
        """The function's, the handler's, and those that many commands have."""
        functions = filter(None, (self.function, self.handler))
        found = [option for function in functions for option in self._of(_found(function))]
        found += _of_choices(_found(self.by_choice) or {})
        there = {option.parameter for option in found}
        if self.shows_progress:
            found += [QUIET, LOG]
        if "data" in there:
            found += [option for option in of_data() if option.parameter not in there]
        return [*found, JSON]

    def _of(self, function: Callable[..., Any]) -> Iterator[Option]:
        hints, helps = typing.get_type_hints(function), helps_of(function)
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD or name in ("progress", *self.without):
                continue
            default = self.defaults.get(name, parameter.default)
            type = _as_text(hints[name], optional=default is None)
            if type is None:
                continue
            option = Option(name, type, default, helps.get(name, ""), self.names.get(name, name))
            if option.is_recipe and default is None:
                option = dataclasses.replace(option, default=UNSET)
            yield option

    def line(self, name: str, given: Mapping[str, Any]) -> str:
        """This command under its name with such values by parameter, as it is typed."""
        options = {o.parameter: o for o in self.options}
        values = {options[k].name: value for k, value in given.items()}
        return command_line(name, values, {o.name: o.default for o in self.options})


def helps_of(described: Any) -> dict[str, str]:
    """Help of each parameter or field, from ``Args`` or ``Attributes`` of the docstring."""
    text = re.split(r"\n(?:Args|Attributes):", inspect.getdoc(described) or "")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text[-1], re.MULTILINE)
    return {name: " ".join(help.replace("`", "").split()) for name, help in found}


def _as_text(hint: Any, optional: bool = False) -> Any:
    """What of a type can be written as text; None if nothing can."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    members = typing.get_args(hint) if union else (hint,)
    kept = [m for m in members if m in (str, int, float, bool)]
    kept += [m for m in members if typing.get_origin(m) is typing.Literal]
    if not kept and Path in members:
        kept = [str]
    recipes = [m for m in members if getattr(m, "__name__", "") == "Recipe"]
    if not kept and recipes:
        return recipes[0]
    origins = (list, collections.abc.Sequence)
    lists = [m for m in members if typing.get_origin(m) in origins]
    inner = [_as_text(typing.get_args(m)[0]) for m in lists]
    kept = [list[t] for t in inner if t is not None] + kept  # type: ignore[valid-type]
    if kept and optional:
        kept.append(types.NoneType)
    return functools.reduce(operator.or_, kept) if kept else None


def _of_choices(choices: Mapping[str, Any]) -> Iterator[Option]:
    """Fields of several dataclasses, each once, with the help and defaults of all."""
    for name in dict.fromkeys(f.name for c in choices.values() for f in dataclasses.fields(c)):
        having = {k: c for k, c in choices.items() if name in c.__dataclass_fields__}
        bases = {k: [b for b in c.__mro__ if name in helps_of(b)] for k, c in having.items()}
        help = _by_value({k: helps_of(these[0])[name] for k, these in bases.items() if these})
        defaults = {k: getattr(c, name) for k, c in having.items()}
        default = _by_value({k: v for k, v in defaults.items() if v is not None})
        hints = typing.get_type_hints(next(iter(having.values())))
        type = _as_text(hints[name]) | None
        yield Option(name, type, UNSET, f"{help} (by default {default})" if default else help, name)


def _by_value(values: Mapping[str, Any]) -> str:
    """The one value that all have, or each with who has it: ``a, b: 2; c: 3``."""
    names: dict[Any, list[str]] = {}
    for name, value in values.items():
        names.setdefault(value, []).append(name)
    if len(names) == 1:
        return str(*names)
    return "; ".join(f"{', '.join(n)}: {str(v).rstrip('.')}" for v, n in names.items())
