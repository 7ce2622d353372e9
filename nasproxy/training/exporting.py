"""A trained network for other programs: its normalisation inside, and checked after writing."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.errors import UserError, one_line
from nasproxy.spaces.network import logits_of
from nasproxy.system.files import make_folder, write_atomically
from nasproxy.training.predicting import Inputs, predict
from nasproxy.training.saved import load_with_inputs

Format = Literal["onnx", "torchscript", "pt2"]
_ENDINGS = {"onnx": ".onnx", "torchscript": ".pt", "pt2": ".pt2"}
_COUNTS = (1, 2, 5)  # images at a time that a written file is tried on
_FAR = 1e-4  # of a probability: rounding is about 1e-6
_FEW = 2  # images that a network is followed with; one alone would be taken for all there may be

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Exported:
    """A network that was written for other programs.

    Attributes:
        out: the file.
        format: ``onnx``, ``torchscript`` or ``pt2``.
        input_shape: (C, H, W) of the uint8 images that it takes, any number at a time.
        class_names: of its probabilities; the file holds them, too.
        difference: largest from the network's own probabilities, on images it was tried on.
    """

    out: Path
    format: str
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    difference: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "out": str(self.out)}

    def __str__(self) -> str:
        channels, height, width = self.input_shape
        return (
            f"{self.out}: images (N, {channels}, {height}, {width}) of uint8 to probabilities "
            f"(N, {len(self.class_names)}); differs from the network by {self.difference:.1e} at "
            "the most"
        )


class _WithPixels(nn.Module):
    """A network that takes pixels (N, C, H, W) uint8 and gives probabilities (N, classes)."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self.network = network
        self.sides = inputs.normalisation.sides(*inputs.shape[1:])
        self.smaller = self.sides != inputs.shape[1:]
        self.register_buffer("mean", torch.tensor(inputs.normalisation.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(inputs.normalisation.std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        seen = (images.float() / 255 - self.mean) / self.std
        if self.smaller:
            seen = F.interpolate(seen, self.sides, mode="area")
        return logits_of(self.network(seen)).float().softmax(1)


def export_network(network: str | Path, to: Format, out: str | Path | None = None) -> Exported:
    """Write a trained network for other programs, its normalisation inside.

    The file takes uint8 images (N, C, H, W) of the size of the data set's, as `images`, and gives
    `probabilities` (N, classes). It is read again and tried before it is kept.

    Args:
        network: a file of a trained network, such as best.safetensors. Its search space is code,
            and runs.
        to: onnx (ONNX; needs the extra `export`), torchscript, or pt2 (torch.export).
        out: file to write; by default beside the network, with the ending of the format.

    Raises:
        UserError: the network can't be loaded, or can't be followed or written, or what was
            written gives other probabilities.
    """
    if to not in _ENDINGS:
        raise UserError(f"expected one of {', '.join(_ENDINGS)} as to, got {to!r}")
    source = Path(network)
    path = source.with_suffix(_ENDINGS[to]) if out is None else Path(out)
    if path.is_dir() or path.resolve() == source.resolve():
        raise UserError(f"expected a file to write as out, got {path}")
    if to == "pt2" and path.suffix != ".pt2":  # torch reads no other
        raise UserError(f"expected out to end in .pt2, got {path}")
    if to == "onnx":
        _require_onnx()
    loaded, inputs = load_with_inputs(source)
    make_folder(path.parent)
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        with _quietly(f"{source}: can't be written as {to}"):
            run = _WRITERS[to](_WithPixels(loaded, inputs).eval(), inputs, temporary)
            difference = _difference(run, loaded, inputs)
        if not difference <= _FAR:
            raise UserError(
                f"{source}: what was written as {to} gives other probabilities, by "
                f"{difference:.2g}: nothing is kept; try another format"
            )

    write_atomically(path, write)
    return Exported(path, to, inputs.shape, inputs.class_names, difference)


@contextlib.contextmanager
def _quietly(failed: str) -> Iterator[None]:
    """Keep what torch tells on the way to itself, and say in one line what failed.

    Raises:
        UserError: something did.
    """
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever a network has that can't be followed
        raise UserError(f"{failed}: {one_line(str(error))[:300] or type(error).__name__}") from None
    finally:
        logging.disable(before)


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"onnx needs more packages ({error}): pip install 'nasproxy[export]'"
        ) from None


def _difference(run: Run, network: nn.Module, inputs: Inputs) -> float:
    """The largest difference in probability on random images, some at a time."""
    generator = np.random.default_rng(0)
    found = []
    for count in _COUNTS:
        images = generator.integers(0, 256, (count, *inputs.shape), np.uint8)
        own = predict(network, torch.from_numpy(images), inputs).probabilities
        given = run(images)
        if given.shape != own.shape:
            raise UserError(f"expected probabilities {own.shape}, got {given.shape}")
        found.append(float(np.abs(given - own).max()))
    return max(found)


def _example(inputs: Inputs) -> tuple[Tensor]:
    return (torch.zeros(_FEW, *inputs.shape, dtype=torch.uint8),)


def _followed(network: nn.Module, inputs: Inputs) -> Any:
    batch = {0: torch.export.Dim("N")}
    with torch.no_grad():
        return torch.export.export(network, _example(inputs), dynamic_shapes=(batch,))


def _write_onnx(network: nn.Module, inputs: Inputs, path: Path) -> Run:
    import onnxruntime

    program: Any = torch.onnx.export(
        _followed(network, inputs),
        dynamo=True,
        input_names=["images"],
        output_names=["probabilities"],
        verbose=False,
    )
    program.model.metadata_props["class_names"] = json.dumps(inputs.class_names)
    program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]


def _write_torchscript(network: nn.Module, inputs: Inputs, path: Path) -> Run:
    with torch.no_grad():
        traced = torch.jit.trace(network, _example(inputs))
    torch.jit.save(traced, str(path), {"class_names": json.dumps(inputs.class_names)})
    read = torch.jit.load(str(path), "cpu")
    return lambda images: _run_torch(read, images)


def _write_pt2(network: nn.Module, inputs: Inputs, path: Path) -> Run:
    names = {"class_names": json.dumps(inputs.class_names)}
    torch.export.save(_followed(network, inputs), str(path), extra_files=names)
    read = torch.export.load(str(path)).module()
    return lambda images: _run_torch(read, images)


def _run_torch(network: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(images)).numpy()


_WRITERS: dict[str, Callable[[nn.Module, Inputs, Path], Run]] = {
    "onnx": _write_onnx,
    "torchscript": _write_torchscript,
    "pt2": _write_pt2,
}
