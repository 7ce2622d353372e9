"""Scores by training: on a proxy set, on the full data, or on the full data for a short while."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from nasproxy.data.images import ImageSet, Normalisation
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.functions import OwnMetric
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.spaces.size import count_flops, count_params
from nasproxy.system.files import write_atomically
from nasproxy.system.machine import images_at_once, seeded
from nasproxy.system.memory import peak_memory
from nasproxy.training.recipe import LOWER, READINGS, Recipe, balance
from nasproxy.training.training import Training, check_network, evaluate_network
from nasproxy.workers.task import Candidate, Scores

LAST_PASS = "the last pass"
FIT_IMAGES = 1000  # training images that `fit_loss` is taken on, where there are more
LINEAR_SIDE = 16
HALF = "_half"  # after the names of readings after half of the passes, on as many images


def score_of(numbers: Mapping[str, float], read: str) -> float | None:
    """The score that a training's numbers have by a reading, higher is better; None if unknown.

    `both` and its like came later than the studies of older versions, and are made of their parts.
    """
    value, right = numbers.get(read), read.replace("both", "accuracy")
    if value is None and "both" in read and {right, "train_loss"} <= numbers.keys():
        value = balance(numbers[right], numbers["train_loss"])
    return -value if value is not None and read in LOWER else value


def linear_accuracy(
    images: ImageSet, validation: ImageSet, prepare: Normalisation, num_classes: int
) -> float:
    """Validation accuracy in [0, 1] of ridge regression on pixels, its penalty by leave-one-out.

    What a network must exceed to have learnt more than where images are bright. They are brought
    to `LINEAR_SIDE` pixels, if they are larger.

    Args:
        images: to fit on: (N, C, H, W) uint8 or normalised float32, labels hard or soft.
        validation: (M, C, H, W) uint8, hard labels.
        prepare: makes of both what networks see.
        num_classes: of the labels.
    """
    from sklearn.linear_model import RidgeCV  # takes a second to import

    if min(prepare.sides(*images.images.shape[2:])) > LINEAR_SIDE:
        prepare = replace(prepare, shorter_side=LINEAR_SIDE)
    x, y = (prepare(of.images).flatten(1).double().numpy() for of in (images, validation))
    labels = images.labels
    targets = labels if labels.ndim > 1 else nn.functional.one_hot(labels, num_classes)
    model = RidgeCV(alphas=np.logspace(0, 6, 13)).fit(x, targets.double().numpy())
    found = torch.from_numpy(model.predict(y)).argmax(1)
    return float((found == validation.labels).double().mean())


def _some(images: ImageSet) -> ImageSet:
    """`FIT_IMAGES` of a set, evenly, since it may be sorted by class; or all, if it has no more."""
    if len(images) <= FIT_IMAGES:
        return images
    index = torch.arange(FIT_IMAGES, device=images.labels.device)
    return images[index * len(images) // FIT_IMAGES]


@dataclass(frozen=True)
class TrainingEstimator(Estimator):
    """How a network does after training on `images` by `recipe`.

    Attributes:
        name: see `Estimator`.
        images: uint8 or normalised float32.
        validation: uint8, hard labels.
        digest: of what `images` came from.
        recipe: how to train.
        normalisation: of uint8 images.
        num_classes: outputs that the network must have.
        flip: whether mirror images keep their class.
        device: where to train.
        kind: see `Estimator`.
        proxy: see `Estimator`.
        own: a metric of the user's own, which is `recipe.read` then.
    """

    name: str
    images: ImageSet
    validation: ImageSet
    digest: str
    recipe: Recipe
    normalisation: Normalisation
    num_classes: int
    flip: bool
    device: str
    kind: str = "proxy"
    proxy: ProxySet | None = None
    own: OwnMetric | None = None

    copies_twins = True

    @property
    def metric(self) -> str:
        return READINGS.get(self.recipe.read, self.recipe.read)

    @property
    def read(self) -> str:
        return self.recipe.read

    @property
    def seconds_once(self) -> float | None:
        return 0.0 if self.proxy is None else self.proxy.seconds

    @property
    def identity(self) -> dict[str, str | int | float | bool]:
        recipe = json.dumps(self.recipe.to_dict())
        return {
            "estimator": self.name,
            "recipe": recipe,
            "trained_on": self.digest,
            "flip": self.flip,
            **({"metric_code": self.own.digest} if self.own else {}),
        }

    @property
    def train_loss_of(self) -> str:
        """What `train_loss` is the mean of; older versions took the last pass, whole or not."""
        last, a_pass = (
            of(len(self.images)) for of in (self.recipe.last_updates, self.recipe.batches)
        )
        same = last == a_pass and (self.recipe.steps or 0) % a_pass == 0
        return LAST_PASS if same else f"the last {last} updates"

    @property
    def network_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that networks see."""
        channels, height, width = self.validation.images.shape[1:]
        return channels, *self.prepare.sides(height, width)

    @property
    def prepare(self) -> Normalisation:
        """Makes of images what networks see."""
        return replace(self.normalisation, shorter_side=self.recipe.image_size)

    @cached_property
    def _on_device(self) -> tuple[ImageSet, ImageSet]:
        device = torch.device(self.device)
        return self.images.to(device), self.validation.to(device)

    @cached_property
    def _some(self) -> tuple[ImageSet, ImageSet]:
        """What is trained and validated on, or `FIT_IMAGES` of each, the same for all networks."""
        images, validation = self._on_device
        return _some(images), _some(validation)

    @property
    def floor(self) -> dict[str, float]:
        """See `Estimator`; of what a proxy set teaches, too: ``linear_accuracy``."""
        labels = _some(self.validation).labels
        found = {"chance": int(labels.bincount().max()) / len(labels)}
        if self.kind == "proxy":
            found["linear_accuracy"] = linear_accuracy(
                _some(self.images), _some(self.validation), self.prepare, self.num_classes
            )
        return found

    @property
    def twice(self) -> "TrainingEstimator":
        return replace(self, recipe=self.recipe.twice())

    @property
    def epochs(self) -> int:
        """Passes over the images that the recipe asks for."""
        return self.recipe.passes(len(self.images))

    @property
    def probe(self) -> "MemoryProbe":
        """See `Estimator`."""
        return MemoryProbe.of(self)

    def fit(
        self,
        candidate: Candidate,
        seed: int,
        half_way: Callable[[Training], None] = lambda training: None,
    ) -> Training:
        """Build a network and train it, as far as the candidate says.

        Args:
            candidate: with the passes that it is trained for now, and where it is put aside.
            seed: of the weights, the order and the augmentation.
            half_way: is shown the training after half of all passes, if these are of this call.
        """
        images, validation = self._on_device
        with seeded(seed):
            network = candidate.build().to(self.device)
            check_network(network, self.prepare(validation.images[:2]), self.num_classes)
            training = Training(
                network, images, self.recipe, self.prepare, flip=self.flip, seed=seed
            )
            kept = candidate.checkpoint
            if kept is not None and kept.is_file():
                training.load_state(safetensors.torch.load_file(kept))
            half = training.epochs // 2
            if training.epoch < half <= (candidate.until or training.epochs):
                training.run(half)
                half_way(training)
            training.run(candidate.until)
            if kept is not None and training.epoch < training.epochs:
                state = training.state()
                write_atomically(kept, lambda path: safetensors.torch.save_file(state, path))
            elif kept is not None:
                kept.unlink(missing_ok=True)
        return training

    def _flops(self, network: nn.Module) -> Scores:
        """Multiply-accumulates, where they can be counted: no training is lost for want of them."""
        try:
            return {"macs": float(count_flops(network, self.network_shape))}
        except Exception:
            return {}

    def _readings(self, training: Training, validation: ImageSet) -> tuple[Scores, float]:
        """All of `READINGS` of a training as it is now, and seconds of validation."""
        start = time.perf_counter()
        precision = self.recipe.precision
        logits: list[Tensor] | None = [] if self.own else None
        found = evaluate_network(training.network, validation, self.prepare, precision, logits)
        seconds = time.perf_counter() - start
        own = {}
        if self.own and logits:
            own = {self.own.name: self.own(torch.cat(logits), validation.labels)}
        fit = evaluate_network(training.network, self._some[0], self.prepare, precision)
        return {
            "accuracy": found.accuracy,
            "loss": found.loss,
            "train_loss": training.loss,
            "mean_loss": training.mean_loss,
            "fit_loss": fit.loss,
            "both": balance(found.accuracy, training.loss),
            "balanced_accuracy": found.balanced,
            "balanced_both": balance(found.balanced, training.loss),
            **own,
        }, seconds

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        """All of `READINGS` (losses in nats), at half-way too, size, latency, seconds, curve."""
        start = time.perf_counter()
        half: Scores = {}

        def look(training: Training) -> None:
            half.update(self._readings(training, self._some[1])[0])

        training = self.fit(candidate, seed, look)
        network = training.network
        readings, seconds = self._readings(training, self._on_device[1])
        end = time.perf_counter()
        score = score_of(readings, self.recipe.read)
        assert score is not None
        if candidate.keep is not None and training.epoch == training.epochs:
            candidate.keep(network, readings)
        return {
            "score": score,
            **readings,
            "params": float(count_params(network, self.network_shape)),
            **self._flops(network),
            **{f"{name}{HALF}": value for name, value in half.items()},
            "latency": 1000 * seconds / len(self.validation),
            "seconds": end - start,
            "epochs": float(training.epoch),
            "images": float(len(self.images)),
            **{f"train_loss@{epoch}": loss for epoch, loss in training.curve.items()},
        }


