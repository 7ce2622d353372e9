"""The door to data sets: by name, from files or from arrays, split once and for all."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nasproxy.data.arrays import (
    Arrays,
    has_arrays,
    named_arrays,
    read_npy_folder,
    read_npz_file,
    read_tensor_file,
)
from nasproxy.data.decoding import Levels
from nasproxy.data.folders import read_image_folder
from nasproxy.data.images import ImageSet, Normalisation
from nasproxy.data.named import DATASETS, DEFAULT_ROOT, absolute, keeps_class, read_named
from nasproxy.data.parquet import has_parquet, read_parquet
from nasproxy.data.split import checked, digest_of, repeats, split, statistics
from nasproxy.errors import UserError, nearest
from nasproxy.system.progress import say


@dataclass(frozen=True)
class Dataset:
    """A data set, split once and for all.

    The validation images, which score architectures, are those that the set comes with, or are
    split off the training images with a fixed seed; the test images are touched only by
    `evaluate` and by the last line of `run`.

    Attributes:
        name: as given to `load_dataset`.
        train, validation, test: uint8 images.
        class_names: one a class, in label order.
        normalisation: statistics of `train`.
        flip: whether a mirror image keeps its class (False for digits and letters).
        digest: SHA-256 of every image and label, 16 hex digits.
        levels: of the images of more than 8 bits that it was made of, or of floats.
    """

    name: str
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    normalisation: Normalisation
    flip: bool
    digest: str = field(repr=False)
    levels: Levels = field(default_factory=Levels, repr=False)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def is_unequal(self) -> bool:
        """Whether one class has more than three times the training images of another."""
        counts = self.train.labels.bincount(minlength=self.num_classes)
        return bool(counts.max() > 3 * counts.min())


def load_dataset(
    name: str,
    root: str = DEFAULT_ROOT,
    image_size: int | None = None,
    flip: bool | None = None,
    splits: bool = True,
) -> Dataset:
    """Load a data set by name or from files.

    Where validation or test images are given they are used; else they are split off. What has to
    be known of a set, such as images that are in two splits, is said on stderr.

    Args:
        name: ``digits`` (bundled with scikit-learn), a torchvision data set such as ``cifar10``
            (downloaded into `root` unless it is there, as its own files or as ``cifar10.npz``),
            a folder with one folder of images a class (or folders named like ``train``, ``val``
            and ``test`` of such folders; hidden files and folders are left out), or an ``.npz``
            file with pixels ``x_train`` (N, H, W[, C]), ``y_train`` (N,) and, optionally,
            ``x_val``, ``y_val``, ``x_test``, ``y_test`` and ``class_names``, by these names or
            others of the meaning (``train_images``, ``X``), a folder with these as ``.npy``
            files, a ``.pt`` file of such tensors, or ``.parquet`` files of encoded images, or a
            folder of them. More than 1 GiB of uint8 images stay in their file, unless it is
            compressed, and are read by batches; those of an image folder are decoded once into
            an ``.npy`` file beside it.
        root: where torchvision data sets are kept.
        image_size: side in pixels to which encoded images are brought; by default that of the
            first, 32 at least and 224 at most, unless it is far from the middle one.
            They are grey if all are.
        flip: whether a mirror image keeps its class; by default a set's name decides: digits'
            and letters' don't.
        splits: whether folders that are named like splits are splits; otherwise they are classes.

    Raises:
        UserError: the name is unknown, a file is missing or unreadable, or an array is off.
    """
    arrays, notes = _read(name, root, image_size, splits)
    flips = (arrays.flip if name in DATASETS else keeps_class(name)) if flip is None else flip
    called = name if Path(name).name not in ("", "..") else str(absolute(name))
    return _made(called, replace(arrays, flip=flips, notes=(*notes, *arrays.notes)))


def _read(
    name: str, root: str, image_size: int | None, splits: bool
) -> tuple[Arrays, tuple[str, ...]]:
    """What is in a data set's files, and what has to be said of its name."""
    path = absolute(name)
    suffix = path.suffix.lower()
    if name in DATASETS:
        beside = f"{name} is the data set of that name; for the folder here, give ./{name}"
        return read_named(name, root), (beside,) if path.is_dir() else ()
    if path.is_dir():
        if has_arrays(path):
            return read_npy_folder(path), ()
        if has_parquet(path):
            return read_parquet(path, image_size), ()
        return read_image_folder(path, image_size, splits), ()
    if suffix == ".npz":
        return read_npz_file(path), ()
    if suffix in (".pt", ".pth"):
        return read_tensor_file(path), ()
    if suffix == ".parquet":
        return read_parquet(path, image_size), ()
    if os.sep in name or path.suffix or name.startswith("."):
        raise UserError(f"no such folder or file of a data set: {name}")
    raise UserError(f"unknown data set {name!r}{nearest(name, DATASETS)}, a folder or an .npz file")


def as_dataset(
    data: Dataset | str,
    root: str = DEFAULT_ROOT,
    image_size: int | None = None,
    flip: bool | None = None,
    splits: bool = True,
) -> Dataset:
    """A data set itself, or that of a name, as `load_dataset` takes it."""
    if not isinstance(data, str):
        return data
    return load_dataset(data, root, image_size, flip, splits)


def from_arrays(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    name: str = "arrays",
    class_names: tuple[str, ...] | None = None,
    flip: bool = True,
    x_val: np.ndarray | None = None,
    y_val: np.ndarray | None = None,
) -> Dataset:
    """A data set from images (N, H, W) or (N, H, W, C) and labels (N,).

    Images are pixels from 0 to 255, or floats from 0 to 1. Validation and test images that are not
    given are split off.

    Raises:
        UserError: a dtype, shape or label is off.
    """
    given = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    given |= {"x_val": x_val, "y_val": y_val}
    arrays = named_arrays(name, {k: array for k, array in given.items() if array is not None})
    names = class_names or arrays.class_names
    return _made(name, replace(arrays, class_names=names, flip=flip))


def _made(name: str, arrays: Arrays) -> Dataset:
    train, validation, test, class_names = checked(name, arrays)
    digest = digest_of(train, validation, test)
    train, validation, test = split(name, train, validation, test, class_names)
    notes = list(arrays.notes)
    if again := repeats(train, validation):
        notes.append(f"{name}: {again} of {len(validation)} validation images are training images")
    for note in notes:
        say(note)
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        class_names=class_names,
        normalisation=statistics(train.images),
        flip=arrays.flip,
        digest=digest,
        levels=arrays.levels,
    )
