"""How a network is trained, and what the training is scored by."""

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from nasproxy.data.augmentation import FULL_STRATEGY, parse_strategy
from nasproxy.errors import UserError
from nasproxy.training.precision import check_precision

SCHEDULES = ("cosine", "step", "constant")
READINGS = {  # what a training may be scored by, in words
    "accuracy": "validation accuracy",
    "loss": "-validation loss",
    "train_loss": "-training loss of the last updates",
    "mean_loss": "-mean training loss",
    "fit_loss": "-loss on the training images as they are",
    "both": "mean of accuracy and fit",
    "balanced_accuracy": "balanced validation accuracy",
    "balanced_both": "mean of balanced accuracy and fit",
}
LOWER = (*(name for name in READINGS if name.endswith("loss")), "latency", "seconds")
"""Numbers of a trial of which less is better."""


def is_own(read: str) -> bool:
    """Whether a reading is a function of the user's own, ``FILE.py:FUNCTION``."""
    return re.fullmatch(r".+\.py:\w+", read) is not None


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD on shuffled batches, each image augmented by its own draw.

    Attributes:
        epochs: passes over the training set, 1 or more.
        steps: number of updates; given, it takes the place of `epochs`.
        batch_size: images per update.
        lr: the learning rate at the start.
        schedule: `cosine` to 0 over all updates, `step` (a tenth from half-way) or `constant`.
        momentum: of SGD, in [0, 1).
        nesterov: whether the momentum is Nesterov's.
        weight_decay: of every parameter.
        augment: groups of augmentation such as `crop_flip`, or `none`.
        precision: `bfloat16` computes convolutions (on a GPU all matrix products) in it, and
            keeps weights, sums and norms in `float32`; `auto` does where the hardware is faster
            at it, and leaves grouped and depthwise convolutions in `float32` on a processor that
            was not measured to be.
        read: what scores it: `accuracy`, `loss`, `train_loss`, `mean_loss`, `fit_loss`, `both`,
            `balanced_accuracy` or `balanced_both`, all of which are recorded beside the score; or
            FILE.py:FUNCTION, a function of your own of the logits (N, classes) and labels (N,) of
            the validation images, higher is better. `both` is the mean of two probabilities, of
            being right on a validation image and (its geometric mean) on an image trained on: how
            well a network generalises, and how well it learns. `balanced_accuracy` is the mean of
            the classes' own accuracies; it and `balanced_both` take the place of `accuracy` and
            `both` on data where one class has more than three times the images of another.
        image_size: the shorter side, in pixels, that images are brought to (area averages), and
            that networks are built for, at most their own: half of it makes an update three to
            four times as fast. It ranks cells well, and not networks that pool or flatten whole
            maps, which are others on smaller images (docs/LOG.md, 2026-11-26). None leaves images
            as they are.
    """

    epochs: int = 30
    steps: int | None = None
    batch_size: int = 128
    lr: float = 0.05
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    augment: str = "crop_flip"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    read: str = "accuracy"
    image_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch_size", "image_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"expected {name} of 1 or more, got {value}")
        if self.nesterov and self.momentum == 0:
            raise UserError("nesterov needs a momentum above 0; set nesterov=false")
        for name, expected, met in (
            ("lr", "above 0", 0 < self.lr < math.inf),
            ("momentum", "in [0, 1)", 0 <= self.momentum < 1),
            ("weight_decay", "of 0 or more", 0 <= self.weight_decay < math.inf),
            ("schedule", ", ".join(SCHEDULES), self.schedule in SCHEDULES),
            (
                "read",
                f"{', '.join(READINGS)} or FILE.py:FUNCTION",
                self.read in READINGS or is_own(self.read),
            ),
        ):
            if not met:
                raise UserError(f"expected {name} {expected}, got {getattr(self, name)!r}")
        check_precision(self.precision)
        parse_strategy(self.augment)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the same for the same training, also in studies made by older versions."""
        values = dataclasses.asdict(self)
        if self.image_size is None:  # it came later
            del values["image_size"]
        return values

    def split(self, order: Tensor) -> Iterator[Tensor]:
        """Batches of a shuffled index; a last one of one is left out: batch norm can't take it."""
        for batch in order.split(self.batch_size):
            if len(batch) > 1 or self.batch_size == 1 or len(order) == 1:
                yield batch

    def batches(self, images: int) -> int:
        """Updates in a pass over so many images."""
        return len(list(self.split(torch.arange(images))))

    def passes(self, images: int) -> int:
        """Passes over so many images, the last of which may be a part of one."""
        steps = self.steps or self.epochs * self.batches(images)
        return math.ceil(steps / self.batches(images))

    def twice(self) -> "Recipe":
        """The same for twice as many updates."""
        if self.steps is None:
            return replace(self, epochs=2 * self.epochs)
        return replace(self, steps=2 * self.steps)

    def last_updates(self, images: int) -> int:
        """Updates whose mean is the loss at the end: a pass, or a tenth of all if that is less.

        The last pass may be a single update, and of a short training the only pass is all of it.
        """
        steps = self.steps or self.epochs * self.batches(images)
        return min(self.batches(images), math.ceil(steps / 10))

    def learning_rate(self, done: float) -> float:
        """The rate when a fraction `done` in [0, 1) of the updates is done."""
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * done)) / 2
        return self.lr * (0.1 if self.schedule == "step" and done >= 0.5 else 1.0)


# On a few hundred images: as good as three times the epochs in batches of 256 at lr 0.02
# (docs/LOG.md, 2026-11-21). The paper: 1,000 epochs of 256 at lr 0.01, schedule `step`. Read by
# `both`, 500 images ranked better than by accuracy in every space (docs/LOG.md, 2026-11-26).
PROXY_RECIPE = Recipe(epochs=100, batch_size=50, lr=0.05, augment=FULL_STRATEGY, read="both")
FULL_RECIPE = Recipe()


def balance(accuracy: float, train_loss: float) -> float:
    """The reading `both`, in [0, 1], of an accuracy in [0, 1] and a loss in nats."""
    return (accuracy + math.exp(-train_loss)) / 2
