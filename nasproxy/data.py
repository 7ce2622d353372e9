"""Labelled image sets and their split into training, validation and test data."""

import contextlib
import hashlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nasproxy.errors import UserError, nearest
from nasproxy.files import read_npz, write_atomically
from nasproxy.stored import IN_MEMORY, StoredImages, in_chunks, stored_in_npy, stored_in_npz

# Read by Pillow's own code or a codec's library: its EPS reader, for one, runs a program.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
DEFAULT_ROOT = os.environ.get("NASPROXY_DATA", "~/.cache/nasproxy")


@dataclass(frozen=True)
class ImageSet:
    """Images with a label each.

    Attributes:
        images: (N, C, H, W), uint8 pixels or float32 already normalised. Those of a large set
            are `StoredImages`, which stay in their file: take some by an index, or `split` them.
        labels: (N,) int64 classes, or (N, classes) float32 when soft.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"ImageSet({tuple(self.images.shape)}, {self.images.dtype})"

    def __getitem__(self, index: Tensor) -> "ImageSet":
        return ImageSet(self.images[index], self.labels[index])

    def subset(self, index: Tensor) -> "ImageSet":
        """The images of an index (n,) int64; what is in a file stays there."""
        if isinstance(self.images, StoredImages):
            return ImageSet(cast(Tensor, self.images.subset(index)), self.labels[index])
        return self[index]

    def to(self, device: torch.device) -> "ImageSet":
        """The same set in the memory of `device`."""
        return ImageSet(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Normalisation:
    """Per-channel statistics of the training pixels, on the scale [0, 1].

    Attributes:
        mean, std: one a channel.
        image_size: the shorter side, in pixels, that images are brought to; None leaves them.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 pixels (N, C, H, W) -> float32 normalised; float images are so already."""
        normalised = images if images.dtype != torch.uint8 else self._normalised(images)
        height, width = self.sides(*images.shape[2:])
        if (height, width) == images.shape[2:]:
            return normalised
        return F.interpolate(normalised, (height, width), mode="area")

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """What images of these sides are brought to."""
        if self.image_size is None:
            return height, width
        shorter = min(height, width)
        return round(height * self.image_size / shorter), round(width * self.image_size / shorter)

    def _normalised(self, images: Tensor) -> Tensor:
        # x / 255 / std - mean / std, with one multiplication and one addition a pixel
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=images.device)
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std)], device=images.device)
        return images.float().mul_(scale.view(-1, 1, 1)).add_(shift.view(-1, 1, 1))

    def pixels(self, images: Tensor) -> Tensor:
        """The inverse, clipped: float32 normalised -> uint8 pixels."""
        std, mean = torch.tensor(self.std), torch.tensor(self.mean)
        scaled = images.cpu() * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
        return (scaled.clamp(0, 1) * 255).round().to(torch.uint8)


@dataclass(frozen=True)
class Dataset:
    """A data set, split once and for all.

    The validation images are split off the training images with a fixed seed and score
    architectures; the test images are touched only by `evaluate` and by the last line of `run`.

    Attributes:
        name: as given to `load_dataset`.
        train, validation, test: uint8 images.
        class_names: one a class, in label order.
        normalisation: statistics of `train`.
        flip: whether a mirror image keeps its class (False for digits and letters).
        digest: SHA-256 of every image and label, 16 hex digits.
    """

    name: str
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    normalisation: Normalisation
    flip: bool
    digest: str = field(repr=False)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True)
class _Raw:
    """What a source gives: images (N, H, W) or (N, H, W, C) uint8 with labels (N,)."""

    train: tuple[np.ndarray | StoredImages, np.ndarray]
    test: tuple[np.ndarray | StoredImages, np.ndarray] | None
    class_names: tuple[str, ...] | None
    flip: bool = True


def load_dataset(name: str, root: str = DEFAULT_ROOT, image_size: int | None = None) -> Dataset:
    """Load a data set by name or from files.

    Args:
        name: ``digits`` (bundled with scikit-learn), a torchvision data set such as ``cifar10``
            (downloaded into `root` unless it is there, as its own files or as ``cifar10.npz``),
            a folder with one folder of images a class (or ``train`` and ``test`` folders of such
            folders; hidden files and folders are left out), or an ``.npz`` file with uint8
            ``x_train`` (N, H, W[, C]), ``y_train`` (N,) and, optionally, ``x_test``, ``y_test``
            and ``class_names``, or a folder with these as ``.npy`` files. More than 1 GiB of
            images stay in their file, unless it is compressed, and are read by batches; those of
            an image folder are decoded once into an ``.npy`` file beside it.
        root: where torchvision data sets are kept.
        image_size: side in pixels to which a folder's images are brought; by default that of the
            first image, 32 at least and 224 at most. They are grey if all are.

    Raises:
        UserError: the name is unknown, a file is missing or unreadable, or an array is off.
    """
    path = Path(name).expanduser()
    if name in DATASETS:
        raw = _read_named(name, root)
    elif path.suffix == ".npz":
        raw = _read_npz(path)
    elif (path / "x_train.npy").is_file():
        raw = _read_npy_folder(path)
    elif path.is_dir():
        raw = _read_folder(path, image_size)
    else:
        looks_like_path = os.sep in name or path.suffix or name.startswith(".")
        raise UserError(
            f"no such folder or .npz file: {name}"
            if looks_like_path
            else f"unknown data set {name!r}{nearest(name, DATASETS)}, a folder or an .npz file"
        )
    return _split(name, raw)


def from_arrays(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    name: str = "arrays",
    class_names: tuple[str, ...] | None = None,
    flip: bool = True,
) -> Dataset:
    """A data set from uint8 images (N, H, W) or (N, H, W, C) and integer labels (N,).

    Raises:
        UserError: a dtype, shape or label is off.
    """
    test = None
    if x_test is not None and y_test is not None:
        test = (x_test, y_test)
    return _split(name, _Raw((x_train, y_train), test, class_names, flip))


def _split(name: str, raw: _Raw) -> Dataset:
    """Check the arrays, then take validation (and, if there is none, test) off the training set.

    Validation takes a tenth of the training images, but at least 1,000 or a quarter, whichever
    is less: with fewer, accuracy is too coarse to rank by. A missing test set takes a fifth.
    """
    train = _to_image_set(name, "train", *raw.train)
    test = _to_image_set(name, "test", *raw.test) if raw.test else None
    if raw.class_names is None and int(train.labels.max()) >= len(train):
        raise UserError(
            f"{name}: expected labels from 0 to the number of classes - 1, "
            f"got {int(train.labels.max())} among {len(train)} images"
        )
    class_names = raw.class_names
    if class_names is None:
        class_names = tuple(str(c) for c in range(int(train.labels.max()) + 1))
    everything = [train] if test is None else [train, test]
    _check_labels(name, everything, class_names)
    digest = hashlib.sha256()
    for part in everything:
        digest.update(str(tuple(part.images.shape)).encode())
        for chunk in in_chunks(part.images):
            digest.update(chunk.contiguous().numpy().data)
        digest.update(part.labels.numpy().tobytes())
    if test is None:
        train, test = _take_off(train, len(train) // 5)
    train, validation = _take_off(train, max(len(train) // 10, min(1000, len(train) // 4)))
    for number, class_name in enumerate(class_names):
        if not (train.labels == number).any():
            raise UserError(
                f"{name}: class {class_name!r} has too few images to be split; give it 5 or more"
            )
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        class_names=class_names,
        normalisation=_statistics(train.images),
        flip=raw.flip,
        digest=digest.hexdigest()[:16],
    )


def _to_image_set(
    name: str, part: str, images: np.ndarray | StoredImages, labels: np.ndarray
) -> ImageSet:
    shape = images.stored if isinstance(images, StoredImages) else images.shape
    if images.dtype not in (np.uint8, torch.uint8) or len(shape) not in (3, 4):
        raise UserError(
            f"{name}: expected uint8 {part} images (N, H, W) or (N, H, W, C), "
            f"got {images.dtype} {shape}"
        )
    if not len(images):
        raise UserError(f"{name}: expected {part} images, got none")
    shape = (*shape, 1) if len(shape) == 3 else shape
    if shape[-1] not in (1, 3):
        raise UserError(f"{name}: expected 1 or 3 channels last, got {part} shape {shape}")
    if min(shape[1:3], default=0) < 4:
        raise UserError(f"{name}: expected images of 4x4 pixels or more, got {shape}")
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise UserError(
            f"{name}: expected {len(images)} integer {part} labels, one an image, "
            f"got {labels.dtype} {labels.shape}"
        )
    if isinstance(images, np.ndarray):
        pixels = images.reshape(shape).transpose(0, 3, 1, 2)
        return ImageSet(
            torch.from_numpy(np.ascontiguousarray(pixels)),
            torch.from_numpy(labels.astype(np.int64)),
        )
    return ImageSet(cast(Tensor, images), torch.from_numpy(labels.astype(np.int64)))


def _check_labels(name: str, parts: list[ImageSet], class_names: tuple[str, ...]) -> None:
    if len(set(class_names)) < len(class_names):
        twice = next(n for n in class_names if class_names.count(n) > 1)
        raise UserError(f"{name}: the class name {twice!r} is there twice: expected each once")
    for part in parts:
        low, high = int(part.labels.min()), int(part.labels.max())
        if low < 0 or high >= len(class_names):
            raise UserError(
                f"{name}: expected labels from 0 to {len(class_names) - 1}, got {low} to {high}"
            )
        if part.images.shape[1:] != parts[0].images.shape[1:]:
            raise UserError(
                f"{name}: training images are {tuple(parts[0].images.shape[1:])}, "
                f"test images {tuple(part.images.shape[1:])} (C, H, W); make them alike"
            )
    counts = torch.bincount(parts[0].labels, minlength=len(class_names))
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


def _statistics(images: Tensor) -> Normalisation:
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


def _read_npz(path: Path) -> _Raw:
    def instead(path: Path, name: str) -> StoredImages | None:
        return stored_in_npz(path, name) if name.startswith("x_") else None

    return _from_named(path, read_npz(path, instead))


def _read_npy_folder(path: Path) -> _Raw:
    """A folder with the arrays of an ``.npz`` as ``.npy`` files of their own."""
    arrays: dict[str, Any] = {}
    for file in sorted(path.glob("*.npy")):
        try:
            if not file.is_file():
                raise OSError("it is not a file")
            arrays[file.stem] = stored_in_npy(file) if file.stem.startswith("x_") else None
            if arrays[file.stem] is None:
                arrays[file.stem] = np.load(file, allow_pickle=False)
        except Exception as error:
            raise UserError(f"{file}: not a readable .npy of plain numbers ({error})") from None
    return _from_named(path, arrays)


def _from_named(path: Path, arrays: Mapping[str, Any]) -> _Raw:
    missing = {"x_train", "y_train"} - arrays.keys()
    if missing or ("x_test" in arrays) != ("y_test" in arrays):
        raise UserError(
            f"{path}: expected arrays x_train and y_train, and optionally both x_test and "
            f"y_test; got {', '.join(sorted(arrays)) or 'none'}"
        )
    names = arrays.get("class_names")
    return _Raw(
        (arrays["x_train"], arrays["y_train"].reshape(-1)),
        (arrays["x_test"], arrays["y_test"].reshape(-1)) if "x_test" in arrays else None,
        None if names is None else tuple(str(n) for n in names.reshape(-1)),
    )


def _read_folder(path: Path, image_size: int | None) -> _Raw:
    """One folder a class; the classes are the sorted folder names."""
    train_path = path / "train" if (path / "train").is_dir() else path
    class_names = _folders(train_path)
    if not class_names:
        raise UserError(f"{path}: expected one folder of images a class, found no folder")
    train = _read_classes(train_path, class_names, image_size)
    test = None
    if train_path != path and (path / "test").is_dir():
        images = train[0]
        shape = images.stored[1:] if isinstance(images, StoredImages) else images.shape[1:]
        for more in set(_folders(path / "test")) - set(class_names):
            raise UserError(f"{path / 'test'}: has a class {more!r}, which {train_path} has not")
        test = _read_classes(path / "test", class_names, image_size, shape)
    return _Raw(train, test, class_names)


def _folders(path: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in path.iterdir() if p.is_dir() and p.name[0] != "."))


def _files(folder: Path) -> Iterator[Path]:
    """The files in a folder and its folders that are not hidden; links to folders are left out.

    Raises:
        OSError: a folder may not be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name[0] != "."]
        yield from (Path(parent, name) for name in names if name[0] != ".")


