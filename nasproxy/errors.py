"""The one exception that a user of the command line may see, and how it names alternatives."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: one line that says what was expected, what came and what to do."""


class NotKept(UserError):
    """A trained network that can't be written to disk: not the architecture's doing."""


class BrokenArchitecture(RuntimeError):
    """An architecture that can't be built, run or trained; the message is the recorded reason."""


class NotInTable(BrokenArchitecture):
    """An architecture that a table has no number for; it may still be a good one."""


def nearest(name: str, known: Iterable[str]) -> str:
    """End of a message about an unknown name: the closest known one, then all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"{meant} (known: {', '.join(known)})" if known else meant


def one_line(text: str) -> str:
    """Text in one line, whatever a terminal would take for a command made visible."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in " ".join(text.split())
    )


def reason(error: BaseException) -> str:
    """An exception in one short line, fit for a trial's attribute."""
    text = " ".join(str(error).split())
    if isinstance(error, BrokenArchitecture):
        return text[:300]
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
