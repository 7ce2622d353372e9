"""Where scores are computed: in this process, or in worker processes that may die."""

import contextlib
import faulthandler
import hashlib
import pickle
import shutil
import signal
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any

import cloudpickle
import loky
import torch

from nasproxy.errors import UserError, reason
from nasproxy.estimators.base import Candidate, Estimator, Scores
from nasproxy.files import scratch_folder
from nasproxy.runtime import (
    contained,
    cores,
    hardware,
    keep_memory,
    pick_device,
    seeded,
    share,
    threads,
)

ATTEMPTS = 3  # times that an architecture is tried whose worker died
DIED = f"its worker died {ATTEMPTS} times"
# of every library in a worker, numpy's included: a worker is one thread, and there is one a core
ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "VECLIB", "NUMEXPR")
}
_GRACE = 5.0  # seconds that code has to end after its time is up
Outcome = Scores | str  # scores, or why there are none


def check_limits(jobs: int | None, timeout: float | None) -> None:
    """Refuse what no machine could do.

    Raises:
        UserError: so many processes that they would only wait for each other, or no time at all.
    """
    if timeout is not None and not 0 < timeout < threading.TIMEOUT_MAX:
        raise UserError(f"expected a timeout above 0 seconds, got {timeout}")
    if jobs is not None and not 1 <= jobs <= 8 * max(cores(), 8):
        raise UserError(f"expected jobs from 1 to {8 * max(cores(), 8)}, got {jobs}")


class Workers:
    """Scores (estimator, candidate, seed) in `jobs` processes of one thread each.

    One thread a network: on small networks two processes of one thread do far more than one
    process of two, and the bytes don't depend on the number of jobs.

    Args:
        jobs: processes; with 1 and no timeout all happens in this one. None is one a core, or one
            a GPU.
        device: where the networks will be; with several GPUs and none named, processes take them
            in turn.
        timeout: seconds after which a score is given up; None is never.
    """

    def __init__(
        self, jobs: int | None = None, device: str = "auto", timeout: float | None = None
    ) -> None:
        check_limits(jobs, timeout)
        self._device = pick_device(device)
        self._jobs = jobs or _one_each(self._device, torch.cuda.device_count())
        self.timeout = timeout
        self._pool: Any = None
        self._folder: Path | None = None
        self._published: dict[int, tuple[Estimator, Path]] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop(kill=kind is not None)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def jobs(self) -> int:
        """How many scores can be computed at a time."""
        return self._jobs

    def place(self, device: str) -> torch.device:
        """The device of a name, where the networks will be.

        Raises:
            UserError: it is not there.
        """
        return pick_device(device)

    def hardware(self, device: torch.device) -> str:
        """The machine in words."""
        return hardware(device)

    @property
    def folder(self) -> Path:
        """A folder that only this user reads, and that goes when the workers go."""
        if self._folder is None:
            self._folder = scratch_folder()
        return self._folder

    def submit(self, estimator: Estimator, candidate: Candidate, seed: int) -> "Future[Outcome]":
        """Start scoring; the future's exception is a worker's death, or a `UserError`."""
        if self.jobs == 1 and self.timeout is None:
            future: Future[Outcome] = Future()
            keep_memory()
            with threads(1):
                future.set_result(score(estimator, candidate, seed))
            return future
        task = partial(
            score_published,
            self._publish(estimator),
            cloudpickle.dumps(candidate),
            seed,
            None if self.timeout is None else (self.timeout, self._mark(candidate.key, seed)),
        )
        for _ in range(2):
            try:
                return self._running_pool().submit(task)
            except (BrokenProcessPool, RuntimeError):  # died since: start others
                self._stop(kill=True)
        return self._running_pool().submit(task)

    def wait(self, futures: "Collection[Future[Outcome]]") -> "set[Future[Outcome]]":
        """Those that are done, once one is; perhaps none, when `jobs` has grown."""
        return wait(futures, return_when=FIRST_COMPLETED).done

    def overran(self, key: str, seed: int) -> str | None:
        """Why a worker was ended, if it was because this architecture took too long."""
        return None if self.timeout is None else overran(self.timeout, self._mark(key, seed))

    def _mark(self, key: str, seed: int) -> Path:
        """Where a worker writes where it was when its time was up."""
        name = hashlib.sha256(f"{key}\n{seed}".encode()).hexdigest()[:32]
        return self.folder / f"{name}.late"

    def _running_pool(self) -> Any:
        if self._pool is None:
            given = self._device, self.folder
            self._pool = loky.ProcessPoolExecutor(
                self.jobs, initializer=_prepare_next, initargs=given, env=ONE_THREAD
            )
        return self._pool

    def _publish(self, estimator: Estimator) -> Path:
        """Leave the estimator, with its images, where each worker reads it once.

        The pickle goes from this process to its own children, in a folder only this user reads.
        """
        if id(estimator) not in self._published:
            pickled = cloudpickle.dumps(estimator)
            path = self.folder / f"{hashlib.sha256(pickled).hexdigest()}.pickle"
            path.write_bytes(pickled)
            self._published[id(estimator)] = estimator, path  # kept: its id stays taken
        return self._published[id(estimator)][1]

    def _stop(self, kill: bool) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=not kill, kill_workers=kill)
            self._pool = None


def _one_each(device: torch.device, gpus: int) -> int:
    """Processes that fill this machine: one a core, one a GPU, or one on the GPU that was named."""
    if device.type != "cuda":
        return cores()
    return 1 if device.index is not None else max(1, gpus)


def _prepare_next(device: torch.device, folder: Path) -> None:
    """Prepare a process; its number is the first that none took before, as `folder` shows."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the driver to act on
    number = 0
    while True:
        try:
            (folder / f"{number}.worker").touch(exist_ok=False)
            break
        except FileExistsError:
            number += 1
    prepare(device, number)


def prepare(device: torch.device, number: int) -> None:
    """Let this process, the `number`th on its machine, score networks on its share of a device."""
    torch.set_num_threads(1)
    keep_memory()
    if device.type == "cuda":
        torch.cuda.set_device(share(device, number, torch.cuda.device_count()))


@lru_cache(maxsize=4)
def _read_published(path: Path) -> Estimator:
    estimator: Estimator = pickle.loads(path.read_bytes())
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


def score(estimator: Estimator, candidate: Candidate, seed: int) -> Outcome:
    """Whatever a user's network does wrong is a reason to record, not the end of the study."""
    try:
        with contained(), seeded(seed):  # a network may draw when it is evaluated, too
            return estimator(candidate, seed)
    except (Exception, SystemExit) as error:
        return reason(error)


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


def overran(seconds: float, mark: Path) -> str | None:
    """Why a process was ended, if its mark says that its time was up."""
    return _late(seconds) if mark.is_file() and mark.stat().st_size else None


def _late(seconds: float) -> str:
    return f"not done within {seconds:g} seconds"