def _read_classes(
    path: Path,
    class_names: tuple[str, ...],
    image_size: int | None,
    shape: tuple[int, ...] | None = None,
) -> tuple[np.ndarray | StoredImages, np.ndarray]:
    from PIL import Image

    suffixes = {s for s, kind in Image.registered_extensions().items() if kind in _FORMATS}
    files: list[Path] = []
    labels: list[int] = []
    for label, class_name in enumerate(class_names):
        folder = path / class_name
        if not folder.is_dir():
            raise UserError(f"{path}: expected a folder {class_name!r}, as there is for training")
        found = sorted(file for file in _files(folder) if file.suffix.lower() in suffixes)
        if not found:
            raise UserError(f"{folder}: expected images, found none")
        files += found
        labels += [label] * len(found)
    if shape is None:
        shape = _shape_of(files, image_size)
    if len(files) * math.prod(shape) > IN_MEMORY:
        return _decoded_beside(path, files, shape), np.array(labels)
    images = np.empty((len(files), *shape), np.uint8)
    for number, file in enumerate(files):
        images[number] = _read_image(file, shape)
    return images, np.array(labels)


def _decoded_beside(path: Path, files: list[Path], shape: tuple[int, ...]) -> StoredImages:
    """A large folder's images, decoded once into an ``.npy`` file beside the folder.

    Its name has a digest of the files' names, sizes and times: a folder that changes gets another.
    """
    stamp = hashlib.sha256()
    for file in files:
        status = file.stat()
        stamp.update(f"{file.relative_to(path)} {status.st_size} {status.st_mtime_ns}\n".encode())
    size = "x".join(map(str, shape))
    decoded = path.with_name(f"{path.name}-{size}-{stamp.hexdigest()[:12]}.npy")
    if not decoded.is_file():
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), *shape)}

        def write(temporary: Path) -> None:
            with temporary.open("wb") as out:
                np.lib.format.write_array_header_1_0(out, header)
                for file in files:
                    out.write(_read_image(file, shape).tobytes())

        write_atomically(decoded, write)
    stored = stored_in_npy(decoded)
    if stored is None or stored.stored != (len(files), *shape):
        raise UserError(f"{decoded}: not the decoded images of {path}; remove it")
    return stored


