"""Real images chosen by their features: herding and k-center, the usual coreset baselines."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nasproxy.data.dataset import Dataset
from nasproxy.data.images import ImageSet
from nasproxy.errors import UserError
from nasproxy.proxies.checkpoint import Checkpoint
from nasproxy.proxies.random import RandomOptions, random_index
from nasproxy.system.machine import images_at_once, seeded
from nasproxy.training.convnet import ConvNet
from nasproxy.training.recipe import Recipe
from nasproxy.training.training import Training


@dataclass(frozen=True)
class CoresetOptions(RandomOptions):
    """Options of the methods `herding` and `k-center`.

    Attributes:
        width: channels of the ConvNet whose features are looked at.
        depth: its blocks; by default as many as end at about 4x4.
        epochs: for which it is trained on the training images first; 0 leaves it random.
    """

    width: int = 64
    depth: int | None = None
    epochs: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1 or self.epochs < 0:
            raise UserError(
                f"expected width of 1 or more and epochs of 0 or more, "
                f"got {self.width} and {self.epochs}"
            )


def choose_by_herding(
    data: Dataset, options: CoresetOptions, device: torch.device, show: bool, kept: Checkpoint
) -> ImageSet:
    """Images whose running mean of features stays closest to their class's mean.

    Welling, "Herding dynamical weights to learn", ICML 2009, as in iCaRL (arXiv 1611.07725,
    algorithm 4).
    """
    return _choose(data, options, device, _herd)


def choose_by_k_center(
    data: Dataset, options: CoresetOptions, device: torch.device, show: bool, kept: Checkpoint
) -> ImageSet:
    """Images such that every other of their class has one close by, greedily.

    Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach",
    ICLR 2018 (arXiv 1708.00489, algorithm 1), started from the image nearest to the class's mean.
    """
    return _choose(data, options, device, _cover)


def _choose(
    data: Dataset,
    options: CoresetOptions,
    device: torch.device,
    choose: Callable[[Tensor, int], Tensor],
) -> ImageSet:
    random_index(data, options.ipc, torch.Generator())  # every class has enough
    network = _network(data, options, device)
    chosen = []
    for number in range(data.num_classes):
        members = (data.train.labels == number).nonzero()[:, 0]
        features = _features(network, data, members, device)
        chosen.append(members[choose(features, options.ipc)])
    images = data.train[torch.cat(chosen)]
    return ImageSet(data.normalisation(images.images), images.labels)


def _network(data: Dataset, options: CoresetOptions, device: torch.device) -> ConvNet:
    """The network whose embeddings are compared."""
    with seeded(options.seed):
        network = ConvNet(data.input_shape, data.num_classes, options.width, options.depth)
        network.to(device)
        if options.epochs:
            recipe = Recipe(epochs=options.epochs)
            images = data.train.to(device)
            prepare, seed = data.normalisation, options.seed
            Training(network, images, recipe, prepare, flip=data.flip, seed=seed).run()
    return network.eval()


@torch.inference_mode()
def _features(network: ConvNet, data: Dataset, members: Tensor, device: torch.device) -> Tensor:
    """Embeddings (n, features) of the training images of an index (n,), on the CPU."""
    images = data.train.images
    batches = (images[some].to(device) for some in members.split(images_at_once(images)))
    return torch.cat([network.embed(data.normalisation(b)).cpu() for b in batches]).clone()


def _herd(features: Tensor, count: int) -> Tensor:
    """Indices (count,) in the order chosen."""
    mean, total = features.mean(0), torch.zeros_like(features[0])
    taken: list[int] = []
    for k in range(1, count + 1):
        distance = ((total + features) / k - mean).square().sum(1)
        distance[taken] = torch.inf
        taken.append(int(distance.argmin()))
        total = total + features[taken[-1]]
    return torch.tensor(taken)


def _cover(features: Tensor, count: int) -> Tensor:
    """Indices (count,) in the order chosen."""
    taken = [int((features - features.mean(0)).square().sum(1).argmin())]
    nearest = (features - features[taken[0]]).square().sum(1)
    while len(taken) < count:
        taken.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (features - features[taken[-1]]).square().sum(1))
    return torch.tensor(taken)
