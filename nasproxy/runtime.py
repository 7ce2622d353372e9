"""What a result was made with: device, seeds, versions, machine."""

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch

from nasproxy.errors import UserError

# A forward pass of about this many pixels is fastest: on a CPU its activations stay in the
# cache, on a GPU it takes many images to fill the machine (docs/LOG.md, 2026-11-21).
PIXELS_AT_ONCE = {"cpu": 2**16, "cuda": 2**22}


def images_at_once(images: torch.Tensor) -> int:
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
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(
            f"device {name!r} is not available here; use auto, cpu, cuda or cuda:N"
        ) from None
    return device


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block and put them back after it."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


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


def hardware(device: torch.device) -> str:
    """The machine in words, such as ``AMD EPYC, 2 cores``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {cores()} cores"
