"""Proxy sets made elsewhere: .npz or .safetensors files of images and labels."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from nasproxy.data import Dataset, Normalisation
from nasproxy.errors import UserError
from nasproxy.files import read_npz
from nasproxy.proxy import FORMAT_VERSION, ProxySet
from nasproxy.runtime import versions


def import_proxy(path: str | Path, data: Dataset, index: int = 0) -> ProxySet:
    """A proxy set from a file that another program made.

    Args:
        path: with arrays ``images`` and ``labels``. Images are uint8 pixels, (N, C, H, W) or
            (N, H, W, C), or float normalised by ``mean`` and ``std`` in the file (without them:
            by the data set's own), (N, C, H, W). Several sets may be stacked in front.
        data: that the set stands for; it is brought to this set's normalisation.
        index: which of several sets, from 0.

    Raises:
        UserError: the file is missing or unreadable, or its arrays don't fit the data set.
    """
    path = Path(path)
    arrays = _read(path)
    missing = {"images", "labels"} - arrays.keys()
    if missing:
        raise UserError(f"{path}: expected arrays images and labels, got {', '.join(arrays)}")
    images, labels = arrays["images"], arrays["labels"]
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"{path}: expected images of uint8 or floats, got {images.dtype}")
    if labels.dtype.kind not in "iuf":
        raise UserError(f"{path}: expected labels of numbers, got {labels.dtype}")
    if images.ndim == 5:
        if not 0 <= index < len(images):
            raise UserError(f"{path}: expected an index from 0 to {len(images) - 1}, got {index}")
        stacked = labels.shape[:2] == images.shape[:2]
        images, labels = images[index], labels[index] if stacked else labels
    pixels = _normalised(path, images, arrays, data)
    if tuple(pixels.shape[1:]) != data.input_shape:
        raise UserError(
            f"{path}: expected images {data.input_shape} as in {data.name}, "
            f"got {tuple(pixels.shape[1:])}"
        )
    soft = np.issubdtype(labels.dtype, np.floating)
    with np.errstate(over="ignore"):  # infinity is refused soon
        labels = labels.astype(np.float32 if soft else np.int64)  # of any byte order
    metadata = {
        "format": FORMAT_VERSION,
        "method": path.stem,
        "options": {"file": path.name, "sha256": _digest(path), "index": index},
        "dataset": data.name,
        "dataset_digest": data.digest,
        "mean": list(data.normalisation.mean),
        "std": list(data.normalisation.std),
        "class_names": list(data.class_names),
        "seed": 0,
        "versions": versions(),
    }
    try:
        return ProxySet(pixels, torch.from_numpy(labels), metadata)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix != ".safetensors":
        return read_npz(path)
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        tensors = load_file(path).items()
        return {k: (v.float() if v.is_floating_point() else v).numpy() for k, v in tensors}
    except Exception as error:  # safetensors, torch and json each have their own
        raise UserError(f"{path}: not a readable .safetensors file ({error})") from None


def _normalised(path: Path, images: np.ndarray, arrays: dict[str, Any], data: Dataset) -> Tensor:
    """Images (N, C, H, W) float32 under the data set's normalisation."""
    if images.ndim != 4:
        raise UserError(f"{path}: expected images of four dimensions, got {images.shape}")
    if images.dtype == np.uint8:
        if images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
            images = images.transpose(0, 3, 1, 2)
        return data.normalisation(torch.from_numpy(np.ascontiguousarray(images)))
    with np.errstate(over="ignore"):  # infinity is refused soon
        given = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    if "mean" not in arrays or "std" not in arrays:
        return given
    mean, std = np.ravel(arrays["mean"]), np.ravel(arrays["std"])
    for numbers in (mean, std):
        if numbers.dtype.kind not in "iuf" or len(numbers) != given.shape[1]:
            raise UserError(f"{path}: expected {given.shape[1]} numbers as mean and std")
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise UserError(f"{path}: expected a finite mean and a std above 0, got {mean} and {std}")
    theirs = Normalisation(tuple(mean.tolist()), tuple(std.tolist()))
    ours = data.normalisation

    def column(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values).view(-1, 1, 1)

    unit = given * column(theirs.std) + column(theirs.mean)
    return (unit - column(ours.mean)) / column(ours.std)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
