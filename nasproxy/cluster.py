"""Scores on a Dask cluster, whose workers take the place of local processes.

Dask runs tasks in threads. Ours only hand them on, each to a process of its own: training seeds
torch's global generators, and only a process can be stopped, or die alone.
"""

import asyncio
import contextlib
import hashlib
import itertools
import logging
import os
import pickle
import queue
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

import cloudpickle
import torch

from nasproxy.errors import UserError, reason
from nasproxy.estimators.base import Candidate, Estimator
from nasproxy.runtime import hardware, pick_device, versions
from nasproxy.workers import (
    ATTEMPTS,
    DIED,
    ONE_THREAD,
    Outcome,
    Workers,
    overran,
    prepare,
    score_published,
)

_SCHEDULER_WITHIN = 8.0  # seconds that a scheduler has to answer
_WORKERS_WITHIN = 60.0  # seconds that a cluster may be without workers
_LOOK = 1.0  # seconds between looks at how many there are
_IDLE = 300.0  # seconds without work after which a worker's process ends
_ADDRESS = re.compile(r"(tcp|tls|ucx|wss?)://.+:\d+")


def open_workers(
    jobs: int | None, device: str, timeout: float | None, scheduler: str | None
) -> Workers:
    """Local processes, or where a scheduler is given the workers of its cluster.

    Raises:
        UserError: an argument is out of its range, or see `Cluster`.
    """
    if scheduler is None:
        return Workers(jobs, device, timeout)
    if jobs is not None:
        raise UserError("jobs are local processes: with a scheduler its workers' threads count")
    return Cluster(scheduler, device, timeout)


