"""Data sets that are known by name."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nasproxy.data.arrays import Arrays, read_npz_file
from nasproxy.errors import UserError
from nasproxy.system.files import expanded

DEFAULT_ROOT = os.environ.get("NASPROXY_DATA", "~/.cache/nasproxy")


# Sets whose mirror images are other things, or nothing: digits, letters, traffic signs.
_ONE_WAY = {"digits", "mnist", "kmnist", "emnist", "qmnist", "notmnist", "svhn", "usps", "omniglot",
            "gtsrb"}  # fmt: skip


def absolute(name: str) -> Path:
    """The path of a file or folder from the root on: ``.`` has no name of its own."""
    return Path(os.path.normpath(expanded(name).absolute()))


def keeps_class(name: str) -> bool:
    """Whether a mirror image keeps its class in a set of this name or path, as far as it says."""
    path = absolute(name)
    words = re.findall(r"[a-z]+", path.stem.lower())
    of_folder = "".join(re.findall("[a-z]+", path.parent.name.lower()))
    return "fashion" in words or not {*words, of_folder} & _ONE_WAY


def read_named(name: str, root: str) -> Arrays:
    """A data set of the table: from an ``.npz`` of its name in `root`, else from its source.

    Raises:
        UserError: it is not there and can't be downloaded, or a file is damaged.
    """
    source, path = DATASETS[name], expanded(root) / f"{name}.npz"
    arrays = read_npz_file(path) if path.is_file() else source.read(root)
    names = arrays.class_names or source.class_names
    return replace(arrays, flip=source.flip, class_names=names)


def _digits(root: str) -> Arrays:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return Arrays((pixels, labels), None, tuple("0123456789"))


def _fashion(root: str) -> Arrays:
    """See ``fashion.txt``."""
    return read_npz_file(Path(__file__).parent / "fashion.npz")


def _torchvision(class_name: str, by_split: bool = False) -> Callable[[str], Arrays]:
    """A reader of `torchvision.datasets.<class_name>`, whose splits are named either way."""

    def read(root: str) -> Arrays:
        import torchvision.datasets

        folder = str(expanded(root))
        make: Any = getattr(torchvision.datasets, class_name)
        parts = []
        try:
            for part in ("train", "test"):
                which = {"split": part} if by_split else {"train": part == "train"}
                try:  # what is already there needs neither network nor a writable folder
                    parts.append(make(folder, download=False, **which))
                except RuntimeError:
                    parts.append(make(folder, download=True, **which))
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{class_name} could not be read from {folder} nor downloaded ({reason}); "
                "put its files there, or give --root"
            ) from None
        names = getattr(parts[0], "classes", None)
        train, test = ((_array(p), _labels(p)) for p in parts)
        return Arrays(train, test, tuple(map(str, names)) if names else None)

    return read


def _array(source: Any) -> np.ndarray:
    """A torchvision set's images as (N, H, W[, C]); SVHN and STL10 keep channels first."""
    array = np.asarray(source.data)
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 and array.shape[1] == 3 else array


def _labels(source: Any) -> np.ndarray:
    return np.asarray(source.targets if hasattr(source, "targets") else source.labels)


@dataclass(frozen=True)
class _Source:
    read: Callable[[str], Arrays]
    flip: bool = True
    class_names: tuple[str, ...] | None = None  # of an .npz without any


_GARMENTS = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
DATASETS = {
    "digits": _Source(_digits, flip=False),
    "fashion": _Source(_fashion, class_names=_GARMENTS),
    "mnist": _Source(_torchvision("MNIST"), flip=False),
    "fashion_mnist": _Source(_torchvision("FashionMNIST"), class_names=_GARMENTS),
    "kmnist": _Source(_torchvision("KMNIST"), flip=False),
    "cifar10": _Source(
        _torchvision("CIFAR10"),
        class_names=(
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
    ),
    "cifar100": _Source(_torchvision("CIFAR100")),
    "svhn": _Source(_torchvision("SVHN", by_split=True), flip=False),
    "stl10": _Source(_torchvision("STL10", by_split=True)),
}
