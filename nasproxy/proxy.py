"""Proxy sets: a few synthetic or chosen images that stand in for a training set."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from nasproxy.data import Dataset, ImageSet, Normalisation
from nasproxy.errors import UserError, one_line
from nasproxy.files import read_described, write_atomically, write_json

FORMAT_VERSION = 1
_KINDS: dict[str, type] = {
    **dict.fromkeys(("method", "dataset", "dataset_digest"), str),
    **dict.fromkeys(("options", "versions"), dict),
    "seed": int,
}
_REQUIRED = ("format", "method", "dataset", "dataset_digest", "mean", "std", "class_names")


@dataclass(frozen=True)
class ProxySet:
    """A small labelled set with its provenance.

    Attributes:
        images: (N, C, H, W) float32, normalised by `metadata`'s ``mean`` and ``std``.
        labels: (N,) int64 classes, or (N, classes) float32 when soft.
        metadata: JSON values: ``format``, ``method``, ``options``, ``dataset``,
            ``dataset_digest``, ``mean``, ``std``, ``class_names``, ``seed``, ``versions``.
        seconds: what making it cost, None when unknown. It is kept in a JSON file beside the
            set, so that the same seed gives the same bytes.
    """

    images: Tensor
    labels: Tensor
    metadata: dict[str, Any] = field(repr=False)
    seconds: float | None = None

    def __post_init__(self) -> None:
        _check(self.images, self.labels, self.metadata)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"ProxySet({self.metadata['method']}, {tuple(self.images.shape)}, {self.digest})"

    @property
    def image_set(self) -> ImageSet:
        """The images and labels alone, to train on."""
        return ImageSet(self.images, self.labels)

    @property
    def normalisation(self) -> Normalisation:
        return Normalisation(tuple(self.metadata["mean"]), tuple(self.metadata["std"]))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of images and labels, 16 hex digits: the same set gives the same digest."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.labels):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def check_fits(self, data: Dataset) -> None:
        """Refuse to be used with a data set it was not made from.

        Raises:
            UserError: the digests differ.
        """
        if self.metadata["dataset_digest"] != data.digest:
            raise UserError(
                f"the proxy set was made from {self.metadata['dataset']} "
                f"(digest {self.metadata['dataset_digest']}), not from {data.name} "
                f"(digest {data.digest}); condense {data.name} first"
            )
        classes, shape = self.metadata["class_names"], tuple(self.images.shape[1:])
        if (len(classes), shape) != (data.num_classes, data.input_shape):
            raise UserError(
                f"the proxy set has {len(classes)} classes and images {shape}, "
                f"{data.name} has {data.num_classes} classes and images {data.input_shape}"
            )

    def save(self, path: str | Path) -> None:
        """Write a ``.safetensors`` file, and what it cost in a ``.json`` file beside it.

        The same set gives the same ``.safetensors`` bytes.
        """
        path = Path(path)
        tensors = {"images": self.images.contiguous(), "labels": self.labels.contiguous()}
        # several metadata keys would be written in an order that varies: one key, sorted JSON
        metadata = {"nasproxy": json.dumps(self.metadata, sort_keys=True)}
        write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))
        write_json(path.with_suffix(".json"), {"seconds": self.seconds, "digest": self.digest})

    @classmethod
    def load(cls, path: str | Path) -> "ProxySet":
        """Read a file that `save` wrote.

        Raises:
            UserError: the file is missing, damaged or not a proxy set.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"no such proxy file: {path}")
        metadata, tensors = read_described(path)
        if not isinstance(metadata, dict) or tensors.keys() != {"images", "labels"}:
            raise UserError(f"{path}: not a proxy set; make one with `nasproxy condense`")
        try:
            made = cls(tensors["images"], tensors["labels"], metadata)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        return dataclasses.replace(made, seconds=_cost(path.with_suffix(".json"), made.digest))

    def preview(self, path: str | Path, per_class: int = 10) -> None:
        """Write a PNG: a row a class, up to `per_class` images each, named by class."""
        from matplotlib.figure import Figure

        from nasproxy.figures import plain_text

        names = self.metadata["class_names"][:100]  # more rows make no picture
        hard = self.labels if self.labels.ndim == 1 else self.labels.argmax(1)
        pixels = self.normalisation.pixels(self.images).permute(0, 2, 3, 1).numpy()
        columns = min(per_class, int(torch.bincount(hard).max()))
        with plain_text():
            figure = Figure(figsize=(1.5 + 0.62 * columns, 0.65 * len(names)), dpi=110)
            axes = figure.subplots(len(names), columns, squeeze=False)
            for row, name in enumerate(names):
                index = (hard == row).nonzero()[:columns, 0].tolist()
                for column in range(columns):
                    axis = axes[row, column]
                    axis.set_axis_off()
                    if column < len(index):
                        axis.imshow(pixels[index[column]].squeeze(), cmap="gray", vmin=0, vmax=255)
                axes[row, 0].text(
                    -0.15,
                    0.5,
                    one_line(name)[:30],
                    transform=axes[row, 0].transAxes,
                    ha="right",
                    va="center",
                )
            figure.tight_layout(pad=0.3, h_pad=0.15, w_pad=0.15)
            write_atomically(Path(path), lambda temporary: figure.savefig(temporary, format="png"))


