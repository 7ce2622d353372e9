"""The one training function: proxy score, early stopping and truth differ in data and recipe."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from nasproxy.data.augmentation import augment, draw, parse_strategy
from nasproxy.data.images import ImageSet, Normalisation
from nasproxy.errors import BrokenArchitecture
from nasproxy.spaces.network import logits_of, materialise, tensors
from nasproxy.system.machine import images_at_once
from nasproxy.training.fast import laid_out, make_plain, try_fast
from nasproxy.training.precision import autocast
from nasproxy.training.recipe import Recipe

_MARKS = 10  # points of a learning curve


@dataclass(frozen=True)
class Evaluation:
    """How a network does on a set: fraction right in [0, 1], mean cross-entropy in nats.

    `balanced` is the mean of the fractions of each class.
    """

    accuracy: float
    loss: float
    balanced: float


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
        loss: mean loss of the last updates so far, as many as `Recipe.last_updates`, in nats.
        is_fast: whether `make_fast` has made the network another form that computes the same.
        mean_loss: mean loss of all updates so far, in nats: low where a network learns fast
            (training speed estimation, Ru et al., NeurIPS 2021, arXiv 2006.04492).
        curve: mean loss of an epoch, after each tenth of the epochs of this process.
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
        inputs = normalisation(images.images[:2])
        self.network = materialise(network, tuple(inputs.shape[1:]))
        self.is_fast = try_fast(network, recipe.precision, inputs)
        self.epoch, self.loss, self.mean_loss = 0, math.nan, math.nan
        self.curve: dict[int, float] = {}
        self._summed = 0.0  # losses of all updates
        self._last: deque[Tensor] = deque(maxlen=recipe.last_updates(len(images)))
        self._images, self._recipe, self._normalisation = images, recipe, normalisation
        self._generator = torch.Generator().manual_seed(seed)
        self._groups = parse_strategy(recipe.augment, flip)
        self._per_epoch = recipe.batches(len(images))
        self._steps = recipe.steps or recipe.epochs * self._per_epoch
        self.epochs = recipe.passes(len(images))
        self._marks = {-(-self.epochs * k // _MARKS) for k in range(1, _MARKS + 1)}
        self._optimizer = self._make_optimizer(fused=True)
        self._start = self.state() if self.is_fast else None

    def _make_optimizer(self, fused: bool) -> torch.optim.SGD:
        """SGD; what is not real, or has no shape yet, is nothing for the fused kernel."""
        parameters = list(self.network.parameters())
        fused = fused and all(p.is_floating_point() and not is_lazy(p) for p in parameters)
        return torch.optim.SGD(
            parameters,
            self._recipe.lr,
            self._recipe.momentum,
            weight_decay=self._recipe.weight_decay,
            nesterov=self._recipe.nesterov,
            fused=fused,
        )

    def run(self, until: int | None = None) -> None:
        """Train until `until` epochs are done; None is all of them.

        What fails in its fast form is trained again, from the start, in torch's own.

        Raises:
            BrokenArchitecture: the loss became infinite or NaN.
        """
        try:
            self._run(until)
        except BrokenArchitecture:
            raise
        except Exception:
            if self._start is None:
                raise
            start, self._start, self.is_fast = self._start, None, False
            make_plain(self.network)
            self._optimizer = self._make_optimizer(fused=False)
            self.load_state(start)
            self.curve.clear()
            self._run(until)

    def _run(self, until: int | None) -> None:
        self.network.train()
        while self.epoch < min(until or self.epochs, self.epochs):
            self._run_epoch()

    def _run_epoch(self) -> None:
        step = first = self.epoch * self._per_epoch
        total = torch.zeros((), device=self._images.images.device)
        order = torch.randperm(len(self._images), generator=self._generator)
        for inputs, labels in _augmented(
            self._images,
            order,
            self._recipe,
            self._groups,
            self._normalisation,
            self._generator,
            self.is_fast,
        ):
            self._optimizer.param_groups[0]["lr"] = self._recipe.learning_rate(step / self._steps)
            self._optimizer.zero_grad()
            with autocast(self._recipe.precision if self.is_fast else "float32", inputs.device):
                logits = logits_of(self.network(inputs))
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()
            self._optimizer.step()
            total += loss.detach()
            self._last.append(loss.detach())
            step += 1
            if step == self._steps:
                break
        summed = total.item()  # each look waits for the GPU: once an epoch
        self._summed += summed
        if not math.isfinite(summed):
            raise BrokenArchitecture(f"training diverged: the loss became {summed}")
        self.loss, self.mean_loss = torch.stack([*self._last]).mean().item(), self._summed / step
        self.epoch += 1
        if self.epoch in self._marks:
            self.curve[self.epoch] = summed / (step - first)

    def state(self) -> dict[str, Tensor]:
        """All that the rest of the training depends on, torch's own generators included."""
        state = {f"network.{name}": tensor for name, tensor in tensors(self.network)}
        for number, parameter in enumerate(self.network.parameters()):
            buffer = self._optimizer.state[parameter].get("momentum_buffer")
            if buffer is not None:
                state[f"momentum.{number}"] = buffer
        state["order"], state["torch"] = self._generator.get_state(), torch.get_rng_state()
        device = self._images.images.device
        if device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(device)
        state["epoch"], state["last"] = torch.tensor(self.epoch), torch.tensor([*self._last])
        state["summed"] = torch.tensor(self._summed, dtype=torch.float64)
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()` of a training with the same arguments."""
        with torch.no_grad():
            for name, tensor in tensors(self.network):
                tensor.copy_(state[f"network.{name}"])
        for number, parameter in enumerate(self.network.parameters()):
            if f"momentum.{number}" in state:
                buffer = torch.empty_like(parameter).copy_(state[f"momentum.{number}"])
                self._optimizer.state[parameter]["momentum_buffer"] = buffer.detach()
        self._generator.set_state(state["order"])
        torch.set_rng_state(state["torch"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self._images.images.device)
        self.epoch, self.loss = int(state["epoch"]), float(state["last"].mean())
        self._last.clear()  # of a training that failed in its fast form
        self._last.extend(state["last"].to(self._images.images.device))
        self._summed = float(state["summed"])
        self.mean_loss = self._summed / max(1, min(self.epoch * self._per_epoch, self._steps))
        if self.is_fast:
            self._start = state


@torch.no_grad()  # no inference mode: what a network keeps of its first pass is trained with
def check_network(network: nn.Module, inputs: Tensor, num_classes: int) -> None:
    """Make sure that a network gives `num_classes` finite logits for inputs (N, C, H, W).

    Raises:
        BrokenArchitecture: it does not.
    """
    logits = logits_of(network.eval()(inputs))
    shape = tuple(logits.shape)
    if shape != (len(inputs), num_classes):
        raise BrokenArchitecture(f"expected logits {(len(inputs), num_classes)}, got {shape}")
    if not torch.isfinite(logits).all():
        raise BrokenArchitecture("the untrained network gives NaN or infinity")


def evaluate_network(
    network: nn.Module,
    images: ImageSet,
    normalisation: Normalisation,
    precision: str = "float32",
    keep: list[Tensor] | None = None,
) -> Evaluation:
    """Accuracy and loss on a set; of soft labels the likeliest class is the right one.

    Args:
        network: on the device of `images`.
        images: uint8 or normalised float32, labels hard or soft.
        normalisation: for uint8 images.
        precision: see `Recipe`.
        keep: to which the logits (some, classes) of each batch are added.

    Raises:
        BrokenArchitecture: the loss is infinite or NaN.
    """
    is_fast = try_fast(network, precision, normalisation(images.images[:2]))
    network.eval()
    right: Tensor | int = 0  # of each class
    there: Tensor | int = 0
    loss = torch.zeros((), device=images.labels.device)
    together = images_at_once(images.images)
    batches = zip(images.images.split(together), images.labels.split(together))
    with torch.no_grad():
        for pixels, labels in batches:
            inputs = laid_out(normalisation(pixels), is_fast)
            if inputs.data_ptr() == pixels.data_ptr():  # a network may write into its input
                inputs = inputs.clone()
            with autocast(precision if is_fast else "float32", inputs.device):
                logits = logits_of(network(inputs)).float()
            if keep is not None:
                keep.append(logits)
            hard = labels if labels.ndim == 1 else labels.argmax(1)
            hit = hard[logits.argmax(1) == hard]
            right = right + torch.bincount(hit, minlength=logits.shape[1])
            there = there + torch.bincount(hard, minlength=logits.shape[1])
            loss += F.cross_entropy(logits, labels, reduction="sum")
    if not torch.isfinite(loss):
        raise BrokenArchitecture(f"evaluation gave a loss of {loss.item()}")
    assert isinstance(right, Tensor) and isinstance(there, Tensor)
    balanced = (right[there > 0].double() / there[there > 0]).mean().item()
    return Evaluation(right.sum().item() / len(images), loss.item() / len(images), balanced)


def _augmented(
    images: ImageSet,
    order: Tensor,
    recipe: Recipe,
    groups: tuple[str, ...],
    normalisation: Normalisation,
    generator: torch.Generator,
    is_fast: bool,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of inputs and labels; several batches are augmented at once, which costs less."""
    together = max(1, 4 * images_at_once(images.images) // recipe.batch_size)
    batches = list(recipe.split(order))
    for first in range(0, len(batches), together):
        some = batches[first : first + together]
        chosen = images[torch.cat(some).to(images.labels.device)]
        draws = draw(groups, len(chosen), generator)
        inputs = laid_out(augment(normalisation(chosen.images), draws), is_fast)
        sizes = [len(batch) for batch in some]
        yield from zip(inputs.split(sizes), chosen.labels.split(sizes))
