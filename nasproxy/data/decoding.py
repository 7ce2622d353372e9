"""Image files and encoded images made uint8 pixels of one shape, by Pillow."""

import contextlib
import io
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nasproxy.errors import UserError

# Read by Pillow's own code or a codec's library: its EPS reader, for one, runs a program.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
_GREY = ("1", "L", "LA", "La", "F")
_DEPTHS = (8, 10, 12, 14, 16)  # bits that sensors give; files keep all above 8 in 16
_ODD = 1.5  # times larger or smaller than the middle one: a first image that says nothing of others


@dataclass(frozen=True)
class Encoded:
    """An image file's bytes that are not in a file, and what to call it."""

    name: str
    data: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Levels:
    """What the pixels of a set's images of more than 8 bits are between, by kind.

    One scale for all: an image's own would make dark and bright ones alike.

    Attributes:
        whole: least and most of whole numbers, infinite where there are none.
        real: of floats.
    """

    whole: tuple[float, float] = (math.inf, -math.inf)
    real: tuple[float, float] = (math.inf, -math.inf)


def suffixes() -> set[str]:
    """Endings of the image files that are read, in lower case."""
    from PIL import Image

    return {s for s, kind in Image.registered_extensions().items() if kind in _FORMATS}


def survey(
    train: Sequence[Path | Encoded], others: Iterable[Path | Encoded], side: int | None
) -> tuple[tuple[int, int, int], Levels]:
    """The shape (H, W, C) that a set's images are brought to, and the levels of deep ones.

    They are grey only if all for training are. The first of these decides on the size, 32 at
    least and 224 at most, unless it is far from the middle one.

    Raises:
        UserError: one can't be read.
    """
    channels, sides, levels = 1, [], Levels()
    for file in train:
        with opened(file) as image:
            sides.append(min(max(min(image.size), 32), 224))
            if image.mode not in _GREY and not image.mode.startswith("I"):
                channels = 3
            levels = _widened(levels, image)
    for file in others:
        with opened(file) as image:
            levels = _widened(levels, image)
    middle = sorted(sides)[len(sides) // 2]
    chosen = side or (sides[0] if middle / _ODD <= sides[0] <= middle * _ODD else middle)
    return (chosen, chosen, channels), levels


def _widened(levels: Levels, image: Any) -> Levels:
    if image.mode != "F" and not image.mode.startswith("I"):
        return levels
    pixels = np.asarray(image)
    low, high = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("expected finite pixels")
    if image.mode == "F":
        return Levels(levels.whole, (min(low, levels.real[0]), max(high, levels.real[1])))
    return Levels((min(low, levels.whole[0]), max(high, levels.whole[1])), levels.real)


def read_image(file: Path | Encoded, shape: tuple[int, ...], levels: Levels) -> np.ndarray:
    """One image, upright, on white where it is transparent, brought to `shape` (H, W, C).

    Raises:
        UserError: it can't be read.
    """
    with opened(file) as image:
        return brought_to(image, shape, levels)


def brought_to(image: Any, shape: tuple[int, ...], levels: Levels) -> np.ndarray:
    """An image of Pillow's, as `read_image` gives it: (H, W, C) uint8.

    Raises:
        ValueError: its pixels are not of the levels.
        Exception: whatever Pillow raises of a damaged one.
    """
    from PIL import Image, ImageOps

    height, width, channels = shape
    if image.mode == "F" or image.mode.startswith("I"):
        pixels = to_bytes(np.asarray(image), levels.real if image.mode == "F" else levels.whole)
        image = Image.fromarray(pixels)
    else:
        image.load()
        with contextlib.suppress(Exception):  # a damaged note of how the camera was held
            image = ImageOps.exif_transpose(image)
        image = _flat(image)
    converted = image.convert("L" if channels == 1 else "RGB")
    if converted.size != (width, height):
        converted = converted.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(converted).reshape(shape)


def to_bytes(pixels: np.ndarray, levels: tuple[float, float]) -> np.ndarray:
    """Pixels of more than 8 bits, or floats, as uint8, by what all of a set's are between.

    Whole numbers are shifted from the depth that they have, floats in [0, 1] are times 255, what is
    in [0, 255] stays, and anything else, such as CT's, is stretched to it.

    Raises:
        ValueError: the set had no such pixels, or these are of another scale.
    """
    low, high = levels
    if not math.isfinite(low):
        raise ValueError("its pixels have more than 8 bits, and those of the training images not")
    if low >= 0 and pixels.dtype.kind == "f" and high <= 255:
        _require_within(pixels, 1 if high <= 1 else 255)
        return (np.rint(pixels * 255.0) if high <= 1 else pixels).astype(np.uint8)
    if low >= 0 and pixels.dtype.kind in "iu" and high < 2**16:
        depth = next(bits for bits in _DEPTHS if high < 2**bits)
        _require_within(pixels, 2**depth - 1)
        return (pixels >> (depth - 8)).astype(np.uint8)
    if not np.isfinite(pixels).all():
        raise ValueError("expected finite pixels")
    stretched = (pixels.astype(np.float64) - low) * (255 / ((high - low) or 1))
    return np.rint(stretched).clip(0, 255).astype(np.uint8)


def _require_within(pixels: np.ndarray, most: float) -> None:
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= most):  # NaN is not within
        raise ValueError(
            f"expected pixels from 0 to {most}, as in the training images, got {pixels.min():g} "
            f"to {pixels.max():g}"
        )


def _flat(image: Any) -> Any:
    """An image without transparency, on white: under it, files hold anything."""
    from PIL import Image, ImageCms

    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
    clear = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if not clear and image.mode != "P":
        return image
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")  # palettes may have transparent colours
    if image.getextrema()[3][0] == 255:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


@contextlib.contextmanager
def opened(file: Path | Encoded) -> Iterator[Any]:
    """An image that is read in the block.

    Raises:
        UserError: it can't be, also one of so many pixels that it may be meant to fill the memory.
    """
    from PIL import Image

    try:
        if isinstance(file, Path) and not file.is_file():  # a pipe would be waited for
            raise OSError("it is not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.init()  # until then Pillow knows of no format
            known = [kind for kind in _FORMATS if kind in Image.OPEN]
            raw: Any = file if isinstance(file, Path) else io.BytesIO(file.data)
            with Image.open(raw, formats=known) as image:
                yield image
    except Exception as error:
        raise UserError(f"{file}: not a readable image ({error})") from None
