"""Data sets as arrays: what every source gives, and those in ``.npz`` and ``.npy`` files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nasproxy.data.decoding import Levels, to_bytes
from nasproxy.data.on_disk import StoredImages, stored_in_npy, stored_in_npz
from nasproxy.errors import UserError
from nasproxy.system.files import read_npz
from nasproxy.system.tensors import read_tensors

Part = tuple[np.ndarray | StoredImages, np.ndarray]

_IMAGES = "x|images?|imgs?|data|pixels|features|inputs?"
_LABELS = "y|labels?|targets?"
_SPLITS = {"training": "train", "train": "train", "validation": "val", "valid": "val",
           "val": "val", "testing": "test", "test": "test", "eval": "test"}  # fmt: skip
_ROLE = f"(?P<x>{_IMAGES})|(?P<y>{_LABELS})"
_SPLIT = f"(?P<split>{'|'.join(_SPLITS)})(?:set)?"
_KEYS = (
    re.compile(f"(?:{_ROLE})(?:{_SPLIT})?"),
    re.compile(f"{_SPLIT}(?:{_ROLE})"),
)


@dataclass(frozen=True)
class Arrays:
    """A data set as its source gives it, unchecked.

    Attributes:
        train: images (N, H, W) or (N, H, W, C) uint8 with labels (N,).
        test: likewise; None where the source has none.
        class_names: one a class, in label order; None where the source has none.
        flip: whether a mirror image keeps its class.
        validation: as `test`.
        notes: what has to be said of how the source was read.
        levels: of images of more than 8 bits, or of floats.
    """

    train: Part
    test: Part | None
    class_names: tuple[str, ...] | None
    flip: bool = True
    validation: Part | None = None
    notes: tuple[str, ...] = ()
    levels: Levels = field(default_factory=Levels)


def read_npz_file(path: Path) -> Arrays:
    """The set in an ``.npz`` file.

    Raises:
        UserError: it is missing or damaged, or lacks an array.
    """

    def instead(path: Path, name: str) -> StoredImages | None:
        return stored_in_npz(path, name) if (meaning(name) or "")[:2] == "x_" else None

    return named_arrays(str(path), read_npz(path, instead))


def read_tensor_file(path: Path) -> Arrays:
    """The set in a file of tensors that `torch.save` made: by name, or as a list.

    Raises:
        UserError: it is missing or damaged, holds code, or lacks an array.
    """
    found = read_tensors(path)
    if isinstance(found, list | tuple):
        found = {f"arr_{number}": value for number, value in enumerate(_flattened(found))}
    if not isinstance(found, Mapping):
        raise UserError(f"{path}: expected tensors by name, or a list, got {type(found).__name__}")
    arrays = {str(k): v.numpy(force=True) if hasattr(v, "numpy") else v for k, v in found.items()}
    return named_arrays(str(path), {k: v for k, v in arrays.items() if isinstance(v, np.ndarray)})


def _flattened(values: Any) -> list[Any]:
    """Pairs of images and labels, one after the other."""
    pairs = [v if isinstance(v, list | tuple) else [v] for v in values]
    return [value for pair in pairs for value in pair]


def has_arrays(path: Path) -> bool:
    """Whether a folder holds images or labels as ``.npy`` files; what is missing is said later."""
    found = {meaning(file.stem) for file in path.glob("*.npy")}
    return bool({"x_train", "y_train"} & found)


def read_npy_folder(path: Path) -> Arrays:
    """The set in a folder that has the arrays of an ``.npz`` as ``.npy`` files of their own.

    Raises:
        UserError: one is damaged or missing.
    """
    arrays: dict[str, Any] = {}
    for file in sorted(path.glob("*.npy")):
        try:
            if not file.is_file():
                raise OSError("it is not a file")
            is_images = (meaning(file.stem) or "")[:2] == "x_"
            stored = stored_in_npy(file) if is_images else None
            arrays[file.stem] = np.load(file, allow_pickle=False) if stored is None else stored
        except Exception as error:
            raise UserError(f"{file}: not a readable .npy of plain numbers ({error})") from None
    return named_arrays(str(path), arrays)


def meaning(key: str) -> str | None:
    """What an array's name means: ``x`` or ``y``, and ``_train``, ``_val`` or ``_test``.

    Such as ``train_images`` (medmnist), ``trainX``, ``X``; None for one that means nothing.
    """
    letters = re.sub("[-_. ]", "", key.lower())
    for pattern in _KEYS:
        if found := pattern.fullmatch(letters):
            return f"{'x' if found['x'] else 'y'}_{_SPLITS[found['split'] or 'train']}"
    return None


def named_arrays(name: str, arrays: Mapping[str, Any]) -> Arrays:
    """The set `name` of images ``x_train`` and labels ``y_train`` and, optionally, ``x_val``,
    ``y_val``, ``x_test``, ``y_test`` and ``class_names``, by these names or others of the meaning.

    Raises:
        UserError: one is missing, or two mean the same, or pixels or labels are no such things.
    """
    known = _by_meaning(name, arrays)
    odd = [k for k in ("val", "test") if (f"x_{k}" in known) != (f"y_{k}" in known)]
    if {"x_train", "y_train"} - known.keys() or odd:
        raise UserError(
            f"{name}: expected arrays x_train and y_train, and optionally both x_test and "
            f"y_test, and both x_val and y_val; got {', '.join(sorted(arrays)) or 'none'}"
        )
    kinds = [kind for kind in ("train", "val", "test") if f"x_{kind}" in known]
    images, levels = _pixels(name, {kind: known[f"x_{kind}"] for kind in kinds})
    labels, texts = _labels({kind: np.asarray(known[f"y_{kind}"]) for kind in kinds})
    names = arrays.get("class_names")
    given = texts if names is None else tuple(str(n) for n in np.asarray(names).reshape(-1))
    parts: dict[str, Part] = {kind: (images[kind], labels[kind]) for kind in kinds}
    validation = parts.get("val")
    return Arrays(parts["train"], parts.get("test"), given, validation=validation, levels=levels)


def _by_meaning(name: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays by `meaning`; a name that is one itself counts before others."""
    numbered = sorted(key for key in arrays if re.fullmatch(r"arr_\d", key))
    if numbered and len(numbered) in (2, 4) and len(numbered) == len(arrays):
        return _in_order([arrays[key] for key in numbered])
    known: dict[str, Any] = {}
    for key in sorted(arrays, key=lambda key: key != meaning(key)):
        means = meaning(key)
        if means in known and means not in arrays:
            raise UserError(f"{name}: {key!r} is one {means} too many, of {', '.join(arrays)}")
        if means is not None:
            known.setdefault(means, arrays[key])
    return known


