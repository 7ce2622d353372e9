"""The one training function: proxy score, early stopping and truth differ in data and recipe."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.augment import FULL_STRATEGY, augment, draw, parse_strategy
from nasproxy.data import ImageSet, Normalisation
from nasproxy.errors import BrokenArchitecture, UserError
from nasproxy.layout import autocast, check_precision, make_fast
from nasproxy.runtime import images_at_once

READINGS = {  # what a training may be scored by, in words
    "accuracy": "validation accuracy",
    "loss": "-validation loss",
    "train_loss": "-training loss of the last epoch",
    "mean_loss": "-mean training loss",
    "fit_loss": "-loss on the training images as they are",
    "both": "mean of accuracy and fit",
}
LOSSES = tuple(name for name in READINGS if name.endswith("loss"))  # the lower the better
_MARKS = 10  # points of a learning curve


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
            at it.
        read: which of `READINGS` scores it; the others are recorded beside the score. `both`
            is the mean of two probabilities, of being right on a validation image and (its
            geometric mean) on an image trained on: how well a network generalises, and how
            well it learns.
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
    read: Literal["accuracy", "loss", "train_loss", "mean_loss", "fit_loss", "both"] = "accuracy"
    image_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch_size", "image_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"expected {name} of 1 or more, got {value}")
        if not 0 < self.lr < math.inf:
            raise UserError(f"expected lr above 0, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise UserError(f"expected momentum in [0, 1), got {self.momentum}")
        if self.nesterov and self.momentum == 0:
            raise UserError("nesterov needs a momentum above 0; set nesterov=false")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"expected weight_decay of 0 or more, got {self.weight_decay}")
        if self.schedule not in ("cosine", "step", "constant"):
            raise UserError(f"expected schedule cosine, step or constant, got {self.schedule!r}")
        if self.read not in READINGS:
            raise UserError(f"expected read {', '.join(READINGS)}, got {self.read!r}")
        check_precision(self.precision)
        parse_strategy(self.augment)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the same for the same training, also in studies made by older versions."""
        values = dataclasses.asdict(self)
        if self.image_size is None:  # it came later
            del values["image_size"]
        return values

    def batches(self, images: int) -> int:
        """Updates in a pass over so many images."""
        return len(list(_batches(torch.arange(images), self.batch_size)))

    def passes(self, images: int) -> int:
        """Passes over so many images, the last of which may be a part of one."""
        steps = self.steps or self.epochs * self.batches(images)
        return math.ceil(steps / self.batches(images))

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


@dataclass(frozen=True)
class Evaluation:
    """How a network does on a set: fraction right in [0, 1], mean cross-entropy in nats."""

    accuracy: float
    loss: float


def train(
    network: nn.Module,
    images: ImageSet,
    recipe: Recipe,
    normalisation: Normalisation,
    *,
    flip: bool = True,
    seed: int = 0,
) -> float:
    """Train a network in place and return the mean loss of the last epoch, in nats.

    See `Training` for the arguments.

    Raises:
        BrokenArchitecture: the loss became infinite or NaN.
    """
    training = Training(network, images, recipe, normalisation, flip=flip, seed=seed)
    training.run()
    return training.loss


