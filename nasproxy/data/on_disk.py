"""Images that stay in their file: a set larger than memory, read batch by batch."""

import hashlib
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from nasproxy.errors import UserError

_IN_MEMORY = 2**30  # bytes of images up to which they are simply read
CPU = torch.device("cpu")
_SOME = 64  # images, from all over the file, by which another process knows it
_AT_ONCE = 2**26  # bytes that a pass over all images reads at a time


@dataclass(frozen=True, eq=False)
class StoredImages:
    """uint8 images (N, C, H, W) in a file where they lie as (stored, H, W, C), uncompressed.

    It takes a tensor's place in an `ImageSet`: it has a shape, a dtype and a device, and an index
    gives a tensor. Nothing is held open, so that it can be sent to another process.

    Attributes:
        path: the file.
        offset: bytes before the first image.
        stored: (stored, H, W, C).
        index: which of them these are, in order (N,) int64; None is all.
        device: where the tensors go.
    """

    path: Path
    offset: int
    stored: tuple[int, int, int, int]
    index: Tensor | None = field(default=None, repr=False)
    device: torch.device = CPU

    dtype = torch.uint8

    def __len__(self) -> int:
        return self.stored[0] if self.index is None else len(self.index)

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""
        _, height, width, channels = self.stored
        return torch.Size((len(self), channels, height, width))

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Read the images of an index (n,) or a slice: (n, C, H, W).

        Raises:
            UserError: the file is gone or has become shorter.
        """
        if isinstance(index, slice):
            index = torch.arange(len(self))[index]
        index = index.cpu()
        rows = index if self.index is None else self.index[index]
        try:
            # mapped anew for each read: pages of an earlier one would count as ours
            mapped = np.memmap(self.path, np.uint8, "r", self.offset, self.stored)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path}: cannot read its images ({error})") from None
        pixels = torch.from_numpy(mapped[rows.numpy()])  # a copy, out of the map
        return pixels.permute(0, 3, 1, 2).contiguous().to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "path": self.path.resolve(), "some": self._digest_of_some()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Find the file in another process, perhaps on another machine.

        Raises:
            UserError: it isn't there, or is another.
        """
        some = state.pop("some")
        vars(self).update(state)
        if self._digest_of_some() != some:
            raise UserError(
                f"{self.path}: expected the images that it held when the work began; "
                "it must stay as it is, and be the same on every machine"
            )

    def _digest_of_some(self) -> str:
        index = torch.linspace(0, len(self) - 1, min(_SOME, len(self))).long()
        return hashlib.sha256(self[index].cpu().numpy().tobytes()).hexdigest()

    def split(self, count: int) -> Iterator[Tensor]:
        """All images in order, `count` at a time."""
        for first in range(0, len(self), count):
            yield self[first : first + count]

    def to(self, device: torch.device) -> "StoredImages":
        """The same images, read onto a device."""
        return replace(self, device=device)

    def subset(self, index: Tensor) -> "StoredImages":
        """Those of an index (n,), still in the file."""
        return replace(self, index=index if self.index is None else self.index[index])


def fit_in_memory(shape: tuple[int, ...]) -> bool:
    """Whether uint8 images of a shape are few enough to be simply read."""
    return math.prod(shape) <= _IN_MEMORY


def in_chunks(images: Tensor) -> Iterator[Tensor]:
    """All images (N, C, H, W), stored or not, in order, as many at a time as take little memory."""
    size = max(1, images.shape[1] * images.shape[2] * images.shape[3])
    yield from images.split(max(1, _AT_ONCE // size))


def stored_in_npy(path: Path) -> StoredImages | None:
    """The images of an ``.npy`` file; None if they are few or not uint8 (N, H, W[, C])."""
    with path.open("rb") as file:
        return _stored(path, file, 0)


def stored_in_npz(path: Path, name: str) -> StoredImages | None:
    """The images of one array of an ``.npz`` file; None likewise, or if it is compressed."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        return None
    with path.open("rb") as file:
        # the local header repeats the name, and may have another extra field than the directory
        file.seek(member.header_offset + 26)
        lengths = np.frombuffer(file.read(4), "<u2")
        return _stored(path, file, member.header_offset + 30 + int(lengths.sum()))


def _stored(path: Path, file: BinaryIO, offset: int) -> StoredImages | None:
    """The array whose ``.npy`` header starts at `offset`."""
    file.seek(offset)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read[min(version[0], 2) - 1](file)
    if fortran or dtype != np.uint8 or len(shape) not in (3, 4):
        return None
    if fit_in_memory(shape):
        return None
    count, height, width, channels = (*shape, 1) if len(shape) == 3 else shape
    return StoredImages(path, file.tell(), (count, height, width, channels))
