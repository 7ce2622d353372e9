"""What a command puts on stdout."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A JSON document, or the same in words."""

    document: Any
    text: str


def answer_of(result: Any) -> Answer:
    """Whatever says itself, in words and as JSON values."""
    return Answer(result.to_dict(), str(result))
