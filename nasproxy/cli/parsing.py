"""From the words of a command line, and the files it names, to the arguments of a command."""

import argparse
import contextlib
import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import jsonargparse
import yaml

from nasproxy.cli.commands import COMMANDS
from nasproxy.cli.options import REQUIRED, UNSET, Command, Option
from nasproxy.errors import UserError, reason

_ALL = "all"


def parse(given: Sequence[str]) -> tuple[Command, dict[str, Any]]:
    """A command, and its arguments by parameter; a recipe by default is a mapping of what is given.

    Raises:
        UserError: they are not what was expected, in whatever way.
    """
    words = [part for word in given for part in word.split("=", 1)]
    configs = [path for option, path in itertools.pairwise(words) if option == "--config"]
    try:
        for path in filter(Path.is_file, map(Path, configs)):
            _check_keys(yaml.compose(path.read_text("utf-8-sig"), yaml.SafeLoader))
        chosen = _parser(_wanted(given)).parse_args(_spelled(given))
        command, found = COMMANDS[chosen.command], vars(chosen[chosen.command])
        options = [option for option in command.options if option.name in found]
        for o in options:  # neither a positional argument nor a list has a default of its own
            own = o.parameter in command.positional or (o.is_list and o.default is not REQUIRED)
            if own and found[o.name] in (None, []):
                found[o.name] = o.default
        return command, {o.parameter: _argument(o, found[o.name]) for o in options}
    except Exception as error:
        known = (UserError, argparse.ArgumentError, jsonargparse.ArgumentError)
        said = str(error) if isinstance(error, known) else reason(error)
        raise UserError(": ".join([*configs, said])) from error


def _wanted(given: Sequence[str]) -> str:
    """The command whose options are needed; all are for shells to complete them."""
    if any(word.startswith("--print") for word in given):
        return _ALL
    return next((word for word in given if word in COMMANDS), "")


def _spelled(given: Sequence[str]) -> list[str]:
    """What the parser calls an option: --real-batch is --real_batch, and a list's grows by +."""
    command = COMMANDS.get(given[0]) if given else None
    lists = {f"--{o.name}" for o in command.options if o.is_list} if command else ()

    def spelled(option: re.Match[str]) -> str:
        name = "--" + option[0][2:].replace("-", "_")
        return name + "+" if name in lists else name

    return [re.sub(r"^--[\w.-]+", spelled, word) for word in given]


@functools.cache
def _parser(wanted: str) -> jsonargparse.ArgumentParser:
    """The parser of all commands, with the options of one alone, since to know them takes time."""
    if find_spec("shtab"):
        with contextlib.suppress(TypeError):  # an older jsonargparse has none
            jsonargparse.set_parsing_settings(add_print_completion_argument=True)
    parser = jsonargparse.ArgumentParser(
        prog="nasproxy",
        description="Rank neural architectures on a condensed data set.",
        version=version("nasproxy"),
        exit_on_error=False,
    )
    commands = parser.add_subcommands(required=True, dest="command")
    for name, command in COMMANDS.items():
        options = command.options if wanted in (name, _ALL) else ()
        commands.add_subcommand(name, _parser_of(command, options), help=command.summary)
    return parser


def _parser_of(command: Command, options: Iterable[Option]) -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(description=command.summary, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with options.")
    for option in options:
        if option.parameter in command.positional:
            parser.add_argument(option.name, help=option.help, **_how_many(option))
        elif option.is_recipe:
            group = parser.add_argument_group(f"{option.name}: {option.help.rstrip('.')}")
            for inner in option.fields:
                _add(group, inner)
        else:
            _add(parser, option)
    return parser


def _how_many(option: Option) -> dict[str, Any]:
    """What a positional argument takes: one word, or several, or none."""
    if option.is_list:
        return {"type": str, "nargs": "+" if option.default is REQUIRED else "*"}
    return {"type": str} if option.default is REQUIRED else {"type": str, "nargs": "?"}


def _add(parser: Any, option: Option) -> None:
    flag, type, default, text = f"--{option.name}", option.type, option.default, option.help
    if type is bool and default is False:
        parser.add_argument(flag, action="store_true", help=text)
        return
    if option.is_list:
        joined = type == list[list[str]]  # names that belong together
        type = list[str] if joined else type
        if default is not REQUIRED:  # what is given takes its place, and is not added to it
            text += f" (by default {default})" if default else ""
            default = []
        text += f" Give it once for each{', as A,B' if joined else ''}."
    must = {"required": True} if default is REQUIRED else {"default": default}
    parser.add_argument(flag, type=type, help=text, **must)


def _argument(option: Option, value: Any) -> Any:
    """What a function is given for a parsed value.

    Raises:
        UserError: it holds NUL, or null where there must be something: the parser takes both.
    """
    if option.is_recipe:
        if not isinstance(value, jsonargparse.Namespace):
            raise UserError(f"expected options of {option.name}, such as epochs, got {value!r}")
        fields = {field.parameter: field for field in option.fields}
        given = {name: _argument(fields[name], one) for name, one in vars(value).items()}
        default = option.type() if option.default is UNSET else option.default
        recipe = replace(default, **given)  # refuses what is out of range
        return given if option.default is UNSET else recipe
    if isinstance(value, str) and value.startswith("~/") and value != option.default:
        from nasproxy.system.files import expanded

        value = str(expanded(value))  # no shell expands --out=~/x
    texts = value if isinstance(value, list) else [value]
    if any(isinstance(text, str) and "\0" in text for text in texts):
        raise UserError(f"expected {option.name} without NUL, got {value!r}")
    if value is None and NoneType not in get_args(option.type):
        raise UserError(f"expected something as {option.name}, got null")
    if option.type == list[list[str]]:
        return [names.split(",") for names in value]
    return value


def _check_keys(node: Any) -> None:
    """Refuse what is given twice: a YAML reader takes the last, and says nothing."""
    if not isinstance(node, yaml.MappingNode):
        return
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"{key} is there twice: expected it once")
    for _, value in node.value:
        _check_keys(value)
