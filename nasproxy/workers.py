"""Where scores are computed: in this process, or in worker processes that may die."""

import pickle
import shutil
import tempfile
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import cloudpickle
import loky
import torch

from nasproxy.errors import UserError, reason
from nasproxy.estimators.base import Candidate, Estimator, Scores
from nasproxy.runtime import cores, keep_memory, pick_device, threads

Outcome = Scores | str  # scores, or why there are none


class Workers:
    """Scores (estimator, candidate, seed) in `jobs` processes of one thread each.

    One thread a network: on small networks two processes of one thread do far more than one
    process of two, and the bytes don't depend on the number of jobs.

    Args:
        jobs: processes; with 1 all happens in this one. None is one a core, or one on a GPU.
        device: where the networks will be.
    """

    def __init__(self, jobs: int | None = None, device: str = "auto") -> None:
        if jobs is not None and jobs < 1:
            raise UserError(f"expected jobs of 1 or more, got {jobs}")
        self.jobs = jobs or (1 if pick_device(device).type == "cuda" else cores())
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
    def folder(self) -> Path:
        """A folder that only this user reads, and that goes when the workers go."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="nasproxy-"))
        return self._folder

    def submit(self, estimator: Estimator, candidate: Candidate, seed: int) -> "Future[Outcome]":
        """Start scoring; the future's exception, if any, is a worker's death."""
        if self.jobs == 1:
            future: Future[Outcome] = Future()
            keep_memory()
            with threads(1):
                future.set_result(score(estimator, candidate, seed))
            return future
        path = self._publish(estimator)
        for _ in range(2):
            try:
                return self._running_pool().submit(_score_published, path, candidate, seed)
            except (BrokenProcessPool, RuntimeError):  # died since: start others
                self._stop(kill=True)
        return self._running_pool().submit(_score_published, path, candidate, seed)

    def _running_pool(self) -> Any:
        if self._pool is None:
            self._pool = loky.ProcessPoolExecutor(self.jobs, initializer=_prepare)
        return self._pool

    def _publish(self, estimator: Estimator) -> Path:
        """Leave the estimator, with its images, where each worker reads it once.

        The pickle goes from this process to its own children, in a folder only this user reads.
        """
        if id(estimator) not in self._published:
            path = self.folder / f"{len(self._published)}.pickle"
            path.write_bytes(cloudpickle.dumps(estimator))
            self._published[id(estimator)] = estimator, path  # kept: its id stays taken
        return self._published[id(estimator)][1]

    def _stop(self, kill: bool) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=not kill, kill_workers=kill)
            self._pool = None


def _prepare() -> None:
    torch.set_num_threads(1)
    keep_memory()


@lru_cache(maxsize=4)
def _read_published(path: Path) -> Estimator:
    estimator: Estimator = pickle.loads(path.read_bytes())
    return estimator


def _score_published(path: Path, candidate: Candidate, seed: int) -> Outcome:
    return score(_read_published(path), candidate, seed)


def score(estimator: Estimator, candidate: Candidate, seed: int) -> Outcome:
    """Whatever a user's network does wrong is a reason to record, not the end of the study."""
    try:
        return estimator(candidate, seed)
    except Exception as error:
        return reason(error)