class Training:
    """A network being trained in place; it can be put aside after any epoch, and taken up again.

    Args:
        network: on the device of `images`, its weights already drawn.
        images: uint8 or normalised float32, labels hard or soft.
        recipe: see `Recipe`.
        normalisation: for uint8 images.
        flip: False leaves mirror images out of the augmentation.
        seed: of the order and the augmentation. Dropout and the like use torch's own generators.

    Attributes:
        epochs: passes over `images` that the recipe asks for; the last may be a part of one.
        epoch: passes done.
        loss: mean loss of the last of them, in nats.
        mean_loss: mean loss of all updates so far, in nats: low where a network learns fast
            (training speed estimation, Ru et al., NeurIPS 2021, arXiv 2006.04492).
        curve: `loss` by epoch, after each tenth of the epochs of this process.
    """

    def __init__(
        self,
        network: nn.Module,
        images: ImageSet,
        recipe: Recipe,
        normalisation: Normalisation,
        *,
        flip: bool = True,
        seed: int = 0,
    ) -> None:
        self.network = make_fast(network, recipe.precision)
        self.epoch, self.loss, self.mean_loss = 0, math.nan, math.nan
        self.curve: dict[int, float] = {}
        self._summed = 0.0  # losses of all updates
        self._images, self._recipe, self._normalisation = images, recipe, normalisation
        self._generator = torch.Generator().manual_seed(seed)
        self._groups = parse_strategy(recipe.augment, flip)
        self._per_epoch = recipe.batches(len(images))
        self._steps = recipe.steps or recipe.epochs * self._per_epoch
        self.epochs = recipe.passes(len(images))
        self._marks = {-(-self.epochs * k // _MARKS) for k in range(1, _MARKS + 1)}
        self._optimizer = torch.optim.SGD(
            network.parameters(),
            recipe.lr,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
            fused=True,
        )

    def run(self, until: int | None = None) -> None:
        """Train until `until` epochs are done; None is all of them.

        Raises:
            BrokenArchitecture: the loss became infinite or NaN.
        """
        self.network.train()
        while self.epoch < min(until or self.epochs, self.epochs):
            self._run_epoch()

    def _run_epoch(self) -> None:
        step = first = self.epoch * self._per_epoch
        total = torch.zeros((), device=self._images.images.device)
        order = torch.randperm(len(self._images), generator=self._generator)
        for inputs, labels in _augmented(
            self._images, order, self._recipe, self._groups, self._normalisation, self._generator
        ):
            self._optimizer.param_groups[0]["lr"] = self._recipe.learning_rate(step / self._steps)
            self._optimizer.zero_grad()
            with autocast(self._recipe.precision, inputs.device):
                logits = self.network(inputs)
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()
            self._optimizer.step()
            total += loss.detach()
            step += 1
            if step == self._steps:
                break
        summed = total.item()  # each look waits for the GPU: once an epoch
        self._summed += summed
        self.loss, self.mean_loss = summed / (step - first), self._summed / step
        if not math.isfinite(self.loss):
            raise BrokenArchitecture(f"training diverged: the loss became {self.loss}")
        self.epoch += 1
        if self.epoch in self._marks:
            self.curve[self.epoch] = self.loss

    def state(self) -> dict[str, Tensor]:
        """All that the rest of the training depends on, torch's own generators included."""
        state = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for number, parameter in enumerate(self.network.parameters()):
            buffer = self._optimizer.state[parameter].get("momentum_buffer")
            if buffer is not None:
                state[f"momentum.{number}"] = buffer
        state["order"], state["torch"] = self._generator.get_state(), torch.get_rng_state()
        device = self._images.images.device
        if device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(device)
        state["epoch"], state["loss"] = torch.tensor(self.epoch), torch.tensor(self.loss)
        state["summed"] = torch.tensor(self._summed, dtype=torch.float64)
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()` of a training with the same arguments."""
        prefix = "network."
        self.network.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        for number, parameter in enumerate(self.network.parameters()):
            if f"momentum.{number}" in state:
                buffer = torch.empty_like(parameter).copy_(state[f"momentum.{number}"])
                self._optimizer.state[parameter]["momentum_buffer"] = buffer.detach()
        self._generator.set_state(state["order"])
        torch.set_rng_state(state["torch"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self._images.images.device)
        self.epoch, self.loss = int(state["epoch"]), float(state["loss"])
        self._summed = float(state["summed"])
        self.mean_loss = self._summed / min(self.epoch * self._per_epoch, self._steps)


@torch.inference_mode()
def check_network(network: nn.Module, inputs: Tensor, num_classes: int) -> None:
    """Make sure that a network gives `num_classes` finite logits for inputs (N, C, H, W).

    Raises:
        BrokenArchitecture: it does not.
    """
    logits = network.eval()(inputs)
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != (len(inputs), num_classes):
        raise BrokenArchitecture(f"expected logits {(len(inputs), num_classes)}, got {shape}")
    if not torch.isfinite(logits).all():
        raise BrokenArchitecture("the untrained network gives NaN or infinity")


def evaluate_network(
    network: nn.Module,
    images: ImageSet,
    normalisation: Normalisation,
    precision: str = "float32",
) -> Evaluation:
    """Accuracy and loss on a set; of soft labels the likeliest class is the right one.

    Args:
        network: on the device of `images`.
        images: uint8 or normalised float32, labels hard or soft.
        normalisation: for uint8 images.
        precision: see `Recipe`.

    Raises:
        BrokenArchitecture: the loss is infinite or NaN.
    """
    make_fast(network, precision).eval()
    correct = torch.zeros((), dtype=torch.int64, device=images.labels.device)
    loss = torch.zeros((), device=images.labels.device)
    together = images_at_once(images.images)
    batches = zip(images.images.split(together), images.labels.split(together))
    with torch.inference_mode():  # not around `make_fast`: its weights may be trained again
        for pixels, labels in batches:
            inputs = normalisation(pixels).contiguous(memory_format=torch.channels_last)
            with autocast(precision, inputs.device):
                logits = network(inputs).float()
            hard = labels if labels.ndim == 1 else labels.argmax(1)
            correct += (logits.argmax(1) == hard).sum()
            loss += F.cross_entropy(logits, labels, reduction="sum")
    if not torch.isfinite(loss):
        raise BrokenArchitecture(f"evaluation gave a loss of {loss.item()}")
    return Evaluation(correct.item() / len(images), loss.item() / len(images))


def _augmented(
    images: ImageSet,
    order: Tensor,
    recipe: Recipe,
    groups: tuple[str, ...],
    normalisation: Normalisation,
    generator: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of inputs and labels; several batches are augmented at once, which costs less."""
    together = max(1, 4 * images_at_once(images.images) // recipe.batch_size)
    batches = list(_batches(order, recipe.batch_size))
    for first in range(0, len(batches), together):
        some = batches[first : first + together]
        chosen = images[torch.cat(some).to(images.labels.device)]
        draws = draw(groups, len(chosen), generator)
        inputs = augment(normalisation(chosen.images), draws).contiguous(
            memory_format=torch.channels_last
        )
        sizes = [len(batch) for batch in some]
        yield from zip(inputs.split(sizes), chosen.labels.split(sizes))


def _batches(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Batches of a shuffled index; a last batch of one is left out: batch norm can't take it."""
    for batch in order.split(batch_size):
        if len(batch) > 1 or batch_size == 1 or len(order) == 1:
            yield batch
