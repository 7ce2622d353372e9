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

from nasproxy.data.dataset import Dataset
from nasproxy.data.images import ImageSet, Normalisation
from nasproxy.errors import UserError
from nasproxy.proxies.picture import draw_picture
from nasproxy.proxies.provenance import Provenance, read_metadata
from nasproxy.system.files import write_atomically, write_json
from nasproxy.system.tensors import read_described


@dataclass(frozen=True)
class ProxySet:
    """A small labelled set with its provenance.

    Attributes:
        images: (N, C, H, W) float32, normalised by the provenance's `mean` and `std`.
        labels: (N,) int64 classes, or (N, classes) float32 when soft.
        metadata: JSON values, what a file keeps of its `provenance`.
        seconds: what making it cost, None when unknown. It is kept in a JSON file beside the
            set, so that the same seed gives the same bytes.
    """

    images: Tensor
    labels: Tensor
    metadata: dict[str, Any] = field(repr=False)
    seconds: float | None = None

    def __post_init__(self) -> None:
        _check(self.images, self.labels, self.provenance)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"ProxySet({self.provenance.method}, {tuple(self.images.shape)}, {self.digest})"

    @property
    def image_set(self) -> ImageSet:
        """The images and labels alone, to train on."""
        return ImageSet(self.images, self.labels)

    @property
    def normalisation(self) -> Normalisation:
        return self.provenance.normalisation

    @cached_property
    def provenance(self) -> Provenance:
        """What the metadata say."""
        return read_metadata(self.metadata)

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
        made = self.provenance
        if made.dataset_digest != data.digest:
            raise UserError(
                f"the proxy set was made from {made.dataset} "
                f"(digest {made.dataset_digest}), not from {data.name} "
                f"(digest {data.digest}); condense {data.name} first"
            )
        classes, shape = len(made.class_names), tuple(self.images.shape[1:])
        if (classes, shape) != (data.num_classes, data.input_shape):
            raise UserError(
                f"the proxy set has {classes} classes and images {shape}, "
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

    def preview(self, path: str | Path, per_class: int = 10, data: Dataset | None = None) -> None:
        """Write the PNG of `picture`."""
        png = self.picture(per_class, data)
        write_atomically(Path(path), lambda temporary: temporary.write_bytes(png))

    def picture(self, per_class: int = 10, data: Dataset | None = None) -> bytes:
        """A PNG: a row a class, named, with up to `per_class` images.

        With `data`, each image's nearest real training image of its class stands to the right;
        not where these are the very same, as for sets that were chosen rather than made.
        """
        return draw_picture(self.image_set, self.provenance, per_class, data)


def _cost(path: Path, digest: str) -> float | None:
    """Seconds from the file beside a set, if it is there and speaks of this very set."""
    try:
        cost = json.loads(path.read_text(encoding="utf-8"))
        seconds = float(cost["seconds"])
        return seconds if cost["digest"] == digest and 0 <= seconds < math.inf else None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _check(images: Tensor, labels: Tensor, provenance: Provenance) -> None:
    if images.dtype != torch.float32 or images.ndim != 4 or not images.numel():
        raise UserError(
            f"expected float32 images (N, C, H, W), got {images.dtype} {tuple(images.shape)}"
        )
    if not torch.isfinite(images).all():
        raise UserError("expected finite images, got NaN or infinity")
    for key, values in (("mean", provenance.mean), ("std", provenance.std)):
        if len(values) != images.shape[1]:
            raise UserError(f"expected {images.shape[1]} numbers as {key}, got {list(values)}")
    _check_labels(labels, len(images), len(provenance.class_names))


def _check_labels(labels: Tensor, count: int, classes: int) -> None:
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
