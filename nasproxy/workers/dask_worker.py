"""What runs in a worker of a Dask cluster.

Dask runs tasks in threads. Ours only hand them on, each to a process of its own: training seeds
torch's global generators, and only a process can be stopped, or die alone.
"""

import contextlib
import hashlib
import itertools
import os
import pickle
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from functools import partial
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

import torch

from nasproxy.errors import UserError, reason
from nasproxy.system.machine import hardware, pick_device, versions
from nasproxy.workers.scoring import (
    ATTEMPTS,
    DIED,
    ONE_THREAD,
    overran,
    prepare,
    score_published,
)
from nasproxy.workers.task import Outcome

_IDLE = 300.0  # seconds without work after which a worker's process ends


def own_versions() -> dict[str, str]:
    """Versions that must be the same everywhere for the scores to be."""
    found = versions()
    found["python"] = ".".join(found["python"].split(".")[:2])
    return {name: found[name] for name in ("python", "torch", "numpy", "nasproxy")}


def _about(device: str) -> dict[str, str]:
    """What must be the same on all workers."""
    return {**own_versions(), "device": str(pick_device(device))}


def introduce(device: str) -> tuple[dict[str, str], str]:
    """The same, and the machine in words."""
    return _about(device), hardware(pick_device(device))


def require_same(expected: Mapping[str, str], found: Mapping[str, str], address: str) -> None:
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


def score_here(
    common: Mapping[str, str],
    device: str,
    name: str,
    pickled: bytes,
    candidate: bytes,
    seed: int,
    timeout: float | None,
) -> Outcome:
    """Have a process of this worker score a candidate.

    Args:
        common: what is the same on all workers.
        device: as the user named it.
        name: of the estimator's file, its digest.
        pickled: the estimator.
        candidate: a pickled `Candidate`.
        seed: of its training.
        timeout: seconds that it may take.

    Raises:
        UserError: the worker differs from the others, or can't start a process.
    """
    import distributed

    worker = distributed.get_worker()
    require_same(common, _about(device), worker.address)
    key = worker.get_current_task()

    def dropped() -> bool:
        """Whether nobody waits for this any more: Dask leaves it to a thread to end itself."""
        task = worker.state.tasks.get(key)
        leaving = worker.status.name in ("closing", "closed", "failed")
        return leaving or task is None or task.state == "cancelled"

    try:
        path = _kept(Path(worker.local_directory) / "nasproxy" / name, pickled)
        mark = path.with_name(f"{uuid.uuid4().hex}.late")
        limit = None if timeout is None else (timeout, mark)
        task = partial(score_published, path, candidate, seed, limit)
        for _ in range(ATTEMPTS):
            with contextlib.suppress(_Died):
                return _own_child().score(task, torch.device(common["device"]), dropped)
            if timeout is not None and (late := overran(timeout, mark)):
                return late
    except UserError as error:
        raise UserError(f"the worker {worker.address}: {error}") from None
    return DIED


def _kept(path: Path, pickled: bytes) -> Path:
    """Have an estimator lie where processes read it; Dask deletes it with the worker.

    Raises:
        UserError: something else has arrived, or there is no room for it.
    """
    if path.is_file():
        return path
    if hashlib.sha256(pickled).hexdigest() != path.stem:
        raise UserError("it received other data than were sent")
    unfinished = path.with_name(f"{uuid.uuid4().hex}.part")  # another thread may be at it, too
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.write_bytes(pickled)
        unfinished.replace(path)
    except OSError as error:
        raise UserError(f"it can't keep data: {error}") from None
    return path


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


_SERVE = "import sys; from nasproxy.workers.dask_worker import _serve; _serve(int(sys.argv[1]))"
_READY = b"."  # what a process says first: one that can't begin must not count as an outcome
_numbers = itertools.count()  # of this worker's processes
_thread = threading.local()


def _own_child() -> _Child:
    """The process of this thread."""
    if not hasattr(_thread, "child"):
        _thread.child = _Child(next(_numbers))
    child: _Child = _thread.child
    return child


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
