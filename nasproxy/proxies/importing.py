"""Proxy sets made elsewhere: .npz, .safetensors or .pt files of images and labels."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from nasproxy.data.dataset import Dataset, as_dataset
from nasproxy.data.images import Normalisation
from nasproxy.errors import UserError
from nasproxy.proxies.provenance import describe
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.system.files import read_npz
from nasproxy.system.tensors import read_tensors

_HIGH = 16.0  # no normalised value is above, and the brightest of pixels up to 255 is


def import_proxy(path: str | Path, data: Dataset | str, index: int = 0) -> ProxySet:
    """A proxy set from a file that another program made.

    Args:
        path: an .npz or .safetensors file with arrays ``images`` and ``labels``. Images are uint8
            pixels, (N, C, H, W) or (N, H, W, C), or floats (N, C, H, W): normalised by ``mean`` and
            ``std`` in the file, or pixels in [0, 1], or else normalised by the data set's own.
            Several sets may be stacked in front. Or a .pt file of such tensors, or as the
            published code of DC, DSA and DM saves it, with ``data`` a list of images and labels.
        data: that the set stands for, or its name; it is brought to this set's normalisation.
        index: which of several sets, from 0.

    Raises:
        UserError: the file is missing or unreadable, or its arrays don't fit the data set.
    """
    path, data = Path(path), as_dataset(data)
    arrays = _read(path, index)
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
    made = {"file": path.name, "sha256": _digest(path), "index": index}
    metadata = describe(data, path.stem, made)
    try:
        return ProxySet(pixels, torch.from_numpy(labels), metadata)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read(path: Path, index: int) -> dict[str, np.ndarray]:
    if path.suffix in (".pt", ".pth"):
        return _of_tensors(path, index)
    if path.suffix != ".safetensors":
        return read_npz(path)
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        tensors = load_file(path).items()
        return {k: (v.float() if v.is_floating_point() else v).numpy() for k, v in tensors}
    except Exception as error:  # safetensors, torch and json each have their own
        raise UserError(f"{path}: not a readable .safetensors file ({error})") from None


def _of_tensors(path: Path, index: int) -> dict[str, np.ndarray]:
    """Tensors by name, or set number `index` of those that DM's code saves as pairs.

    Raises:
        UserError: the file is neither, or has no such set.
    """
    found = read_tensors(path)
    if isinstance(found, Mapping) and isinstance(found.get("data"), list | tuple):
        pairs = found["data"]
        if not 0 <= index < len(pairs):
            raise UserError(f"{path}: expected an index from 0 to {len(pairs) - 1}, got {index}")
        found = dict(zip(("images", "labels"), pairs[index]))
    if isinstance(found, list | tuple):
        found = dict(zip(("images", "labels"), found))
    if not isinstance(found, Mapping):
        raise UserError(f"{path}: expected tensors images and labels, got {type(found).__name__}")
    tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
    return {
        k: (v.float() if v.is_floating_point() else v).numpy(force=True) for k, v in tensors.items()
    }


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
        return _of_pixels(given, data)
    mean, std = np.ravel(arrays["mean"]), np.ravel(arrays["std"])
    for numbers in (mean, std):
        if numbers.dtype.kind not in "iuf" or len(numbers) != given.shape[1]:
            raise UserError(f"{path}: expected {given.shape[1]} numbers as mean and std")
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise UserError(f"{path}: expected a finite mean and a std above 0, got {mean} and {std}")
    theirs = Normalisation(tuple(mean.tolist()), tuple(std.tolist()))
    ours = data.normalisation
    unit = given * _column(theirs.std) + _column(theirs.mean)
    return (unit - _column(ours.mean)) / _column(ours.std)


def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1)


def _of_pixels(images: Tensor, data: Dataset) -> Tensor:
    """Floats that are pixels normalised: what is normalised has values below 0, and none so high.

    Pixels are from 0 to 1, or to 255.
    """
    if not images.numel() or not (images.min() >= 0 and images.max() <= 255):
        return images
    high = float(images.max())
    if 1 < high <= _HIGH:
        return images
    mean, std = (_column(v) for v in (data.normalisation.mean, data.normalisation.std))
    return (images / (1 if high <= 1 else 255) - mean) / std


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
