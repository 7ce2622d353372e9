"""Differentiable Siamese augmentation (DSA; Zhao & Bilen 2021, arXiv 2102.08259), batched.

A strategy names groups of operations, joined by underscores, such as ``color_crop_cutout``. Each
draw picks one group and its random parameters. Images of one set may share a draw, and two sets
can share the same draws, which is what makes the augmentation Siamese.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nasproxy.errors import UserError, nearest

FULL_STRATEGY = "color_crop_cutout_flip_scale_rotate"  # DM paper, section 4.1
_CROP = 0.125  # largest shift, as a fraction of the side
_CUTOUT = 0.5  # side of the hole, as a fraction of the image's
_SCALE = 1.2  # largest zoom per axis, and the inverse of the smallest
_ROTATE = torch.pi * 15 / 180  # largest angle, radians


@dataclass(frozen=True)
class Draw:
    """Random numbers for `n` augmentations: which group each uses, and its parameters."""

    groups: tuple[str, ...]
    group: Tensor  # (n,) int64, index into groups
    uniform: Tensor  # (n, 3) float32 in [0, 1)

    def __getitem__(self, index: Tensor) -> "Draw":
        """The draws named by `index` (m,) int64: repeat one to share it between images."""
        return Draw(self.groups, self.group[index], self.uniform[index])


def parse_strategy(strategy: str, flip: bool = True) -> tuple[str, ...]:
    """The groups of a strategy; ``none`` or an empty string is no augmentation.

    `flip` False leaves mirror images out, for data such as digits where they change the meaning.

    Raises:
        UserError: a group is unknown.
    """
    groups = tuple(part for part in strategy.split("_") if part not in ("", "none"))
    for group in groups:
        if group not in OPERATIONS:
            hint = nearest(group, OPERATIONS)
            raise UserError(f"unknown augmentation {group!r} in {strategy!r}{hint}")
    return tuple(group for group in groups if flip or group != "flip")


def draw(groups: tuple[str, ...], n: int, generator: torch.Generator) -> Draw:
    """Draw `n` augmentations, each one group of `groups`; the generator must live on the CPU."""
    group = torch.randint(max(len(groups), 1), (n,), generator=generator)
    return Draw(groups, group, torch.rand(n, 3, generator=generator))


def augment(images: Tensor, draws: Draw) -> Tensor:
    """Apply the i-th draw to the i-th image; gradients flow through.

    Args:
        images: (N, C, H, W) float32, normalised.
        draws: N draws.
    """
    if not draws.groups:
        return images
    parts, order = [], []
    for number, name in enumerate(draws.groups):
        index = (draws.group == number).nonzero()[:, 0]
        if len(index):
            uniform = draws.uniform[index].to(images.device)
            part = images[index.to(images.device)]
            parts.append(OPERATIONS[name](part, uniform))
            order.append(index)
    back = torch.cat(order).argsort().to(images.device)
    return torch.cat(parts)[back]


def _color(x: Tensor, u: Tensor) -> Tensor:
    brightness, saturation, contrast = (u[:, i].view(-1, 1, 1, 1) for i in range(3))
    x = x + (brightness - 0.5)
    if x.shape[1] > 1:  # a grey image has no saturation: this would leave it as it is
        grey = x.mean(1, keepdim=True)
        x = (x - grey) * (2 * saturation) + grey
    level = x.mean((1, 2, 3), keepdim=True)
    return (x - level) * (contrast + 0.5) + level


def _crop(x: Tensor, u: Tensor) -> Tensor:
    n, _, height, width = x.shape
    pad_y, pad_x = int(height * _CROP + 0.5), int(width * _CROP + 0.5)
    padded = F.pad(x, (pad_x, pad_x, pad_y, pad_y))
    top = (u[:, 0] * (2 * pad_y + 1)).long()
    left = (u[:, 1] * (2 * pad_x + 1)).long()
    rows = top.view(-1, 1, 1) + torch.arange(height, device=x.device).view(1, -1, 1)
    columns = left.view(-1, 1, 1) + torch.arange(width, device=x.device).view(1, 1, -1)
    which = torch.arange(n, device=x.device).view(-1, 1, 1)
    return padded.permute(0, 2, 3, 1)[which, rows, columns].permute(0, 3, 1, 2)


def _cutout(x: Tensor, u: Tensor) -> Tensor:
    height, width = x.shape[2:]
    hole_y, hole_x = int(height * _CUTOUT + 0.5), int(width * _CUTOUT + 0.5)
    top = (u[:, 0] * (height + (1 - hole_y % 2))).long().view(-1, 1) - hole_y // 2
    left = (u[:, 1] * (width + (1 - hole_x % 2))).long().view(-1, 1) - hole_x // 2
    y, x_ = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    inside_y = (y >= top) & (y < top + hole_y)  # (N, H)
    inside_x = (x_ >= left) & (x_ < left + hole_x)  # (N, W)
    hole = inside_y[:, None, :, None] & inside_x[:, None, None, :]
    return x * ~hole


def _flip(x: Tensor, u: Tensor) -> Tensor:
    return torch.where(u[:, :1, None, None] < 0.5, x.flip(3), x)


def _scale(x: Tensor, u: Tensor) -> Tensor:
    factor = u[:, :2] * (_SCALE - 1 / _SCALE) + 1 / _SCALE
    zero = torch.zeros_like(factor[:, 0])
    return _affine(x, (factor[:, 0], zero, zero, factor[:, 1]))


def _rotate(x: Tensor, u: Tensor) -> Tensor:
    angle = (u[:, 0] * 2 - 1) * _ROTATE
    sides = x.shape[2] / x.shape[3]  # the grid's unit is half a side, in both directions
    return _affine(x, (angle.cos(), -angle.sin() * sides, angle.sin() / sides, angle.cos()))


def _affine(x: Tensor, matrix: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Resample under the 2x2 matrices (a, b, c, d), each entry (N,); outside is zero."""
    zero = torch.zeros_like(matrix[0])
    a, b, c, d = matrix
    theta = torch.stack((a, b, zero, c, d, zero), 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