class Cluster(Workers):
    """Scores in the workers of a Dask cluster, one in each of their threads.

    An estimator is sent once to each worker, those that join later included. Dask itself gives
    the work of a lost worker to another, as often as its ``allowed-failures`` says; an
    architecture that ends its own process is tried again on the same worker.

    Args:
        scheduler: its address, to be trusted like code: pickles go to and fro.
        device: where the networks will be, on the workers' machines.
        timeout: seconds after which a score is given up; None is never.

    Raises:
        UserError: the scheduler doesn't answer, has no workers, or one of them has other versions.
    """

    def __init__(self, scheduler: str, device: str = "auto", timeout: float | None = None) -> None:
        super().__init__(1, "cpu", timeout)
        self._scheduler = scheduler
        self._asked = device
        self._client = _connect(scheduler)
        self._threads, self._counted, self._seen = 0, 0.0, time.monotonic()
        self._tasks: dict[str, tuple[Any, _Task]] = {}  # by Dask's key, with Dask's future
        self._sent: set[str] = set()
        self._ended = threading.Event()
        try:
            while not self._threads:
                self._count()
                time.sleep(0.1)
            self._common, self._machines = self._agree()
        except BaseException:
            self._stop(kill=True)
            raise

    @property
    def jobs(self) -> int:
        """Threads of all workers, as last seen."""
        return self._threads

    def place(self, device: str) -> torch.device:
        """The device that all workers have chosen."""
        return torch.device(self._common["device"])

    def hardware(self, device: torch.device) -> str:
        """The workers' machines in words."""
        return "; ".join(self._machines)

    def submit(self, estimator: Estimator, candidate: Candidate, seed: int) -> "Future[Outcome]":
        path = self._publish(estimator)
        if path.name not in self._sent:
            self._send(path, None)
            self._sent.add(path.name)
        task = _Task(Future(), path, cloudpickle.dumps(candidate), seed)
        self._start(task)
        return task.future

    def wait(self, futures: "Collection[Future[Outcome]]") -> "set[Future[Outcome]]":
        """Those that are done, once one is; perhaps none, when `jobs` has grown.

        Raises:
            UserError: the scheduler is gone, or it has had no workers for long.
        """
        before = self.jobs
        while True:
            self._settle()
            done = {future for future in futures if future.done()}
            if done or self.jobs > before:
                return done
            self._count()
            self._ended.wait(_LOOK)

    def overran(self, key: str, seed: int) -> str | None:
        return None  # a worker says so itself

    def _agree(self) -> tuple[dict[str, str], list[str]]:
        """What all workers have in common with this process, and their machines."""
        answers = self._client.run(_introduce, self._asked, on_error="return")
        if not answers:
            raise UserError(f"the workers of {self._scheduler} left while they were asked")
        for address, answer in answers.items():
            if isinstance(answer, Exception):
                raise UserError(f"the worker {address} can't be used: {reason(answer)}")
        abouts = {address: about for address, (about, _) in answers.items()}
        common = {**next(iter(abouts.values())), **_versions()}
        for address, about in abouts.items():
            _require_same(common, about, address)
        return common, sorted({machine for _, machine in answers.values()})

    def _send(self, path: Path, workers: list[str] | None) -> None:
        """Give a pickle to workers, by default all. One that leaves meanwhile is no matter."""
        answers = self._client.run(
            _receive, path.name, path.read_bytes(), workers=workers, on_error="return"
        )
        for answer in answers.values():
            if isinstance(answer, UserError):
                raise answer

    def _start(self, task: "_Task") -> None:
        remote = self._client.submit(
            _score_here,
            self._common,
            self._asked,
            task.path.name,
            task.candidate,
            task.seed,
            self.timeout,
            key=f"score-{uuid.uuid4().hex}",
            pure=False,
        )
        self._tasks[remote.key] = remote, task
        remote.add_done_callback(lambda _: self._ended.set())

    def _settle(self) -> None:
        """Let our futures know of Dask's that have ended."""
        self._ended.clear()
        for key, (remote, task) in list(self._tasks.items()):
            if remote.status == "pending":
                continue
            del self._tasks[key]
            if remote.status not in ("finished", "error"):  # cancelled with the scheduler, or by it
                self._require_scheduler()
            try:
                answer = remote.result(timeout=_SCHEDULER_WITHIN)
            except Exception as error:
                task.future.set_exception(_as_death_or_mistake(error))
                continue
            if isinstance(answer, _Lacking):
                self._send(task.path, [answer.address])
                self._start(task)
            else:
                task.future.set_result(answer)

    def _count(self) -> None:
        """See how many threads the workers have, now and then."""
        now = time.monotonic()
        if now < self._counted + _LOOK and self._threads:
            return
        try:
            threads = sum(self._client.nthreads().values())
        except Exception:  # it lost the scheduler just now
            self._require_scheduler()
            return
        self._counted = now
        if threads:
            self._threads, self._seen = threads, now
        elif now > self._seen + _WORKERS_WITHIN:
            raise UserError(
                f"the Dask scheduler at {self._scheduler} has had no workers for "
                f"{_WORKERS_WITHIN:g} seconds; start some (dask worker {self._scheduler})"
            )

    def _require_scheduler(self) -> None:
        """Wait until Dask has the scheduler again.

        Raises:
            UserError: it is gone.
        """
        end = time.monotonic() + _SCHEDULER_WITHIN
        while self._client.status != "running":
            if time.monotonic() > end:
                raise UserError(
                    f"the Dask scheduler at {self._scheduler} is gone; what is finished is kept: "
                    "the same command goes on once it is back"
                )
            time.sleep(0.1)

    def _stop(self, kill: bool) -> None:
        with contextlib.suppress(Exception):  # nobody may be there to hear of it
            self._client.cancel([remote for remote, _ in self._tasks.values()])
        with contextlib.suppress(Exception):
            self._client.close(timeout=1)


@dataclass(frozen=True)
class _Task:
    """A candidate, pickled, to be scored by the estimator that lies at `path`."""

    future: "Future[Outcome]"
    path: Path
    candidate: bytes
    seed: int


@dataclass(frozen=True)
class _Lacking:
    """Instead of an outcome: the worker at this address doesn't have the estimator."""

    address: str