@dataclass(frozen=True)
class MemoryProbe:
    """Scores an architecture by the memory that its process takes in two updates, in bytes.

    Attributes:
        short: trains for two updates on a few of the images.
        others: bytes of the images that are left out.
    """

    short: TrainingEstimator
    others: int

    @classmethod
    def of(cls, estimator: TrainingEstimator) -> "MemoryProbe":
        """As much at a time as a training of `estimator` has in memory."""
        images, validation = estimator.images, estimator.validation
        at_once = images_at_once(images.images)
        few = _first(images, max(2 * estimator.recipe.batch_size, 4 * at_once))
        some = _first(validation, at_once)
        left = sum(_in_memory(one) for one in (images, validation))
        left -= sum(_in_memory(one) for one in (few, some))
        recipe = replace(estimator.recipe, steps=2)
        return cls(replace(estimator, images=few, validation=some, recipe=recipe), max(0, left))

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        """The process's peak so far, NaN where that is not known."""
        self.short(replace(candidate, until=None, checkpoint=None, keep=None), seed)
        peak = peak_memory()
        return {"score": math.nan if peak is None else float(peak + self.others)}


def _first(images: ImageSet, number: int) -> ImageSet:
    return images[torch.arange(min(number, len(images)), device=images.labels.device)]


def _in_memory(images: ImageSet) -> int:
    """Bytes; what stays in its file takes none."""
    return images.images.nbytes if isinstance(images.images, torch.Tensor) else 0
