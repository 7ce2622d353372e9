"""What a trained network says of pictures, which are read and normalised as in its training."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nasproxy.data.arrays import channels_last
from nasproxy.data.decoding import Levels, brought_to, read_image, to_bytes
from nasproxy.data.images import Normalisation
from nasproxy.data.on_disk import StoredImages
from nasproxy.errors import UserError
from nasproxy.spaces.network import dummy_images, evaluating, logits_of
from nasproxy.system.machine import images_at_once
from nasproxy.system.progress import say_once

_CHANNELS = (1, 3, 4)  # of arrays: grey, RGB, RGB with what is transparent
_DECODED = 64  # pictures that are read before the network sees them


@dataclass(frozen=True)
class Prediction:
    """What a network says of N images.

    Attributes:
        labels: the likeliest class of each.
        probabilities: (N, classes) float32, of the classes in the order of `class_names`.
        class_names: one a class; numbers where the network's file has none.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Inputs:
    """How pictures were made what a network sees, as its file says it.

    Attributes:
        shape: (C, H, W) of the data set's images.
        normalisation: of these.
        levels: of those that had more than 8 bits.
        class_names: one a class.
    """

    shape: tuple[int, int, int]
    normalisation: Normalisation
    levels: Levels
    class_names: tuple[str, ...]

    def batches(self, images: Any) -> Iterator[Tensor]:
        """Pictures, as `predict` takes them, as uint8 (n, C, H, W), some at a time.

        Raises:
            UserError: one can't be read.
        """
        if isinstance(images, np.ndarray | Tensor | StoredImages):
            for some in _split(images):
                yield self._of_array(some)
            return
        pictures = list(images) if isinstance(images, Sequence | Iterator) else [images]
        pictures = [images] if isinstance(images, str) else pictures
        for first in range(0, len(pictures), _DECODED):
            few = pictures[first : first + _DECODED]
            read = [self._read(one, first + number) for number, one in enumerate(few)]
            yield _channels_first(np.stack(read))

    @property
    def _decoded(self) -> tuple[int, int, int]:
        channels, height, width = self.shape
        return height, width, channels

    def _read(self, picture: Any, number: int) -> np.ndarray:
        """One picture, whatever it is, as (H, W, C) uint8."""
        from PIL import Image

        if isinstance(picture, str | Path):
            return read_image(Path(picture), self._decoded, self.levels)
        if isinstance(picture, Image.Image):
            return self._drawn(picture, number)
        if isinstance(picture, np.ndarray | Tensor) and picture.ndim in (2, 3):
            return self._of_array(picture[None])[0].permute(1, 2, 0).numpy()
        raise UserError(
            f"image {number}: expected a file's path, an image of Pillow's or an array (H, W) or "
            f"(H, W, C), got {type(picture).__name__}"
        )

    def _drawn(self, picture: Any, number: int) -> np.ndarray:
        try:
            return brought_to(picture, self._decoded, self.levels)
        except Exception as error:  # Pillow raises all kinds of things of damaged files
            raise UserError(f"image {number}: not a readable image ({error})") from None

    def _of_array(self, given: np.ndarray | Tensor) -> Tensor:
        """An array (n, H, W[, C]), or a tensor (n, C, H, W), as uint8 (n, C, H, W)."""
        from PIL import Image

        pixels = self._pixels(given)
        if pixels.shape[1:] == self._decoded:
            return _channels_first(pixels)
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[3]]
        rows = (np.ascontiguousarray(row.squeeze(2) if mode == "L" else row) for row in pixels)
        read = [brought_to(Image.fromarray(row), self._decoded, self.levels) for row in rows]
        return _channels_first(np.stack(read))

    def _pixels(self, given: np.ndarray | Tensor) -> np.ndarray:
        """The same as (n, H, W, C) uint8.

        Raises:
            UserError: it has another shape, or values on a scale that isn't known.
        """
        pixels = given.numpy(force=True) if isinstance(given, Tensor) else given
        shape, (height, width, _) = pixels.shape, self._decoded
        as_torch = isinstance(given, Tensor) and pixels.ndim == 4 and shape[1] in _CHANNELS
        pixels = pixels.transpose(0, 2, 3, 1) if as_torch else channels_last(pixels)
        if pixels.ndim == 3 and (shape[2] not in _CHANNELS or shape[1:] == (height, width)):
            pixels = pixels[..., None]
        if pixels.ndim != 4 or pixels.shape[3] not in _CHANNELS or not min(pixels.shape[1:3]):
            raise UserError(
                f"expected images (N, H, W) or (N, H, W, C) of 1, 3 or 4 channels, got {shape}; "
                "give one alone as images[None]"
            )
        if pixels.dtype == np.uint8:
            return pixels
        return _as_bytes(pixels, self.levels)


def _as_bytes(pixels: np.ndarray, levels: Levels) -> np.ndarray:
    """Pixels of another type as uint8, on the scale of the data set's.

    Raises:
        UserError: it had none of that type, or these are no such pixels.
    """
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    kind = pixels.dtype.kind
    known = levels.real if kind == "f" else levels.whole
    if kind not in "iuf" or not np.isfinite(known).all():
        raise UserError(f"expected pixels from 0 to 255 of uint8, got {pixels.dtype}")
    try:
        rounded = np.rint(pixels) if kind == "f" and known[1] > 1 else pixels
        return to_bytes(rounded, known)
    except ValueError as error:
        raise UserError(f"images: {error}") from None


