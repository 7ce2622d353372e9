"""What a result was made with: device, seeds, versions, machine."""

import contextlib
import ctypes
import os
import platform
import random
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nasproxy.errors import UserError

# A forward pass of about this many pixels is fastest: on a CPU its activations stay in the
# cache, on a GPU it takes many images to fill the machine (docs/LOG.md, 2026-11-21).
PIXELS_AT_ONCE = {"cpu": 2**16, "cuda": 2**22}


def images_at_once(images: Any) -> int:
    """How many of images (N, C, H, W) to put through a network at a time, on their device."""
    pixels = PIXELS_AT_ONCE.get(images.device.type, PIXELS_AT_ONCE["cpu"])
    return max(1, pixels // (images.shape[2] * images.shape[3]))


def pick_device(name: str = "auto") -> torch.device:
    """The torch device of a name; ``auto`` is the first GPU if there is one.

    Raises:
        UserError: it is not a device, or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError(f"not made for {device.type}")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(
            f"device {name!r} is not available here; use auto, cpu, cuda or cuda:N"
        ) from None
    return device


def check_seed(seed: int) -> None:
    """Refuse a seed that a random generator would refuse.

    Raises:
        UserError: it is not from 0 to 2**32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"expected a seed from 0 to {2**32 - 1}, got {seed}")


def share(device: torch.device, number: int, gpus: int) -> torch.device:
    """The device of a machine's process `number`, from 0: GPUs in turn, unless one was named."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", number % max(1, gpus))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators inside the block and put them back after it."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Put torch's global settings back after the block, which runs somebody's network."""
    dtype, count = torch.get_default_dtype(), torch.get_num_threads()
    device = torch.get_default_device()
    grad, anomaly = torch.is_grad_enabled(), torch.is_anomaly_enabled()
    deterministic = torch.get_deterministic_debug_mode()
    precision, benchmark = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        if torch.get_num_threads() != count:
            torch.set_num_threads(count)
        torch.set_grad_enabled(grad)
        if torch.is_anomaly_enabled() != anomaly:
            torch.autograd.set_detect_anomaly(anomaly)
        if torch.get_deterministic_debug_mode() != deterministic:
            torch.set_deterministic_debug_mode(deterministic)
        if torch.get_float32_matmul_precision() != precision:
            torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.benchmark = benchmark


@cache
def keep_memory() -> None:
    """Let this process keep the memory that tensors free, for the next ones.

    By default glibc gives every large block back to the kernel at once, and each new one comes
    as pages to be faulted in and zeroed, which can take as long as the arithmetic
    (docs/LOG.md, 2026-11-21). Where there is no glibc nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - AttributeError elsewhere, where numbers differ
        for parameter, value in (
            (-3, 2**30),  # M_MMAP_THRESHOLD: from what size a block is the kernel's
            (-1, 2**31 - 1),  # M_TRIM_THRESHOLD: how much free memory to keep
            (-2, 2**26),  # M_TOP_PAD: how much more to ask for at a time
        ):
            libc.mallopt(parameter, value)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    packages = ("nasproxy", "torch", "torchvision", "optuna", "numpy", "scipy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


@cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 numbers faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    with contextlib.suppress(OSError):
        return bool(re.search(r"\b(avx512_bf16|amx_bf16)\b", Path("/proc/cpuinfo").read_text()))
    return False


def hardware(device: torch.device) -> str:
    """The machine in words, such as ``AMD EPYC, 2 cores``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {cores()} cores"
