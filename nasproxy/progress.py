"""Progress with rate and time left: bars on a terminal, lines in a log file, else silence."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nasproxy.errors import UserError, reason

_LOG = logging.getLogger("nasproxy")
_LINE_EVERY = 10.0  # seconds between lines of one bar in the log


class _Bar(tqdm):
    """A bar that is drawn if it is `visible`, and that leaves a line in the log now and then."""

    def __init__(self, *args: Any, visible: bool, **more: Any) -> None:
        self._visible, self._logged = visible, time.monotonic()
        super().__init__(*args, **more)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if time.monotonic() - self._logged >= _LINE_EVERY:
            self._logged = time.monotonic()
            _LOG.info(str(self))
        return super().display(msg, pos) if self._visible else True

    def close(self) -> None:
        if self._visible:
            super().close()
        else:
            self.disable = True


def progress(label: str, total: int, done: int = 0, show: bool = True) -> Any:
    """A bar to `update(n)`; `done` of `total` are finished already. One inside another nests."""
    visible = show and sys.stderr.isatty()
    return _Bar(
        desc=label,
        total=total,
        initial=done,
        visible=visible,
        disable=not (visible or _LOG.hasHandlers()),
        mininterval=0.2 if visible else _LINE_EVERY,
        miniters=1,
        dynamic_ncols=True,
        leave=None,  # only the outermost stays on the screen when it is done
    )


def say(text: str, show: bool = True) -> None:
    """A line on stderr, above the bars that are there, and in the log."""
    _LOG.info(text)
    if show:
        tqdm.write(text, file=sys.stderr)


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk stops the log, and nothing else."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logged_to(path: Path | str | None) -> Iterator[None]:
    """Append what is said, and progress every ten seconds, to a file; None is no file.

    Raises:
        UserError: it can't be written to.
    """
    if path is None:
        yield
        return
    try:
        handler = _File(path, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    try:
        yield
    except BaseException as error:
        _LOG.error(f"ended by {reason(error)}")
        raise
    finally:
        _LOG.removeHandler(handler)
        handler.close()
