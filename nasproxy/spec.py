"""Names with options, as they are written on the command line: ``full:epochs=2,lr=0.1``."""

import dataclasses
import json
import re
import shlex
from typing import Any

from nasproxy.errors import UserError


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


def command_line(command: str, options: Any) -> str:
    """The command with these options, a dataclass; what has its default is left out."""
    words = ["nasproxy", command]
    for name, value in _changed(options).items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words += [flag]
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [flag, str(one)]
    return shlex.join(words)


def _changed(options: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value, default = getattr(options, field.name), field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if value == default:
            continue
        if dataclasses.is_dataclass(value):
            inner = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
            found |= {f"{field.name}.{k}": v for k, v in inner if v != getattr(default, k)}
        else:
            found[field.name] = value
    return found
