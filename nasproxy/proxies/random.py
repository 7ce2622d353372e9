"""Random real images, as many of each class: the baseline every proxy set must beat."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nasproxy.data.dataset import Dataset
from nasproxy.data.images import ImageSet
from nasproxy.errors import UserError
from nasproxy.proxies.checkpoint import Checkpoint
from nasproxy.system.machine import check_seed


@dataclass(frozen=True)
class RandomOptions:
    """Options of the method `random`.

    Attributes:
        ipc: images per class, 1 or more.
        seed: which images.
    """

    ipc: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.ipc < 1:
            raise UserError(f"expected ipc of 1 or more, got {self.ipc}")
        check_seed(self.seed)


def choose_random(
    data: Dataset, options: RandomOptions, device: torch.device, show: bool, kept: Checkpoint
) -> ImageSet:
    """`options.ipc` training images of each class, normalised, in class order."""
    index = random_index(data, options.ipc, torch.Generator().manual_seed(options.seed))
    chosen = data.train[index]
    return ImageSet(data.normalisation(chosen.images), chosen.labels)


def random_index(data: Dataset, ipc: int, generator: torch.Generator) -> Tensor:
    """Indices (classes * ipc,) into the training set, `ipc` of each class in turn.

    Raises:
        UserError: a class has fewer than `ipc` training images.
    """
    chosen = []
    for number, name in enumerate(data.class_names):
        index = (data.train.labels == number).nonzero()[:, 0]
        if len(index) < ipc:
            raise UserError(
                f"{data.name}: class {name!r} has {len(index)} training images, "
                f"ipc={ipc} needs as many; ask for {len(index)} or fewer"
            )
        chosen.append(index[torch.randperm(len(index), generator=generator)[:ipc]])
    return torch.cat(chosen)
