"""What there is to choose from, and to copy."""

from collections.abc import Callable
from typing import Any

from nasproxy.cli.answer import Answer
from nasproxy.data.names import DATASETS
from nasproxy.errors import UserError
from nasproxy.estimators.names import ESTIMATORS
from nasproxy.proxies.names import METHODS
from nasproxy.spaces.code import space_summaries


def on_list(what: str) -> Answer:
    """Name what can be chosen from.

    Args:
        what: spaces, datasets, methods or estimators.
    """
    listings: dict[str, Callable[[], dict[str, str]]] = {
        "spaces": space_summaries,
        "datasets": lambda: DATASETS,
        "methods": lambda: METHODS,
        "estimators": lambda: ESTIMATORS,
    }
    if what not in listings:
        raise UserError(f"expected one of {', '.join(listings)}, got {what!r}")
    found = listings[what]()
    lines = [f"{name:<20} {summary}".rstrip() for name, summary in found.items()]
    return Answer({what: found}, "\n".join(lines))


def on_copy(**given: Any) -> Answer:
    """Copy a search space's file, to be edited and used as your own."""
    from nasproxy.spaces.space import copy_space  # what lists needs no torch

    copy_space(**given)
    path = given["path"]
    return Answer({"out": path}, f"{path}: edit it and use --space {path}")
