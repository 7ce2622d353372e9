"""Images with labels, and their pixels made numbers that networks like."""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from nasproxy.data.on_disk import StoredImages


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
        shorter_side: pixels that the shorter side of images is brought to; None leaves them.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    shorter_side: int | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 pixels (N, C, H, W) -> float32 normalised; float images are so already."""
        normalised = images if images.dtype != torch.uint8 else self._normalised(images)
        height, width = self.sides(*images.shape[2:])
        if (height, width) == images.shape[2:]:
            return normalised
        return F.interpolate(normalised, (height, width), mode="area")

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """What images of these sides are brought to."""
        if self.shorter_side is None:
            return height, width
        shorter = min(height, width)
        return round(height * self.shorter_side / shorter), round(
            width * self.shorter_side / shorter
        )

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
