"""What runs in a worker's process: a score, within its time."""

import contextlib
import faulthandler
import pickle
import signal
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from nasproxy.errors import NotInTable, NotKept, reason
from nasproxy.system.machine import contained, keep_memory, seeded, share
from nasproxy.workers.task import Candidate, Failure, Outcome, Scorer

ATTEMPTS = 3  # times that an architecture is tried whose worker died
DIED = Failure(f"its worker died {ATTEMPTS} times")
# of every library in a worker, numpy's included: a worker is one thread, and there is one a core
ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "VECLIB", "NUMEXPR")
}
_GRACE = 5.0  # seconds that code has to end after its time is up


def prepare(device: torch.device, number: int) -> None:
    """Let this process, the `number`th on its machine, score networks on its share of a device."""
    torch.set_num_threads(1)
    keep_memory()
    if device.type == "cuda":
        torch.cuda.set_device(share(device, number, torch.cuda.device_count()))


@lru_cache(maxsize=4)
def _read_published(path: Path) -> Scorer:
    estimator: Scorer = pickle.loads(path.read_bytes())
    return estimator


def score_published(
    path: Path, pickled: bytes, seed: int, limit: tuple[float, Path] | None
) -> Outcome:
    """Score a pickled candidate in a worker, by the estimator that lies at `path`.

    Args:
        path: of its pickle.
        pickled: a `Candidate`.
        seed: of its training.
        limit: seconds that it may take, and the file that says so if the process had to be ended.

    Raises:
        UserError: the search space isn't the one that the driver has.
    """
    estimator = _read_published(path)
    candidate: Candidate = pickle.loads(pickled)
    if limit is None:
        return score(estimator, candidate, seed)
    seconds, mark = limit
    try:
        with _within(seconds, mark):
            return score(estimator, candidate, seed)
    except _TimeUp:
        return _late(seconds)


def score(estimator: Scorer, candidate: Candidate, seed: int) -> Outcome:
    """Whatever a user's network does wrong is a reason to record, not the end of the study.

    Raises:
        NotKept: the network was to be kept, and can't be.
    """
    try:
        with contained(), seeded(seed):  # a network may draw when it is evaluated, too
            return estimator(candidate, seed)
    except NotKept:
        raise
    except NotInTable as error:  # it may still be a good architecture
        return Failure(reason(error), "missing")
    except (Exception, SystemExit) as error:
        return Failure(reason(error))


class _TimeUp(BaseException):
    """Not an Exception, which a network's own code might catch."""


@contextlib.contextmanager
def _within(seconds: float, mark: Path) -> Iterator[None]:
    """Raise `_TimeUp` in the block when its time is up.

    If even that does not end it, because it never comes back to Python, the process ends itself
    and leaves a mark.
    """

    def raise_(signal_number: int, frame: Any) -> None:
        raise _TimeUp

    with mark.open("w") as file:
        faulthandler.dump_traceback_later(seconds + _GRACE, exit=True, file=file)
        before = None
        if hasattr(signal, "SIGALRM"):
            before = signal.signal(signal.SIGALRM, raise_)
            signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            if before is not None:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
            faulthandler.cancel_dump_traceback_later()
            mark.unlink(missing_ok=True)


def overran(seconds: float, mark: Path) -> Failure | None:
    """Why a process was ended, if its mark says that its time was up."""
    return _late(seconds) if mark.is_file() and mark.stat().st_size else None


def _late(seconds: float) -> Failure:
    return Failure(f"not done within {seconds:g} seconds")
