"""Progress with rate and time left: bars on a terminal, lines in a log file, else silence.

But for one line where the work will take long, wherever stderr goes.
"""

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nasproxy.errors import UserError, reason

_LOG = logging.getLogger("nasproxy")
_LINE_EVERY = 10.0  # seconds between lines of one bar in the log
_LONG = 300.0  # seconds of work left that are worth a line
_WARM, _COLD = 20.0, 120.0  # seconds to measure for, behind the first round and in it


@dataclass(frozen=True)
class Forecast:
    """How the time is measured that the work of a bar will take, to be said once if it is long.

    Pieces that are worked on at the same time make a round, since they may end together: only whole
    rounds are measured. The first has the start of processes and the like in it, and is left out,
    unless it is long itself.

    Attributes:
        option: of the command, that asks for fewer pieces, such as ``--steps``; empty if none does.
        at_once: how many pieces are worked on at a time; asked when the first is done.
        few: rounds that must be measured; pieces that differ much, or are short, take more than
            one.
        but: what else is to be known of the forecast, in words.
    """

    option: str
    at_once: Callable[[], int] = lambda: 1
    few: int = 1
    but: str = ""


class _Clock:
    """Measures a bar's work by a forecast."""

    def __init__(self, how: Forecast) -> None:
        self._how, self._began = how, time.monotonic()
        self._at_once = self._done = 0
        self._summed = 0.0  # seconds to the end of each piece of the first round
        self._warm = math.nan  # when the first round was over

    def one_more(self) -> float | None:
        """Seconds that a piece takes, now that one more is done; None as long as it is unknown."""
        self._at_once = self._at_once or max(1, self._how.at_once())
        self._done += 1
        now, rest = time.monotonic(), self._done % self._at_once
        rounds = self._done // self._at_once
        if not rounds or (rounds == 1 and not rest):
            self._summed += now - self._began
        if rest:
            return None
        if rounds == 1:
            self._warm, mean = now, self._summed / self._at_once
            return mean / self._at_once if mean >= _COLD and self._how.few == 1 else None
        seconds = now - self._warm
        if rounds <= self._how.few or seconds < _WARM:
            return None
        return seconds / (self._done - self._at_once)


class _Bar(tqdm):
    """A bar that is drawn if it is `visible`, and that leaves a line in the log now and then."""

    def __init__(
        self, *args: Any, visible: bool, forecast: Forecast | None, show: bool, **more: Any
    ) -> None:
        self._visible, self._logged = visible, time.monotonic()
        self._label, self._forecast, self._show = more["desc"], forecast, show
        self._clock = None if forecast is None else _Clock(forecast)
        super().__init__(*args, **more)

    def update(self, n: float | None = 1) -> bool | None:
        drawn = super().update(n)
        if self.disable:  # who asks how many are done shall know
            self.n += n or 0
        if self._clock is not None and n == 1:  # several at once were done before, or by others
            each = self._clock.one_more()
            if each is not None:
                self._clock = None
                self._foresee(each)
        return drawn

    def _foresee(self, each: float) -> None:
        """Say how long it will take, if that is long."""
        assert self._forecast is not None
        left, fewer = each * (self.total - self.n), self.total // 3
        if left < _LONG:
            return
        text = f"{self._label}: about {duration(left)} left{self._forecast.but}"
        if self._forecast.option and fewer > self.n:
            text += f"; {self._forecast.option} {fewer} would take {duration(each * fewer)} in all"
        say(text, self._show)

    def clear(self, nolock: bool = False) -> None:
        if self._visible:  # else there is nothing on the screen to be wiped
            super().clear(nolock=nolock)

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


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them, such as ``40 min`` or ``2.5 h``."""
    if seconds < 100 * 60:
        return f"{max(1, round(seconds / 60))} min"
    hours = seconds / 3600
    return f"{hours:.2g} h" if hours < 48 else f"{hours / 24:.2g} days"


def progress(
    label: str, total: int, done: int = 0, show: bool = True, forecast: Forecast | None = None
) -> Any:
    """A bar to `update(n)`; `done` of `total` are finished already. One inside another nests.

    With a `forecast`, work that will take long is said to, once.
    """
    visible = show and sys.stderr.isatty()
    return _Bar(
        desc=label,
        total=total,
        initial=done,
        visible=visible,
        forecast=forecast,
        show=show,
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


@cache
def say_once(text: str) -> None:
    """`say`, but each text once in a process."""
    say(text)


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
