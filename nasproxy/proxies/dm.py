"""Distribution matching (DM; Zhao & Bilen, WACV 2023, arXiv 2110.04181)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor

from nasproxy.data.augmentation import FULL_STRATEGY, augment, draw, parse_strategy
from nasproxy.data.dataset import Dataset
from nasproxy.data.images import ImageSet
from nasproxy.errors import UserError
from nasproxy.proxies.checkpoint import Checkpoint
from nasproxy.proxies.random import RandomOptions, random_index
from nasproxy.system.machine import images_at_once
from nasproxy.system.progress import Forecast, progress
from nasproxy.training.convnet import ConvNet
from nasproxy.training.fast import make_fast
from nasproxy.training.precision import autocast, check_precision


@dataclass(frozen=True)
class MatchingOptions(RandomOptions):
    """What the methods that match distributions have in common.

    Attributes:
        ipc: synthetic images per class, 1 or more.
        seed: of the initial images, the networks, the batches and the augmentation.
        steps: K, the number of networks drawn and of updates made.
        real_batch: real images per class and step.
        image_lr: learning rate of the synthetic images; by default the method's rule.
        momentum: of the synthetic images' SGD.
        augment: groups of differentiable augmentation, or `none`.
        precision: of the embedding's convolutions: `float32`, `bfloat16`, or `auto`, whichever
            the hardware is faster at.
    """

    steps: int = 300
    real_batch: int = 64
    image_lr: float | None = None
    momentum: float = 0.5
    augment: str = FULL_STRATEGY
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "real_batch"):
            if getattr(self, name) < 1:
                raise UserError(f"expected {name} of 1 or more, got {getattr(self, name)}")
        if self.image_lr is not None and not 0 < self.image_lr < math.inf:
            raise UserError(f"expected image_lr above 0, got {self.image_lr}")
        if not 0 <= self.momentum < 1:
            raise UserError(f"expected momentum in [0, 1), got {self.momentum}")
        check_precision(self.precision)
        parse_strategy(self.augment)


@dataclass(frozen=True)
class DMOptions(MatchingOptions):
    """Options of the method `dm`, with defaults that suit a CPU; see `MatchingOptions`.

    Attributes:
        image_lr: by default `ipc` at 32x32 pixels, since the gradient of a class's mean is shared
            out among its images, and in proportion to the pixels at other sizes, since among
            these it is shared out too.
        width: channels of the embedding ConvNet.
        depth: blocks of the embedding ConvNet; by default as many as end at about 4x4.
    """

    width: int = 64
    depth: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise UserError(f"expected width of 1 or more, got {self.width}")
        if self.depth is not None and self.depth < 1:
            raise UserError(f"expected depth of 1 or more, got {self.depth}")

    def learning_rate(self, input_shape: tuple[int, int, int]) -> float:
        """What SGD is given: `image_lr`, or the method's rule."""
        if self.image_lr is not None:
            return self.image_lr
        return self.ipc * input_shape[1] * input_shape[2] / 32**2


@dataclass(frozen=True)
class DMPaperOptions(DMOptions):
    """Options of the method `dm-paper`: the recipe of the paper, section 4.1 and its code.

    Attributes:
        image_lr: learning rate of the synthetic images; by default 1 up to 50 images per class
            and 10 above.
    """

    steps: int = 20_000
    real_batch: int = 256
    width: int = 128

    def learning_rate(self, input_shape: tuple[int, int, int]) -> float:
        if self.image_lr is not None:
            return self.image_lr
        return 1.0 if self.ipc <= 50 else 10.0


class Embedding(Protocol):
    """What images are matched on in one step."""

    @property
    def together(self) -> bool:
        """Whether the real images of all classes must be embedded at once."""

    def __call__(self, images: Tensor, real: bool) -> Tensor:
        """Features (N, ...) of normalised images (N, C, H, W), real ones or synthetic ones."""


def match_distribution(
    data: Dataset,
    options: DMOptions,
    device: torch.device,
    show: bool,
    kept: Checkpoint,
    only: Sequence[int] | None = None,
) -> ImageSet:
    """Synthetic images whose mean features match the real ones' in random ConvNets.

    Those of some classes, `only`, are what they are among those of all, up to rounding: no class
    has to do with another (eq. 5), and all are given the same networks and random numbers.
    """
    lr = options.learning_rate(data.input_shape)

    def embedding(step: int) -> Embedding:
        network = ConvNet(data.input_shape, data.num_classes, options.width, options.depth)
        make_fast(network.to(device), options.precision).requires_grad_(False)
        return _ConvNetEmbedding(network)

    return match(data, options, device, show, kept, embedding, lambda gradient, step: lr, only)