def _connect(scheduler: str) -> Any:
    """A Dask client.

    Raises:
        UserError: Dask is not installed, or no scheduler answers.
    """
    if not _ADDRESS.fullmatch(scheduler):
        raise UserError(f"expected a scheduler such as tcp://host:8786, got {scheduler!r}")
    try:
        import distributed
        from distributed.utils import LoopRunner, sync
    except ImportError:
        raise UserError("a scheduler needs Dask: pip install 'nasproxy[cluster]'") from None
    for name in list(logging.root.manager.loggerDict):  # we say what is wrong, in a line
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    loop = LoopRunner(asynchronous=False)  # a thread's: this one's may run, as in a notebook
    try:
        loop.start()
        sync(loop.loop, _shake_hands, scheduler)
        return distributed.Client(scheduler, timeout=_SCHEDULER_WITHIN, set_as_default=False)
    except Exception as error:
        raise UserError(f"no Dask scheduler answers at {scheduler}: {reason(error)}") from None
    finally:
        loop.stop()


async def _shake_hands(scheduler: str) -> None:
    """Find out whether a scheduler talks: Dask's client waits for ever for one that is mute.

    Raises:
        OSError: nobody listens there.
        TimeoutError: whoever does says nothing.
    """
    from distributed import Security
    from distributed.comm import connect

    arguments = Security().get_connection_args("client")
    greeting = connect(scheduler, timeout=_SCHEDULER_WITHIN, **arguments)
    try:
        comm = await asyncio.wait_for(greeting, _SCHEDULER_WITHIN + 1)
    except TimeoutError:
        raise TimeoutError(f"no greeting within {_SCHEDULER_WITHIN:g} seconds") from None
    await comm.close()


def _as_death_or_mistake(error: BaseException) -> BaseException:
    """What became of a task: its worker's death, to be tried again, or what would fail again."""
    from distributed import KilledWorker

    # OSError: its result went with the worker; cancelled: with the scheduler, that came back
    lost = (KilledWorker, CancelledError, OSError, TimeoutError)
    if isinstance(error, (UserError, *lost)):
        return error
    return UserError(f"a worker failed: {reason(error)}")


# What follows runs in a worker of the cluster.


def _versions() -> dict[str, str]:
    """Versions that must be the same everywhere for the scores to be."""
    found = versions()
    found["python"] = ".".join(found["python"].split(".")[:2])
    return {name: found[name] for name in ("python", "torch", "numpy", "nasproxy")}


def _about(device: str) -> dict[str, str]:
    """What must be the same on all workers."""
    return {**_versions(), "device": str(pick_device(device))}


def _introduce(device: str) -> tuple[dict[str, str], str]:
    """The same, and the machine in words."""
    return _about(device), hardware(pick_device(device))


def _require_same(expected: Mapping[str, str], found: Mapping[str, str], address: str) -> None:
    """Refuse a worker that would give other scores.

    Raises:
        UserError: it would.
    """
    for name, value in expected.items():
        if found[name] != value:
            raise UserError(
                f"the worker {address} has {name} {found[name]}, expected {value}; "
                "all machines need the same"
            )


def _folder(worker: Any) -> Path:
    """Where a worker keeps what it was sent; Dask deletes it with the worker."""
    folder = Path(worker.local_directory) / "nasproxy"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _receive(name: str, pickled: bytes, dask_worker: Any) -> None:
    """Keep an estimator, whose digest is its name.

    Raises:
        UserError: something else has arrived, or there is no room for it.
    """
    if hashlib.sha256(pickled).hexdigest() != Path(name).stem:
        raise UserError(f"the worker {dask_worker.address} received other data than were sent")
    path = _folder(dask_worker) / name
    try:
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(pickled)
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"the worker {dask_worker.address} can't keep data: {error}") from None


