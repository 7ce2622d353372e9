"""A data set's arrays checked, and its images split into training, validation and test."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor

from nasproxy.data.arrays import Arrays
from nasproxy.data.images import ImageSet, Normalisation
from nasproxy.data.on_disk import StoredImages, in_chunks
from nasproxy.errors import UserError


def checked(
    name: str, arrays: Arrays
) -> tuple[ImageSet, ImageSet | None, ImageSet | None, tuple[str, ...]]:
    """Training, validation and test images as tensors, and the classes' names.

    By default these are numbers.

    Raises:
        UserError: a dtype, shape or label is off, or all images are alike.
    """
    train = _image_set(name, "train", *arrays.train)
    validation = _image_set(name, "validation", *arrays.validation) if arrays.validation else None
    test = _image_set(name, "test", *arrays.test) if arrays.test else None
    largest = int(train.labels.max())
    if arrays.class_names is None and largest >= len(train):
        raise UserError(
            f"{name}: expected labels from 0 to the number of classes - 1, "
            f"got {largest} among {len(train)} images"
        )
    class_names = arrays.class_names
    if class_names is None:
        class_names = tuple(map(str, range(largest + 1)))
    parts = {"training": train, "test": test, "validation": validation}
    _check_labels(name, {k: part for k, part in parts.items() if part is not None}, class_names)
    first = train.images[:1]
    if all(bool((chunk == first).all()) for chunk in in_chunks(train.images)):
        raise UserError(f"{name}: all training images are alike; expected different ones")
    return train, validation, test, class_names


def digest_of(train: ImageSet, validation: ImageSet | None, test: ImageSet | None) -> str:
    """SHA-256 of every image and label, 16 hex digits."""
    digest = hashlib.sha256()
    for part in (train, test, validation):
        if part is None:
            continue
        if part is validation:
            digest.update(b"validation")
        digest.update(str(tuple(part.images.shape)).encode())
        for chunk in in_chunks(part.images):
            digest.update(chunk.contiguous().numpy().data)
        digest.update(part.labels.numpy().tobytes())
    return digest.hexdigest()[:16]


def repeats(train: ImageSet, validation: ImageSet) -> int:
    """How many of the validation images are, pixel by pixel, among those for training."""
    known = set(_hashes(train.images))
    return sum(each in known for each in _hashes(validation.images))


def _hashes(images: Tensor) -> Iterator[bytes]:
    for chunk in in_chunks(images):
        for image in chunk.contiguous().numpy():
            yield hashlib.blake2b(image.data, digest_size=16).digest()


def split(
    name: str,
    train: ImageSet,
    validation: ImageSet | None,
    test: ImageSet | None,
    class_names: tuple[str, ...],
) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Take validation and test images off the training images where there are none: all three.

    Validation takes a tenth of the training images, but at least 1,000 or a quarter, whichever
    is less: with fewer, accuracy is too coarse to rank by. A missing test set takes a fifth.

    Raises:
        UserError: a class has no training images left.
    """
    if test is None:
        train, test = _take_off(train, len(train) // 5)
    if validation is None:
        train, validation = _take_off(train, max(len(train) // 10, min(1000, len(train) // 4)))
    for number, class_name in enumerate(class_names):
        if not (train.labels == number).any():
            raise UserError(
                f"{name}: class {class_name!r} has too few images to be split; give it 5 or more"
            )
    return train, validation, test


def statistics(images: Tensor) -> Normalisation:
    """Exact mean and standard deviation from the histogram of each channel's 256 values."""
    values = torch.arange(256, dtype=torch.float64) / 255
    channels = range(images.shape[1])
    counts = [torch.zeros(256, dtype=torch.int64) for _ in channels]
    for chunk in in_chunks(images):
        for channel in channels:
            counts[channel] += torch.bincount(chunk[:, channel].flatten(), minlength=256)
    mean, std = [], []
    for weight in (count.double() / count.sum() for count in counts):
        average = float((weight * values).sum())
        spread = float((weight * (values - average) ** 2).sum()) ** 0.5
        mean.append(round(average, 6))
        std.append(round(max(spread, 1 / 255), 6))  # a constant channel stays finite
    return Normalisation(tuple(mean), tuple(std))


def _image_set(
    name: str, part: str, images: np.ndarray | StoredImages, labels: np.ndarray
) -> ImageSet:
    shape = images.stored if isinstance(images, StoredImages) else images.shape
    if images.dtype not in (np.uint8, torch.uint8) or len(shape) not in (3, 4):
        raise UserError(
            f"{name}: expected {part} images of pixels (N, H, W) or (N, H, W, C), "
            f"got {images.dtype} {shape}"
        )
    if not shape[0]:  # a file may declare more than Python's own length can be
        raise UserError(f"{name}: expected {part} images, got none")
    shape = (*shape, 1) if len(shape) == 3 else shape
    if shape[-1] not in (1, 3):
        raise UserError(f"{name}: expected 1 or 3 channels last, got {part} shape {shape}")
    if min(shape[1:3]) < 4:
        raise UserError(f"{name}: expected images of 4x4 pixels or more, got {shape}")
    if labels.dtype.kind not in "iu" or labels.shape != shape[:1]:
        raise UserError(
            f"{name}: expected {shape[0]} integer {part} labels, one an image, "
            f"got {labels.dtype} {labels.shape}"
        )
    pixels = cast(Tensor, images)
    if isinstance(images, np.ndarray):
        rows = images.reshape(shape).transpose(0, 3, 1, 2)
        pixels = torch.from_numpy(np.ascontiguousarray(rows))
    return ImageSet(pixels, torch.from_numpy(labels.astype(np.int64)))


def _check_labels(name: str, parts: Mapping[str, ImageSet], class_names: tuple[str, ...]) -> None:
    if len(set(class_names)) < len(class_names):
        twice = next(n for n in class_names if class_names.count(n) > 1)
        raise UserError(f"{name}: the class name {twice!r} is there twice: expected each once")
    shape = tuple(parts["training"].images.shape[1:])
    for kind, part in parts.items():
        low, high = int(part.labels.min()), int(part.labels.max())
        if low < 0 or high >= len(class_names):
            raise UserError(
                f"{name}: expected labels from 0 to {len(class_names) - 1}, got {low} to {high}"
            )
        if part.images.shape[1:] != shape:
            raise UserError(
                f"{name}: training images are {shape}, "
                f"{kind} images {tuple(part.images.shape[1:])} (C, H, W); make them alike"
            )
    counts = torch.bincount(parts["training"].labels, minlength=len(class_names))
    if len(class_names) < 2:
        raise UserError(f"{name}: expected two classes or more, got {len(class_names)}")
    if int(counts.min()) < 5:
        few = class_names[int(counts.argmin())]
        raise UserError(
            f"{name}: class {few!r} has {int(counts.min())} training images; 5 is the least"
        )


def _take_off(images: ImageSet, count: int) -> tuple[ImageSet, ImageSet]:
    """Split `count` images off, each class in proportion: what stays, what is taken."""
    generator = torch.Generator().manual_seed(0)  # one split, whatever the user's seed
    taken = torch.zeros(len(images), dtype=torch.bool)
    for label in images.labels.unique():
        index = (images.labels == label).nonzero()[:, 0]
        share = max(1, round(count * len(index) / len(images)))
        taken[index[torch.randperm(len(index), generator=generator)[:share]]] = True
    return images.subset((~taken).nonzero()[:, 0]), images.subset(taken.nonzero()[:, 0])
