"""Names with options, as they are written on the command line: ``full:epochs=2,lr=0.1``."""

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from nasproxy.errors import UserError

_NOTHING = object()  # no value is equal to it


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split ``name:key=value,key=value``; values are read as JSON where they can be.

    A list is written as in ``convnet:widths=[16,32]``.

    Raises:
        UserError: an option is not of the form key=value.
    """
    name, _, rest = spec.partition(":")
    options = {}
    for part in filter(None, re.split(r",(?![^\[]*\])", rest)):  # not at the commas of a list
        key, equals, text = part.partition("=")
        if not equals or not key:
            raise UserError(f"expected {name}:option=value,..., got {spec!r}")
        try:
            options[key.strip()] = json.loads(text)
        except ValueError:
            options[key.strip()] = text
    return name, options


def command_line(command: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The command with these options; what has its default is left out, inside a dataclass too."""
    words = ["nasproxy", command]
    for name, value in _flat(options, defaults).items():
        flag = "--" + name.replace("_", "-")
        if value is True and "." not in name:
            words += [flag]
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [flag, _as_word(one)]
    return shlex.join(words)


def _flat(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the defaults, with ``name.field`` for each field of a dataclass."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        default = defaults.get(name, _NOTHING)
        if dataclasses.is_dataclass(value):
            value = vars(value)
        if isinstance(value, Mapping):
            inner = vars(default) if dataclasses.is_dataclass(default) else {}
            found |= {f"{name}.{k}": v for k, v in _flat(value, inner).items()}
        elif value != default:
            found[name] = value
    return found


def _as_word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)