def _cost(path: Path, digest: str) -> float | None:
    """Seconds from the file beside a set, if it is there and speaks of this very set."""
    try:
        cost = json.loads(path.read_text(encoding="utf-8"))
        seconds = float(cost["seconds"])
        return seconds if cost["digest"] == digest and 0 <= seconds < math.inf else None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _check(images: Tensor, labels: Tensor, metadata: dict[str, Any]) -> None:
    missing = [key for key in _REQUIRED if key not in metadata]
    if missing:
        raise UserError(f"proxy metadata lacks {', '.join(missing)}")
    if metadata["format"] != FORMAT_VERSION:
        raise UserError(
            f"expected proxy format {FORMAT_VERSION}, got {metadata['format']!r}; "
            "condense again with this version of nasproxy"
        )
    for key, kind in _KINDS.items():
        if not isinstance(metadata.get(key, kind()), kind):
            raise UserError(f"expected {kind.__name__} as {key}, got {metadata[key]!r}")
    if images.dtype != torch.float32 or images.ndim != 4 or not images.numel():
        raise UserError(
            f"expected float32 images (N, C, H, W), got {images.dtype} {tuple(images.shape)}"
        )
    if not torch.isfinite(images).all():
        raise UserError("expected finite images, got NaN or infinity")
    for key in ("mean", "std"):
        values = metadata[key]
        if (
            not isinstance(values, list)
            or len(values) != images.shape[1]
            or not all(type(v) in (int, float) and abs(v) < 1e30 for v in values)
        ):
            raise UserError(f"expected {images.shape[1]} numbers as {key}, got {values!r}")
    if min(metadata["std"]) <= 0:
        raise UserError(f"expected std above 0, got {metadata['std']}")
    _check_labels(labels, len(images), metadata["class_names"])


def _check_labels(labels: Tensor, count: int, class_names: Any) -> None:
    if (
        not isinstance(class_names, list)
        or len(class_names) < 2
        or not all(isinstance(name, str) for name in class_names)
    ):
        raise UserError(f"expected a list of class names, got {class_names!r}")
    classes = len(class_names)
    if labels.dtype == torch.int64 and labels.shape == (count,):
        if int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise UserError(
                f"expected labels from 0 to {classes - 1}, "
                f"got {int(labels.min())} to {int(labels.max())}"
            )
    elif labels.dtype == torch.float32 and labels.shape == (count, classes):
        if not torch.isfinite(labels).all():
            raise UserError("expected finite soft labels, got NaN or infinity")
        if labels.min() < 0 or (labels.sum(1) - 1).abs().max() > 1e-3:
            raise UserError("expected soft labels of 0 or more that sum to 1, image by image")
    else:
        raise UserError(
            f"expected int64 labels ({count},) or float32 ({count}, {classes}), "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
