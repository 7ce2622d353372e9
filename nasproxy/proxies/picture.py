"""The picture of a proxy set: a row a class, and what is nearest among the real images."""

import io

import numpy as np
import torch
from torch import Tensor

from nasproxy.data.dataset import Dataset
from nasproxy.data.images import ImageSet, Normalisation
from nasproxy.errors import one_line
from nasproxy.proxies.provenance import Provenance

_ROWS = 100  # classes that a picture shows: more make none
_SEARCHED = 2000  # real images of a class among which the nearest is looked for


def draw_picture(
    images: ImageSet, provenance: Provenance, per_class: int, data: Dataset | None
) -> bytes:
    """A PNG; see `ProxySet.picture`."""
    hard = images.labels if images.labels.ndim == 1 else images.labels.argmax(1)
    names = provenance.class_names[:_ROWS]
    rows = [(hard == row).nonzero()[:per_class, 0] for row in range(len(names))]
    blocks = {provenance.method: [images.images[index] for index in rows]}
    if data is not None:
        near = [
            _nearest(images.images[index], row, data) if len(index) else images.images[index]
            for row, index in enumerate(rows)
        ]
        if any(not torch.equal(images.images[i], real) for i, real in zip(rows, near)):
            blocks["nearest real image of the class"] = near
    return _draw_blocks(names, blocks, provenance.normalisation)


def _nearest(images: Tensor, label: int, data: Dataset) -> Tensor:
    """The nearest real images (n, C, H, W), normalised, of a class, by distance of pixels."""
    index = (data.train.labels == label).nonzero()[:, 0]
    index = index[:: max(1, len(index) // _SEARCHED)][:_SEARCHED]
    real = data.normalisation(data.train.images[index].cpu())
    closest = torch.cdist(images.flatten(1), real.flatten(1)).argmin(1)
    return real[closest]


def _draw_blocks(
    names: tuple[str, ...], blocks: dict[str, list[Tensor]], normalisation: Normalisation
) -> bytes:
    """Blocks of images side by side, a row a name."""
    from matplotlib.figure import Figure

    from nasproxy.drawing.text import plain_text

    shown_names = [one_line(name)[:30] for name in names]
    columns = max(1, *(len(row) for rows in blocks.values() for row in rows))
    size = (1.6 + 0.62 * columns * len(blocks), 0.5 + 0.62 * len(names))
    with plain_text():
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        axes = figure.subplots(1, len(blocks), squeeze=False)[0]
        for axis, (title, rows) in zip(axes, blocks.items()):
            grid, middle = _grid(rows, columns, normalisation)
            axis.imshow(grid, cmap="gray", vmin=0, vmax=255)
            axis.set_title(title, fontsize=10)
            axis.set_xticks([])
            axis.set_yticks(middle, shown_names if axis is axes[0] else [""] * len(names))
            axis.tick_params(length=0)
            axis.spines[:].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _grid(
    rows: list[Tensor], columns: int, normalisation: Normalisation
) -> tuple[np.ndarray, list[float]]:
    """Images (n, C, H, W) of each row in one picture, grey if they are; the rows' middles in it.

    One picture is drawn much faster than hundreds. Two white pixels are between images.
    """
    channels, height, width = rows[0].shape[1:]
    shape = (height + 2) * len(rows), (width + 2) * columns, channels
    grid = np.full(shape, 255, np.uint8)
    for row, images in enumerate(rows):
        for column, pixels in enumerate(normalisation.pixels(images).permute(0, 2, 3, 1)):
            y, x = row * (height + 2) + 1, column * (width + 2) + 1
            grid[y : y + height, x : x + width] = pixels.numpy()
    middle = [row * (height + 2) + height / 2 for row in range(len(rows))]
    return grid if channels == 3 else grid.mean(2), middle
