"""Progress with time left, on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
from typing import Any

from tqdm import tqdm

_LINE_EVERY = 10.0  # seconds between lines where there is no terminal to redraw a bar on


class _LineProgress(tqdm):
    disable: bool

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        print(msg or str(self), file=sys.stderr, flush=True)
        return True

    def close(self) -> None:
        if not self.disable:
            self.disable = True  # no last line: the caller says what came of it


def progress(label: str, total: int, done: int = 0, show: bool = True) -> Any:
    """A tqdm bar to `update(n)`; `done` of `total` are finished already."""
    bar = tqdm if sys.stderr.isatty() else _LineProgress
    every = 0.2 if sys.stderr.isatty() else _LINE_EVERY
    return bar(
        desc=label,
        total=total,
        initial=done,
        disable=not show,
        mininterval=every,
        miniters=1,
        delay=0.0 if sys.stderr.isatty() else _LINE_EVERY,
        dynamic_ncols=True,
    )
