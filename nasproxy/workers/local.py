"""Where scores are computed: in this process, or in worker processes that may die."""

import hashlib
import os
import shutil
import signal
import threading
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import cloudpickle
import loky
import torch

from nasproxy.errors import UserError
from nasproxy.system.files import scratch_folder
from nasproxy.system.machine import cores, hardware, keep_memory, pick_device, threads
from nasproxy.system.memory import available_memory
from nasproxy.system.processes import end_at_once, end_with_parent, hangups_held
from nasproxy.system.progress import say
from nasproxy.workers.scoring import (
    ATTEMPTS,
    DIED,
    ONE_THREAD,
    overran,
    prepare,
    score,
    score_published,
)
from nasproxy.workers.task import Failure, Outcome, Scorer, Task

_USABLE = 0.8  # of the memory that is free: others grow, and what is freed lies in pieces


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
    """Does tasks in `jobs` processes of one thread each.

    One thread a network: on small networks two processes of one thread do far more than one
    process of two, and the bytes don't depend on the number of jobs.

    Args:
        jobs: processes; with 1 and no timeout all happens in this one. None is one a core, or one
            a GPU; `heed_memory` makes the cores' fewer.
        device: where the networks will be; with several GPUs and none named, processes take them
            in turn.
        timeout: seconds after which a score is given up; None is never.
    """

    is_local = True  # whether all share this machine's folders

    def __init__(
        self, jobs: int | None = None, device: str = "auto", timeout: float | None = None
    ) -> None:
        check_limits(jobs, timeout)
        self._device = pick_device(device)
        self._may_be_fewer = jobs is None and self._device.type == "cpu"
        self._jobs = jobs or _one_each(self._device, torch.cuda.device_count())
        self.timeout = timeout
        self._pool: Any = None
        self._folder: Path | None = None
        self._published: dict[int, tuple[Scorer, Path]] = {}

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

    def outcomes(self, tasks: Iterable[Task], ahead: int = 2) -> Iterator[tuple[Task, Outcome]]:
        """Tasks and what came of them, in the order in which they are done.

        When a worker dies, all that was under way is lost. Each of these is then done again by
        itself, since only what dies alone is known to be the cause.

        Args:
            tasks: taken as workers come free.
            ahead: at most how many a job are under way: with 2 the next is ready when one is done.

        Raises:
            UserError: nothing can be scored at all, such as by a space that has changed.
        """
        left, suspects = iter(tasks), deque[Task]()
        running: dict[Future[Outcome], Task] = {}
        deaths: Counter[Task] = Counter()
        while True:
            if suspects and not running:
                start: Iterable[Task] = [suspects.popleft()]
            else:  # one more each, ready when it is done
                room = 0 if suspects else ahead * self.jobs - len(running)
                start = islice(left, max(room, 0))
            for task in start:
                running[self.submit(task)] = task
            if not running:
                return
            alone = len(running) == 1
            for future in self.wait(running):
                task, error = running.pop(future), future.exception()
                if isinstance(error, UserError):
                    raise error
                if error is None:
                    yield task, future.result()
                    continue
                deaths[task] += alone
                if late := self.overran(task):
                    yield task, late
                elif deaths[task] == ATTEMPTS:
                    yield task, DIED
                else:
                    suspects.append(task)

    @property
    def is_number_open(self) -> bool:
        """Whether there may be fewer processes than there are: nobody asked for so many."""
        return self._may_be_fewer and self.is_local and self.jobs > 1

    def heed_memory(self, probe: Task) -> None:
        """Go on with as many processes as there is memory for, and say so if they are fewer.

        Args:
            probe: has the bytes that the largest task's process takes as its score.
        """
        there = available_memory()
        if there is None or not self.is_number_open:
            return
        ((_, outcome),) = self.outcomes([probe])
        if outcome is DIED:
            fit, takes = 1, "more than there is"
        elif isinstance(outcome, Failure) or not outcome["score"] > 0:
            return  # what is wrong will be said when it is scored
        else:
            fit = max(1, int(_USABLE * there / outcome["score"]))
            takes = f"{outcome['score'] / 2**30:.1f} GiB of the {there / 2**30:.1f} GiB that are"
        if fit < self.jobs:
            say(
                f"{fit} of {self.jobs} worker processes: the largest network's training takes "
                f"{takes} free; jobs of your own are not made fewer"
            )
            self._stop(kill=False)
            self._jobs = fit

    def submit(self, task: Task) -> "Future[Outcome]":
        """Start a task; the future's exception is a worker's death, or a `UserError`."""
        if self.jobs == 1 and self.timeout is None:
            future: Future[Outcome] = Future()
            keep_memory()
            with threads(1):
                future.set_result(score(task.scorer, task.candidate, task.seed))
            return future
        call = partial(
            score_published,
            self._publish(task.scorer),
            cloudpickle.dumps(task.candidate),
            task.seed,
            None if self.timeout is None else (self.timeout, self._mark(task)),
        )
        with hangups_held():  # processes start with the first, and heed their driver alone
            for _ in range(2):
                try:
                    return self._running_pool().submit(call)
                except (BrokenProcessPool, RuntimeError):  # died since: start others
                    self._stop(kill=True)
            return self._running_pool().submit(call)

    def wait(self, futures: "Collection[Future[Outcome]]") -> "set[Future[Outcome]]":
        """Those that are done, once one is; perhaps none, when `jobs` has grown."""
        return wait(futures, return_when=FIRST_COMPLETED).done

    def overran(self, task: Task) -> Failure | None:
        """Why a worker was ended, if it was because this task took too long."""
        return None if self.timeout is None else overran(self.timeout, self._mark(task))

    def _mark(self, task: Task) -> Path:
        """Where a worker writes where it was when its time was up."""
        named = f"{task.candidate.key}\n{task.seed}"
        return self.folder / f"{hashlib.sha256(named.encode()).hexdigest()[:32]}.late"

    def _running_pool(self) -> Any:
        if self._pool is None:
            given = self._device, self.folder, os.getpid()
            self._pool = loky.ProcessPoolExecutor(
                self.jobs, initializer=_prepare_next, initargs=given, env=ONE_THREAD
            )
        return self._pool

    def _publish(self, estimator: Scorer) -> Path:
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


def _prepare_next(device: torch.device, folder: Path, driver: int | None = None) -> None:
    """Prepare a process of a driver; its number is the first that none took, as `folder` shows."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the driver to act on
    if driver is not None:
        end_with_parent(driver)
        end_at_once()
    number = 0
    while True:
        try:
            (folder / f"{number}.worker").touch(exist_ok=False)
            break
        except FileExistsError:
            number += 1
    prepare(device, number)