@dataclass(frozen=True)
class _ConvNetEmbedding:
    network: ConvNet
    together = False

    def __call__(self, images: Tensor, real: bool) -> Tensor:
        return self.network.embed(images)


def match(
    data: Dataset,
    options: MatchingOptions,
    device: torch.device,
    show: bool,
    kept: Checkpoint,
    embedding: Callable[[int], Embedding],
    scale: Callable[[Tensor, int], float],
    only: Sequence[int] | None = None,
) -> ImageSet:
    """Synthetic images whose mean features match the real ones', class by class (eq. 5).

    Starts from real images, or from where an earlier process was. A class smaller than
    `real_batch` is drawn from with replacement.

    Args:
        embedding: of a step; torch's generator is seeded for it.
        scale: what the gradient of a step is multiplied by, given it and the step.
        only: classes whose images are made; None is all.
    """
    classes, ipc = data.num_classes, options.ipc
    mine = torch.arange(classes) if only is None else torch.tensor(only)
    index = random_index(data, ipc, torch.Generator().manual_seed(options.seed))
    index = index.view(classes, ipc)[mine].flatten()
    labels = data.train.labels[index]
    images = data.normalisation(data.train.images[index]).to(device).requires_grad_()
    optimizer = torch.optim.SGD([images], 1.0, options.momentum)
    done = 0
    if state := kept.load():
        done = int(state["step"])
        images.data.copy_(state["images"])
        optimizer.state[images]["momentum_buffer"] = state["momentum"].to(device)
    groups = parse_strategy(options.augment, data.flip)
    train = data.train.to(device)
    places = torch.arange(len(mine))  # of these classes among the images
    members = [(data.train.labels == c).nonzero()[:, 0] for c in range(classes)]
    at_once = max(1, images_at_once(train.images) // (options.real_batch + ipc))  # classes
    forecast = Forecast("--steps", few=3)  # networks may differ from step to step
    bar = progress(f"condensing {data.name}", options.steps, done, show, forecast)
    with torch.random.fork_rng(devices=[]):
        for step in range(done, options.steps):
            # every step has its own seed, so that any step can be done again by itself
            torch.manual_seed(_step_seed(options.seed, step))
            generator = torch.Generator().manual_seed(_step_seed(options.seed, step))
            embed = embedding(step)
            draws = draw(groups, classes, generator)  # one a class, for real and synthetic alike
            batches = [_sample(of_one, options.real_batch, generator) for of_one in members]
            targets = []
            for some in places.split(classes if embed.together else at_once):
                batch = torch.cat([batches[c] for c in mine[some]])
                real = data.normalisation(train.images[batch.to(device)])
                shared = draws[mine[some].repeat_interleave(options.real_batch)]
                with torch.no_grad(), autocast(options.precision, device):
                    targets.append(_class_means(embed, augment(real, shared), some, real=True))
            target = torch.cat(targets)
            optimizer.zero_grad()
            for some in places.split(at_once):
                synthetic = images[some[0] * ipc : (some[-1] + 1) * ipc]
                shared = draws[mine[some].repeat_interleave(ipc)]
                with autocast(options.precision, device):
                    means = _class_means(embed, augment(synthetic, shared), some, real=False)
                loss = ((target[some] - means) ** 2).sum()  # eq. 5, summed over the classes
                if loss.requires_grad:  # a cell without edges looks at no image
                    loss.backward()
            if images.grad is not None and (factor := scale(images.grad, step)) > 0:
                images.grad.mul_(factor)
                optimizer.step()
            bar.update()
            kept.save(partial(_state, images, optimizer, step + 1))
    bar.close()
    return ImageSet(images.detach().cpu(), labels)


def _state(images: Tensor, optimizer: torch.optim.Optimizer, done: int) -> dict[str, Tensor]:
    """All that the steps to come depend on, since each has a seed of its own."""
    momentum = optimizer.state[images].get("momentum_buffer")
    if momentum is None:  # none is kept where there is no momentum
        momentum = torch.zeros_like(images)
    return {"images": images, "momentum": momentum, "step": torch.tensor(done)}


def _class_means(embed: Embedding, images: Tensor, some: Tensor, real: bool) -> Tensor:
    """Mean embedding (classes, features) of images that come class by class, equally many."""
    features = embed(images.contiguous(memory_format=torch.channels_last), real).float().flatten(1)
    return features.view(len(some), -1, features.shape[1]).mean(1)


def _sample(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    if len(members) < count:
        return members[torch.randint(len(members), (count,), generator=generator)]
    return members[torch.randperm(len(members), generator=generator)[:count]]


def _step_seed(seed: int, step: int) -> int:
    return (seed * 1_000_003 + step) % 2**63
