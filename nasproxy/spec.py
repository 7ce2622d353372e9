"""Names with options, as they are written on the command line: ``full:epochs=2,lr=0.1``."""

import json
import re
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
