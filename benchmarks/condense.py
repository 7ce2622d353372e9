"""What does distribution matching cost, beside a plain implementation of the paper's procedure?

``condense-step`` is the same mathematics (width 128, 256 real images a class, ten classes of ten
synthetic images, float32) and says where our step's time goes beside the convolutions' floor;
``condense-quality`` is the time that our defaults take to a set as good as the plain procedure's
after 100 steps at the published learning rate. Both on CIFAR-10.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import nasproxy
from benchmarks import plain
from benchmarks.results import Figure, of_rounds
from benchmarks.sides import Stopwatch, apart, cifar10, photographs
from nasproxy.errors import UserError
from nasproxy.system.machine import keep_memory
from nasproxy.training.fast import make_fast

IPC, WIDTH, REAL = 10, 128, 256
STEP_TARGET = 0.8  # of the plain step's time
QUALITY_TARGET = 1 / 8  # of the plain procedure's time
BUDGETS = (5, 10, 20, 40, 80, 160)  # of our steps, tried in turn
NETWORKS = 5  # trained on a set to measure it
KINDS = {  # words in the names of torch's kernels
    "convolutions": ("conv",),
    "norms": ("group_norm", "InstanceNorm", "addcmul", "aten::mean", "aten::sub", "rsqrt"),
    "activation, pooling": ("pool", "clamp", "threshold", "relu"),
    "augmentation, gathering": ("index", "grid", "cat", "bmm", "where", "flip", "copy_", "mul"),
}


def measure(name: str, quick: bool, root: str) -> Figure:
    """The figure of ``condense-step`` or ``condense-quality``."""
    return (_step if name == "condense-step" else _quality)(quick, root)


def _step(quick: bool, root: str) -> Figure:
    steps, rounds = (2, 1) if quick else (4, 5)
    ratios, ours = [], []
    for _ in range(rounds):
        slow = apart(_plain_step, steps, root)
        fast = apart(_our_step, steps, root)
        ratios.append(fast / slow)
        ours.append(fast)
    parts = apart(_parts, root)
    figure, n, spread = of_rounds(ratios)
    step = of_rounds(ours)[0]
    shares = ", ".join(f"{kind} {share:.0%}" for kind, share in parts["shares"].items())
    return Figure(
        name="condense-step",
        figure=figure,
        target=STEP_TARGET,
        unit="of the plain step's time",
        better="less",
        n=n,
        spread=spread,
        note=(
            f"{step:.2f} s a step; the floor, {parts['gflop']:.0f} GFLOP of convolutions at the "
            f"{parts['rate']:.0f} GFLOP/s of a large one, is {parts['floor']:.2f} s, "
            f"{parts['floor'] / step:.0%} of it; of our step: {shares}"
        ),
    )


def _plain_step(steps: int, root: str) -> float:
    data = photographs(root)
    plain.condense(data, 1, IPC, 1.0)
    watch = Stopwatch()
    plain.condense(data, steps, IPC, 1.0)
    return watch.seconds / steps


def _our_step(steps: int, root: str) -> float:
    data = photographs(root)
    _ours(data, 1)
    watch = Stopwatch()
    _ours(data, steps)
    return watch.seconds / steps


def _ours(data: nasproxy.Dataset, steps: int) -> nasproxy.ProxySet:
    return nasproxy.condense(
        data, "dm", ipc=IPC, steps=steps, real_batch=REAL, width=WIDTH, precision="float32"
    )


def _parts(root: str) -> dict[str, Any]:
    """The floor of a step, and the shares of its time by kind of kernel."""
    data = photographs(root)
    _ours(data, 1)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        _ours(data, 1)
    shares, whole = dict.fromkeys([*KINDS, "the rest"], 0.0), 0.0
    for event in profiled.key_averages():
        kind = next((k for k, words in KINDS.items() if any(w in event.key for w in words)), None)
        shares[kind or "the rest"] += event.self_cpu_time_total
        whole += event.self_cpu_time_total
    macs, side = 0, 32
    for channels in (3, WIDTH, WIDTH):
        macs += 9 * channels * WIDTH * side * side
        side //= 2
    # forward for all; backward, to the images alone, for the synthetic ones
    gflop = 2 * 10 * (macs * (REAL + 2 * IPC)) / 1e9
    rate = _convolution_rate()
    return {
        "shares": {kind: share / whole for kind, share in shares.items()},
        "gflop": gflop,
        "rate": rate,
        "floor": gflop / rate,
    }


@torch.inference_mode()
def _convolution_rate() -> float:
    """GFLOP/s of a 3x3 convolution of 128 to 128 channels on 16x16 pixels."""
    keep_memory()
    convolution = make_fast(nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
    images = torch.randn(64, WIDTH, 16, 16).contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(20):
        watch = Stopwatch()
        convolution(images)
        seconds.append(watch.seconds)
    return 2 * 64 * 9 * WIDTH * WIDTH * 256 / min(seconds) / 1e9


def _quality(quick: bool, root: str) -> Figure:
    steps, rounds, networks = (10, 1, 2) if quick else (100, 2, NETWORKS)
    unit = f"of the plain procedure's time for {steps} steps"
    try:
        cifar10(root)
    except UserError as error:
        why = f"skipped: {error}"
        return Figure("condense-quality", None, QUALITY_TARGET, unit, "less", 0, None, why)
    ratios, notes = [], []
    for seed in range(rounds):
        slow = apart(_plain_set, steps, seed, root, networks)
        for budget in BUDGETS:
            fast = apart(_our_set, budget, seed, root, networks)
            if fast["accuracy"] >= slow["accuracy"]:
                break
        else:
            raise UserError(f"{BUDGETS[-1]} steps did not reach {slow['accuracy']:.3f}")
        ratios.append(fast["seconds"] / slow["seconds"])
        notes.append(
            f"{100 * fast['accuracy']:.1f}% in {fast['seconds']:.1f} s ({budget} steps) against "
            f"{100 * slow['accuracy']:.1f}% in {slow['seconds']:.0f} s"
        )
    figure, n, spread = of_rounds(ratios)
    note = f"test accuracy of {networks} ConvNets of width 64: {'; '.join(notes)}"
    return Figure("condense-quality", figure, QUALITY_TARGET, unit, "less", n, spread, note)


def _plain_set(steps: int, seed: int, root: str, networks: int) -> dict[str, float]:
    data = cifar10(root)
    torch.manual_seed(seed)
    watch = Stopwatch()
    images = plain.condense(data, steps, IPC, 1.0)
    seconds = watch.seconds
    made = nasproxy.condense(data, "random", ipc=IPC, seed=seed)
    accuracy = _accuracy(replace(made, images=images), data, seed, networks)
    return {"seconds": seconds, "accuracy": accuracy}


def _our_set(steps: int, seed: int, root: str, networks: int) -> dict[str, float]:
    data = cifar10(root)
    made = nasproxy.condense(data, "dm", ipc=IPC, steps=steps, seed=seed)
    return {"seconds": made.seconds or 0.0, "accuracy": _accuracy(made, data, seed, networks)}


def _accuracy(proxy: nasproxy.ProxySet, data: nasproxy.Dataset, seed: int, networks: int) -> float:
    """Mean test accuracy of some networks, on 2,000 test images."""
    few = replace(data, test=data.test[torch.arange(2000)])
    return nasproxy.evaluate(proxy, few, networks=networks, seed=10 * seed).proxy.mean
