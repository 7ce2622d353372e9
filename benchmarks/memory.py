"""How much memory does condensing take from a data set that is larger than what it may use?

A million generated images of 64x64x3 (12.3 GB) lie in an ``.npy`` file; a process of its own
loads them by name, condenses them, and reads its own peak.
"""

import tempfile
from pathlib import Path

import numpy as np

import nasproxy
from benchmarks.results import Figure
from benchmarks.sides import Stopwatch, apart, peak_memory

SIDE, CLASSES = 64, 10
TARGET = 2.0  # GB
STEPS = 20


def measure(name: str, quick: bool, root: str) -> Figure:
    """Peak resident memory in GB."""
    n = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        size = _generate(Path(folder), n)
        bare = apart(peak_memory_of_torch)
        found = apart(_condense, folder)
    return Figure(
        name=name,
        figure=found["peak"] / 1e9,
        target=TARGET,
        unit=f"GB at the peak, of a set of {size / 1e9:.1f} GB",
        better="less",
        n=n,
        spread=None,
        note=(
            f"{n:,} images; importing torch alone takes {bare / 1e9:.2f} GB; loading (digest, "
            f"statistics, split) took {found['loading']:.0f} s, {STEPS} steps of dm at 10 images "
            f"per class {found['condensing']:.0f} s"
        ),
    )


def _generate(folder: Path, n: int) -> int:
    """Write the set, a thousand images at a time; returns its bytes."""
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 256, (CLASSES, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.arange(n) % CLASSES
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, SIDE, SIDE, 3)}
    noise = generator.integers(0, 64, (1000, SIDE, SIDE, 3), dtype=np.uint8)
    with (folder / "x_train.npy").open("wb") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for first in range(0, n, 1000):
            pixels = patterns[labels[first : first + 1000]] // 2 + np.roll(noise, first // 1000)
            out.write(pixels.tobytes())
    np.save(folder / "y_train.npy", labels)
    return n * SIDE * SIDE * 3


def peak_memory_of_torch() -> float:
    """Peak of a process that has imported what we import and nothing more."""
    return peak_memory()


def _condense(folder: str) -> dict[str, float]:
    watch = Stopwatch()
    data = nasproxy.load_dataset(folder)
    loading = watch.seconds
    nasproxy.condense(data, "dm", ipc=10, steps=STEPS)
    return {"loading": loading, "condensing": watch.seconds - loading, "peak": peak_memory()}
