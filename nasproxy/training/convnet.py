"""The ConvNet that condensed sets are matched on and evaluated with (DM paper, section 4.1)."""

import math

from torch import Tensor, nn

from nasproxy.errors import UserError


class ConvNet(nn.Module):
    """`depth` blocks of [3x3 convolution, instance norm, ReLU, 2x2 average pool], then a line.

    Args:
        input_shape: (C, H, W).
        num_classes: outputs of the linear layer.
        width: channels of every convolution (paper: 128).
        depth: number of blocks; by default as many as end at about 4x4 (32x32: the paper's 3).

    Raises:
        UserError: the images are too small for so many blocks.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        width: int = 128,
        depth: int | None = None,
    ) -> None:
        super().__init__()
        channels, height, side = input_shape
        depth = default_depth(input_shape) if depth is None else depth
        blocks: list[nn.Module] = []
        if min(height, side) >> depth < 1:
            raise UserError(f"images of {height}x{side} pixels cannot be pooled {depth} times")
        for _ in range(depth):
            blocks += [
                nn.Conv2d(channels, width, 3, padding=1),
                nn.GroupNorm(width, width),  # one group a channel is instance norm with affine
                nn.ReLU(inplace=True),
                nn.AvgPool2d(2),
            ]
            channels, height, side = width, height // 2, side // 2
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels * height * side, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """Features before the linear layer: (N, C, H, W) -> (N, features)."""
        features: Tensor = self.blocks(images)
        return features.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.classifier(self.embed(images))
        return logits


def default_depth(input_shape: tuple[int, int, int]) -> int:
    """Blocks that take an image to about 4x4: 3 at 28 or 32 pixels, 4 at 64, 1 at 8."""
    return max(1, round(math.log2(min(input_shape[1:]) / 4)))
