"""Proxy sets: a few synthetic or chosen images that stand in for a training set."""

import dataclasses
import hashlib
import io
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from nasproxy.data import Dataset, ImageSet, Normalisation
from nasproxy.errors import UserError, one_line
from nasproxy.files import read_described, write_atomically, write_json

FORMAT_VERSION = 1
_ROWS = 100  # classes that a picture shows: more make none
_SEARCHED = 2000  # real images of a class among which the nearest is looked for
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

    def preview(self, path: str | Path, per_class: int = 10, data: Dataset | None = None) -> None:
        """Write the PNG of `picture`."""
        png = self.picture(per_class, data)
        write_atomically(Path(path), lambda temporary: temporary.write_bytes(png))

    def picture(self, per_class: int = 10, data: Dataset | None = None) -> bytes:
        """A PNG: a row a class, named, with up to `per_class` images.

        With `data`, each image's nearest real training image of its class stands to the right;
        not where these are the very same, as for sets that were chosen rather than made.
        """
        hard = self.labels if self.labels.ndim == 1 else self.labels.argmax(1)
        names = self.metadata["class_names"][:_ROWS]
        rows = [(hard == row).nonzero()[:per_class, 0] for row in range(len(names))]
        blocks = {self.metadata["method"]: [self.images[index] for index in rows]}
        if data is not None:
            self.check_fits(data)
            near = [
                _nearest(self.images[index], row, data) if len(index) else self.images[index]
                for row, index in enumerate(rows)
            ]
            if any(not torch.equal(self.images[i], real) for i, real in zip(rows, near)):
                blocks["nearest real image of the class"] = near
        return _draw_grid(names, blocks, self.normalisation)


def _nearest(images: Tensor, label: int, data: Dataset) -> Tensor:
    """The nearest real images (n, C, H, W), normalised, of a class, by distance of pixels."""
    index = (data.train.labels == label).nonzero()[:, 0]
    index = index[:: max(1, len(index) // _SEARCHED)][:_SEARCHED]
    real = data.normalisation(data.train.images[index].cpu())
    closest = torch.cdist(images.flatten(1), real.flatten(1)).argmin(1)
    return real[closest]


def _draw_grid(
    names: list[str], blocks: dict[str, list[Tensor]], normalisation: Normalisation
) -> bytes:
    """Blocks of images side by side, a row a name."""
    from matplotlib.figure import Figure

    from nasproxy.figures import plain_text

    shown_names = [one_line(name)[:30] for name in names]
    columns = max(1, *(len(row) for rows in blocks.values() for row in rows))
    size = (1.6 + 0.62 * columns * len(blocks), 0.5 + 0.62 * len(names))
    with plain_text():
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        for axis, (title, rows) in zip(
            figure.subplots(1, len(blocks), squeeze=False)[0], blocks.items()
        ):
            channels, height, width = rows[0].shape[1:]
            # two white pixels between images; one picture is drawn much faster than hundreds
            grid = np.full(
                ((height + 2) * len(names), (width + 2) * columns, channels), 255, np.uint8
            )
            for row, images in enumerate(rows):
                for column, pixels in enumerate(normalisation.pixels(images).permute(0, 2, 3, 1)):
                    y, x = row * (height + 2) + 1, column * (width + 2) + 1
                    grid[y : y + height, x : x + width] = pixels.numpy()
            shown = grid if channels == 3 else grid.mean(2)
            axis.imshow(shown, cmap="gray", vmin=0, vmax=255)
            axis.set_title(title, fontsize=10)
            axis.set_xticks([])
            middle = [row * (height + 2) + height / 2 for row in range(len(names))]
            axis.set_yticks(
                middle, shown_names if title == next(iter(blocks)) else [""] * len(names)
            )
            axis.tick_params(length=0)
            axis.spines[:].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


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
