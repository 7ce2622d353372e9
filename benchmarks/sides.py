"""The two sides of a comparison, each in a process of its own, and the data for both."""

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

import nasproxy
from nasproxy.errors import UserError


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process: what one side does to memory can't help the other."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_memory() -> float:
    """Largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def photographs(root: str, n: int = 10_000) -> nasproxy.Dataset:
    """CIFAR-10, or, where it isn't, as many images of its size: speed does not depend on them."""
    try:
        return cifar10(root)
    except UserError:
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        return nasproxy.from_arrays(images, np.arange(n) % 10, name="generated")


def cifar10(root: str) -> nasproxy.Dataset:
    """CIFAR-10.

    Raises:
        UserError: it isn't in `root`, and can't be downloaded.
    """
    return nasproxy.load_dataset("cifar10", root)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start