def _score_here(
    common: dict[str, str],
    device: str,
    name: str,
    candidate: bytes,
    seed: int,
    timeout: float | None,
) -> Outcome | _Lacking:
    """Have a process of this worker score a candidate.

    Raises:
        UserError: the worker differs from the others.
    """
    import distributed

    worker = distributed.get_worker()
    _require_same(common, _about(device), worker.address)
    path = _folder(worker) / name
    if not path.is_file():
        return _Lacking(worker.address)
    key = worker.get_current_task()

    def dropped() -> bool:
        """Whether nobody waits for this any more: Dask leaves it to a thread to end itself."""
        task = worker.state.tasks.get(key)
        leaving = worker.status.name in ("closing", "closed", "failed")
        return leaving or task is None or task.state == "cancelled"

    mark = path.with_name(f"{uuid.uuid4().hex}.late")
    limit = None if timeout is None else (timeout, mark)
    task = partial(score_published, path, candidate, seed, limit)
    try:
        with _child() as child:
            for _ in range(ATTEMPTS):
                with contextlib.suppress(_Died):
                    return child.score(task, torch.device(common["device"]), dropped)
                if timeout is not None and (late := overran(timeout, mark)):
                    return late
    except UserError as error:
        raise UserError(f"the worker {worker.address}: {error}") from None
    finally:
        mark.unlink(missing_ok=True)
    return DIED


class _Died(Exception):
    """A process that was scoring is gone."""


class _Child:
    """A process that scores one candidate after the other, on one thread.

    Not `multiprocessing`'s, whose processes may not start any where Dask's nanny has started them.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._process: subprocess.Popen[bytes] | None = None

    def score(
        self, task: Callable[[], Outcome], device: torch.device, dropped: Callable[[], bool]
    ) -> Outcome:
        """Run a task there.

        Raises:
            UserError: it did, or the process doesn't start.
            CancelledError: it was dropped.
            _Died: the process did.
        """
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        try:
            pickle.dump((device, task), process.stdin)
            process.stdin.flush()
            while not wait_for([process.stdout.fileno()], timeout=0.5):
                if dropped():
                    self.stop()
                    raise CancelledError
            answer: Outcome | UserError = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.stop()
            raise _Died from None
        if isinstance(answer, UserError):
            raise answer
        return answer

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(self.number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in the cluster's terminal is the worker's
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            assert self._process.stdout is not None
            if not self._process.stdout.read(len(_READY)):
                raise UserError("a process of it ended as it began; the worker's log says why")
        return self._process

    def stop(self) -> None:
        """End it now."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


_SERVE = "import sys; from nasproxy.cluster import _serve; _serve(int(sys.argv[1]))"
_READY = b"."  # what a process says first: one that can't begin must not count as an outcome
_free: list[_Child] = []  # of this worker
_numbers = itertools.count()


@contextlib.contextmanager
def _child() -> Iterator[_Child]:
    """A process that does nothing else meanwhile; there are as many as threads have needed."""
    try:
        child = _free.pop()
    except IndexError:
        child = _Child(next(_numbers))
    try:
        yield child
    finally:
        _free.append(child)


def _serve(number: int) -> None:
    """What such a process does; it ends when it is idle for long, or with its parent."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a network may print
    tasks: queue.SimpleQueue[tuple[torch.device, Callable[[], Outcome]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    with contextlib.suppress(queue.Empty, BrokenPipeError):
        answers.write(_READY)
        answers.flush()
        while True:
            device, task = tasks.get(timeout=_IDLE)
            try:
                prepare(device, number)
                answer: Outcome | UserError = task()
            except UserError as error:
                answer = error
            except Exception as error:  # not the network's doing: that would be an outcome
                answer = UserError(f"can't score anything: {reason(error)}")
            pickle.dump(answer, answers)
            answers.flush()


def _listen(tasks: "queue.SimpleQueue[Any]") -> None:
    """Take in tasks, and end the process at the end of them, whatever it is doing."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            tasks.put(pickle.load(sys.stdin.buffer))
    os._exit(0)