def _channels_first(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def _split(images: np.ndarray | Tensor | StoredImages) -> Iterator[np.ndarray | Tensor]:
    if len(images.shape) < 3:
        raise UserError(
            f"expected images (N, H, W) or (N, H, W, C), got {tuple(images.shape)}; give one alone "
            "as images[None]"
        )
    for first in range(0, len(images), _DECODED):
        yield images[first : first + _DECODED]


@torch.no_grad()  # no inference mode: what a network keeps of its first pass may be trained with
def predict(network: nn.Module, images: Any, inputs: Inputs) -> Prediction:
    """What a network says of images.

    Args:
        network: of as many outputs as there are classes; runs in evaluation mode, where it is.
        images: see `TrainedNetwork.predict`.
        inputs: what it was trained on.

    Raises:
        UserError: an image can't be read, or the network gives no probabilities.
    """
    classes = len(inputs.class_names)
    like = dummy_images(network, inputs.shape, 1)
    found = [torch.empty(0, classes)]
    with evaluating(network):
        for pixels in inputs.batches(images):
            for some in pixels.split(images_at_once(pixels)):
                seen = inputs.normalisation(some.to(like.device)).to(like.dtype)
                logits = logits_of(network(seen)).float().cpu()
                if logits.shape != (len(some), classes) or not torch.isfinite(logits).all():
                    raise UserError(
                        f"expected finite logits {(len(some), classes)} of the network, got "
                        f"{tuple(logits.shape)}"
                    )
                found.append(logits.softmax(1))
    probabilities = torch.cat(found)
    labels = tuple(inputs.class_names[k] for k in probabilities.argmax(1).tolist())
    return Prediction(labels, probabilities.numpy(), inputs.class_names)


def written(levels: Levels) -> dict[str, list[float] | None]:
    """Levels as JSON values; None where there are none."""
    return {
        name: list(ends) if np.isfinite(ends).all() else None
        for name, ends in (("whole", levels.whole), ("real", levels.real))
    }


def inputs_of(path: Path, about: Mapping[str, Any]) -> Inputs:
    """How pictures become what a network sees, by what its file says.

    What older versions left out is made up for: classes are numbers, and pictures are brought to
    the network's own size at once.

    Args:
        path: of the file.
        about: see `describe_network`.

    Raises:
        UserError: it doesn't say how images were normalised, or what it says makes no sense.
    """
    refuse = partial(_refuse, path)
    channels, height, width = about["input_shape"]
    mean, std = about.get("mean"), about.get("std")
    if mean is None or std is None:
        raise UserError(
            f"{path}: doesn't say how images were normalised: it lacks mean and std, which "
            "save_network keeps where they are given; call the network itself on what it saw"
        )
    if not (_numbers(mean, channels) and _numbers(std, channels) and min(std) > 0):
        raise refuse("mean and std", f"{channels} numbers, std above 0", [mean, std])
    names = about.get("class_names") or [str(k) for k in range(about["num_classes"])]
    if not isinstance(names, list) or len(names) != about["num_classes"]:
        raise refuse("class_names", f"{about['num_classes']} names", names)
    shape = about.get("image_shape")
    if shape is None:
        shape = [channels, height, width]
        recipe = about.get("recipe")
        if isinstance(recipe, dict) and recipe.get("image_size"):
            say_once(
                f"{path}: doesn't say which size images had before they were made smaller; they "
                f"are brought to {height}x{width} at once"
            )
    if not (_numbers(shape, 3) and all(type(n) is int and n > 0 for n in shape)):
        raise refuse("image_shape", "[C, H, W]", shape)
    smaller = Normalisation(tuple(mean), tuple(std), min(height, width))
    if shape[0] != channels or smaller.sides(*shape[1:]) != (height, width):
        raise refuse("image_shape", f"one that becomes {about['input_shape']}", shape)
    size = None if shape[1:] == [height, width] else smaller.shorter_side
    return Inputs(
        (channels, shape[1], shape[2]),
        Normalisation(tuple(mean), tuple(std), size),
        _levels(about.get("levels"), refuse),
        tuple(map(str, names)),
    )


def _levels(about: Any, refuse: Any) -> Levels:
    if about is None:
        return Levels()
    is_dict = isinstance(about, dict)
    ends: list[Any] = [about.get(name) for name in ("whole", "real")] if is_dict else [0]
    if not all(pair is None or _numbers(pair, 2) for pair in ends):
        raise refuse("levels", "two numbers, or null, as whole and as real", about)
    given = {k: (pair[0], pair[1]) for k, pair in zip(("whole", "real"), ends) if pair}
    return Levels(**given)


def _numbers(value: Any, count: int) -> bool:
    """Whether a JSON value is so many finite numbers."""
    is_list = isinstance(value, list) and len(value) == count
    return is_list and all(type(n) in (int, float) and np.isfinite(n) for n in value)


def _refuse(path: Path, name: str, expected: str, got: Any) -> UserError:
    return UserError(f"{path}: expected {expected} as {name}, got {json.dumps(got)[:200]}")