def _shape_of(files: list[Path], image_size: int | None) -> tuple[int, int, int]:
    """(H, W, C) that a folder's images are brought to: the first decides on the size.

    They are grey only if all are.
    """
    side, channels = image_size, 1
    for file in files:
        with _opened(file) as image:
            side = side or min(max(min(image.size), 32), 224)
            if image.mode not in ("1", "L", "LA", "F") and not image.mode.startswith("I"):
                channels = 3
                break
    assert side is not None
    return side, side, channels


def _read_image(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """One image, brought to `shape` (H, W, C)."""
    from PIL import Image

    with _opened(file) as opened:
        image: Image.Image = opened
        height, width, channels = shape
        if image.mode.startswith("I"):  # 16 bits: keep the upper eight
            image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
        if image.mode == "P":  # its transparency is not for RGB
            image = image.convert("RGBA")
        converted = image.convert("L" if channels == 1 else "RGB")
        if converted.size != (width, height):
            converted = converted.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(converted).reshape(shape)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """An image that is read in the block.

    Raises:
        UserError: it can't be, also one of so many pixels that it may be meant to fill the memory.
    """
    from PIL import Image

    try:
        if not file.is_file():  # a pipe would be waited for
            raise OSError("it is not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            known = [kind for kind in _FORMATS if kind in Image.OPEN]
            with Image.open(file, formats=known) as image:
                yield image
    except Exception as error:
        raise UserError(f"{file}: not a readable image ({error})") from None


_CLASS_NAMES: dict[str, tuple[str, ...]] = {  # torchvision's, for an .npz without any
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}


def _read_named(name: str, root: str) -> _Raw:
    """A data set of the table: from an .npz of its name in `root`, else from its source."""
    source, path = DATASETS[name], Path(root).expanduser() / f"{name}.npz"
    raw = _read_npz(path) if path.is_file() else source.read(root)
    names = raw.class_names or _CLASS_NAMES.get(name)
    return replace(raw, flip=source.flip, class_names=names)


def _digits(root: str) -> _Raw:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return _Raw((pixels, labels), None, tuple("0123456789"))


def _torchvision(class_name: str, by_split: bool = False) -> Callable[[str], _Raw]:
    """A reader of `torchvision.datasets.<class_name>`, whose splits are named either way."""

    def read(root: str) -> _Raw:
        import torchvision.datasets

        folder = Path(root).expanduser()
        make: Any = getattr(torchvision.datasets, class_name)
        parts = []
        try:
            for part in ("train", "test"):
                which: Mapping[str, Any] = (
                    {"split": part} if by_split else {"train": part == "train"}
                )
                try:  # what is already there needs neither network nor a writable folder
                    source = make(str(folder), download=False, **which)
                except RuntimeError:
                    source = make(str(folder), download=True, **which)
                parts.append(source)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{class_name} could not be read from {folder} nor downloaded ({reason}); "
                "put its files there, or give --root"
            ) from None
        names = getattr(parts[0], "classes", None)
        train, test = ((_array(p), _labels(p)) for p in parts)
        return _Raw(train, test, tuple(map(str, names)) if names else None)

    return read


def _array(source: Any) -> np.ndarray:
    """A torchvision set's images as (N, H, W[, C]); SVHN and STL10 keep channels first."""
    array = np.asarray(source.data)
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 and array.shape[1] == 3 else array


def _labels(source: Any) -> np.ndarray:
    return np.asarray(source.targets if hasattr(source, "targets") else source.labels)


@dataclass(frozen=True)
class _Source:
    read: Callable[[str], _Raw]
    summary: str
    flip: bool = True


DATASETS = {
    "digits": _Source(_digits, "1,797 digits of 8x8, bundled with scikit-learn", flip=False),
    "mnist": _Source(_torchvision("MNIST"), "70,000 digits of 28x28", flip=False),
    "fashion_mnist": _Source(_torchvision("FashionMNIST"), "70,000 garments of 28x28"),
    "kmnist": _Source(_torchvision("KMNIST"), "70,000 Kuzushiji letters of 28x28", flip=False),
    "cifar10": _Source(_torchvision("CIFAR10"), "60,000 photographs of 32x32, 10 classes"),
    "cifar100": _Source(_torchvision("CIFAR100"), "60,000 photographs of 32x32, 100 classes"),
    "svhn": _Source(
        _torchvision("SVHN", by_split=True), "99,289 house numbers of 32x32", flip=False
    ),
    "stl10": _Source(_torchvision("STL10", by_split=True), "13,000 photographs of 96x96"),
}