def _in_order(arrays: list[Any]) -> dict[str, Any]:
    """Arrays without names: images have three dimensions or more; training comes first."""
    images = [a for a in arrays if np.ndim(a) >= 3]
    labels = [a for a in arrays if np.ndim(a) < 3]
    kinds = ("train", "test")
    return {
        f"{role}_{kind}": array
        for role, found in (("x", images), ("y", labels))
        for kind, array in zip(kinds, found)
    }


def _pixels(
    name: str, parts: dict[str, Any]
) -> tuple[dict[str, np.ndarray | StoredImages], Levels]:
    """Images with channels last, of uint8 where they can be; one scale for all parts.

    Raises:
        UserError: they are negative or not finite, as normalised values are.
    """
    parts = {kind: channels_last(images) for kind, images in parts.items()}
    arrays = [a for a in parts.values() if isinstance(a, np.ndarray) and a.size]
    odd = [a for a in arrays if a.dtype.kind in "biuf" and a.dtype != np.uint8]
    if not odd:
        return parts, Levels()
    low, high = min(float(a.min()) for a in odd), max(float(a.max()) for a in odd)
    real = any(a.dtype.kind == "f" for a in odd)
    if not (low >= 0 and high <= (255 if real else 2**16 - 1)):
        raise UserError(
            f"{name}: expected pixels from 0 to 255, or floats from 0 to 1, "
            f"got {low:g} to {high:g}; if they were normalised, undo it"
        )
    tops = [float(a.max()) for a in odd if a.dtype.kind == "f"]
    if tops and min(tops) <= 1 < max(tops):
        raise UserError(
            f"{name}: some images have floats up to {min(tops):g}, others up to {max(tops):g}; "
            "make them alike"
        )
    flags = all(a.dtype.kind == "b" for a in odd)

    def converted(images: Any) -> Any:
        if not any(images is one for one in odd):
            return images
        as_given = images.astype(np.float32 if real else np.int64, copy=False)
        if real and high > 1:  # perhaps resized: between whole numbers
            return np.rint(as_given).astype(np.uint8)
        return to_bytes(as_given * (255 if flags else 1), (low, 255 if flags else high))

    levels = Levels() if flags else Levels(real=(low, high)) if real else Levels((low, high))
    return {kind: converted(images) for kind, images in parts.items()}, levels


def channels_last(images: Any) -> Any:
    """(N, H, W, C) for (N, C, H, W) as torch has it, where it can be nothing else."""
    if isinstance(images, StoredImages):
        return images
    images = np.asarray(images)
    first = images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4)
    return images.transpose(0, 2, 3, 1) if first else images


def _labels(
    parts: dict[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    """One label an image, of one-hot rows and of names too; the names in order, if they are."""
    parts = {kind: _one_each(labels) for kind, labels in parts.items()}
    if not all(labels.dtype.kind == "U" for labels in parts.values()):
        return parts, None
    names = np.unique(np.concatenate(list(parts.values())))
    return {k: np.searchsorted(names, v) for k, v in parts.items()}, tuple(map(str, names))


def _one_each(labels: np.ndarray) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind in "biuf":
        hot = ((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()
        return labels.argmax(1) if hot else labels
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return labels.astype(np.int64) if labels.dtype.kind == "b" else labels
