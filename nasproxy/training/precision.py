"""Which convolutions compute in bfloat16, and how that is decided.

Where a processor has instructions for bfloat16, plain convolutions are faster in it. Grouped and
depthwise ones have no such kernels on many: there bfloat16 takes two to four times as long, so
they stay in float32 unless a measurement shows bfloat16 to be clearly faster. It is made once a
machine and torch version, and kept: workers and resumed trainings must not decide differently.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nasproxy.errors import UserError
from nasproxy.system.files import alone, expanded, write_atomically
from nasproxy.system.machine import hardware, has_bfloat16, seeded, threads

PRECISIONS = ("auto", "float32", "bfloat16")
KINDS = ("plain", "grouped", "depthwise")
CLEARLY = 1.3  # times as fast: what measurements of a busy machine may be out by is less
_FOLDER = "~/.cache/nasproxy/machine"  # not that of data sets, which a download may hold for long
_SAMPLES = {  # channels, side of the kernel, groups: what is measured of each kind
    "grouped": ((32, 3, 8), (64, 3, 2), (64, 1, 4)),
    "depthwise": ((64, 3, 64), (64, 5, 64)),
}
_IMAGES = 4, 16  # number and side
_ROUNDS = 5


class BFloat16Conv2d(nn.Conv2d):
    """Multiplies with 8 bits of mantissa; weights, sums and what goes in and out are float32."""

    def forward(self, input: Tensor) -> Tensor:
        if input.dtype != torch.float32:
            return super().forward(input)
        bias = None if self.bias is None else self.bias.bfloat16()
        return self._conv_forward(input.bfloat16(), self.weight.bfloat16(), bias).float()


def check_precision(precision: str) -> None:
    """Raise a `UserError` unless it is one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise UserError(f"expected precision {', '.join(PRECISIONS)}, got {precision!r}")


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether networks of a precision in `PRECISIONS` compute in bfloat16 on a device."""
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """What a network runs in: torch's own mixed precision on a GPU, nothing on a CPU."""
    if device.type == "cpu":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(precision, device))


def kind_of(layer: nn.Conv2d) -> str:
    """Which of `KINDS` a convolution is."""
    if layer.groups == 1:
        return "plain"
    return "depthwise" if layer.groups == layer.in_channels else "grouped"


def bfloat16_kinds(precision: str) -> frozenset[str]:
    """Kinds of convolutions that a network of a precision computes in bfloat16 on the CPU."""
    if precision != "auto":
        return frozenset(KINDS if precision == "bfloat16" else ())
    if not has_bfloat16(torch.device("cpu")):
        return frozenset()
    speedups = _of_this_machine()
    return frozenset(["plain", *(kind for kind in _SAMPLES if speedups[kind] >= CLEARLY)])


@cache
def _of_this_machine() -> Mapping[str, float]:
    """What `measure_bfloat16` gave the first time on this machine; others wait while it does."""
    model = hardware(torch.device("cpu")).rpartition(", ")[0]  # the number of cores is nothing
    digest = hashlib.sha256(repr((model, torch.__version__, _SAMPLES)).encode()).hexdigest()[:12]
    path = expanded(_FOLDER) / f"bfloat16-{digest}.json"
    with contextlib.suppress(OSError, UserError, RuntimeError):  # none of ours to write to
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.parent, "another process measures this machine", show=False):
            kept = _read(path)
            if kept is None:
                kept = measure_bfloat16()
                text = json.dumps(kept)
                write_atomically(path, lambda temporary: temporary.write_text(text))
            return kept
    return _read(path) or measure_bfloat16()


def _read(path: Path) -> Mapping[str, float] | None:
    try:
        kept = json.loads(path.read_text())
        return {kind: float(kept[kind]) for kind in _SAMPLES}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measure_bfloat16() -> dict[str, float]:
    """How many times as fast as in float32 a step of each kind but plain is in bfloat16.

    The least of a kind's samples counts, on one thread, in time of the processor, so that it
    matters little what else the machine does. Takes well below a second.
    """
    with threads(1), seeded(0):
        return {
            kind: min(_speedup(*sample) for sample in samples) for kind, samples in _SAMPLES.items()
        }


def _speedup(channels: int, kernel: int, groups: int) -> float:
    number, side = _IMAGES
    layer = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups)
    layer = layer.to(memory_format=torch.channels_last)
    images = torch.randn(number, channels, side, side, requires_grad=True)
    images = images.contiguous(memory_format=torch.channels_last)
    seconds: dict[type[nn.Conv2d], list[float]] = {nn.Conv2d: [], BFloat16Conv2d: []}
    for done in range(_ROUNDS):
        for form, found in seconds.items():  # in turns: the machine's speed changes
            layer.__class__ = form
            start = time.thread_time()
            layer(images).sum().backward()
            found.append(time.thread_time() - start)
        speedup = min(seconds[nn.Conv2d]) / max(min(seconds[BFloat16Conv2d]), 1e-9)
        if done and speedup < 1 / 2:  # not to be made up for; the first is slow in any form
            break
    return speedup
