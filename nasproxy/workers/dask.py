"""Scores on a Dask cluster, whose workers take the place of local processes: the driver's side."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import torch

from nasproxy.errors import UserError, reason
from nasproxy.workers.dask_worker import introduce, own_versions, require_same, score_here
from nasproxy.workers.local import Workers
from nasproxy.workers.task import Failure, Outcome, Task

_SCHEDULER_WITHIN = 8.0  # seconds that a scheduler has to answer
_WORKERS_WITHIN = 60.0  # seconds that a cluster may be without workers
_LOOK = 1.0  # seconds between looks at how many there are
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

    An estimator is sent once to each worker; those that join later have it from the others. Dask
    itself gives the work of a lost worker to another, as often as its ``allowed-failures`` says;
    an architecture that ends its own process is tried again on the same worker.

    Args:
        scheduler: its address, to be trusted like code: pickles go to and fro.
        device: where the networks will be, on the workers' machines.
        timeout: seconds after which a score is given up; None is never.

    Raises:
        UserError: the scheduler doesn't answer, has no workers, or one of them has other versions.
    """

    is_local = False

    def __init__(self, scheduler: str, device: str = "auto", timeout: float | None = None) -> None:
        super().__init__(1, "cpu", timeout)
        self._scheduler = scheduler
        self._asked = device
        self._client = _connect(scheduler)
        self._threads, self._seen = 0, time.monotonic()
        self._sent: dict[Path, Any] = {}  # Dask's futures of pickled estimators
        self._running: set[Any] = set()  # Dask's futures of scores
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

    def submit(self, task: Task) -> "Future[Outcome]":
        path = self._publish(task.scorer)
        if (pickled := self._sent.get(path)) is None:
            pickled = self._sent[path] = self._send(path)
        future: Future[Outcome] = Future()
        remote = self._client.submit(
            score_here,
            self._common,
            self._asked,
            path.name,
            pickled,
            cloudpickle.dumps(task.candidate),
            task.seed,
            self.timeout,
            pure=False,
        )
        self._running.add(remote)
        remote.add_done_callback(partial(self._settle, future))
        return future

    def wait(self, futures: "Collection[Future[Outcome]]") -> "set[Future[Outcome]]":
        """Those that are done, once one is; perhaps none, when `jobs` has grown.

        Raises:
            UserError: the scheduler is gone, or it has had no workers for long.
        """
        before = self.jobs
        while True:
            done = wait(futures, _LOOK, FIRST_COMPLETED).done
            if any(isinstance(future.exception(), CancelledError) for future in done):
                self._require_scheduler()
            if done or self.jobs > before:
                return done
            self._count()

    def overran(self, task: Task) -> Failure | None:
        return None  # a worker says so itself

    def _agree(self) -> tuple[dict[str, str], list[str]]:
        """What all workers have in common with this process, and their machines."""
        answers = self._client.run(introduce, self._asked, on_error="return")
        if not answers:
            raise UserError(f"the workers of {self._scheduler} left while they were asked")
        for address, answer in answers.items():
            if isinstance(answer, Exception):
                raise UserError(f"the worker {address} can't be used: {reason(answer)}")
        abouts = {address: about for address, (about, _) in answers.items()}
        common = {**next(iter(abouts.values())), **own_versions()}
        for address, about in abouts.items():
            require_same(common, about, address)
        return common, sorted({machine for _, machine in answers.values()})

    def _send(self, path: Path) -> Any:
        """Dask's future of a pickle that all workers have.

        Raises:
            UserError: there is nobody to take it.
        """
        end = time.monotonic() + _WORKERS_WITHIN
        while True:
            try:
                return self._client.scatter(path.read_bytes(), broadcast=True, hash=False)
            except (OSError, TimeoutError) as error:  # a worker left, or is just coming back
                self._require_scheduler()
                self._count()  # says so if there are no workers at all
                if time.monotonic() > end:
                    raise UserError(
                        f"the workers of {self._scheduler} take no data: {reason(error)}"
                    ) from None

    def _settle(self, future: "Future[Outcome]", remote: Any) -> None:
        """Let our future know what has become of Dask's; in a thread of Dask's client."""
        self._running.discard(remote)
        try:
            future.set_result(remote.result(timeout=_SCHEDULER_WITHIN))
        except Exception as error:
            self._sent.clear()  # what is sent is lost with the last worker that has it
            future.set_exception(_as_death_or_mistake(error))

    def _count(self) -> None:
        """See how many threads the workers have."""
        now = time.monotonic()
        try:
            threads = sum(self._client.nthreads().values())
        except Exception:  # it lost the scheduler just now
            self._require_scheduler()
            return
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
            self._client.cancel(list(self._running))
        with contextlib.suppress(Exception):
            self._client.close(timeout=1)


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
