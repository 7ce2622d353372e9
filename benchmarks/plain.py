"""The plain implementations that speed is measured against: as these things are usually written.

Condensing loops over the classes with 256 real images each, in torch's default layout. Training
goes through a DataLoader, augments a batch at a time, and takes one network after the other in one
process with all of its threads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from nasproxy.data.augmentation import FULL_STRATEGY, OPERATIONS
from nasproxy.data.dataset import Dataset
from nasproxy.training.convnet import ConvNet

_GROUPS = FULL_STRATEGY.split("_")


def condense(
    data: Dataset, steps: int, ipc: int, lr: float, width: int = 128, real_batch: int = 256
) -> Tensor:
    """Synthetic images (classes * ipc, C, H, W) by distribution matching, as in its paper."""
    classes = data.num_classes
    real = data.normalisation(data.train.images)
    members = [(data.train.labels == c).nonzero()[:, 0] for c in range(classes)]
    images = torch.cat([real[m[torch.randperm(len(m))[:ipc]]] for m in members])
    images.requires_grad_()
    optimizer = torch.optim.SGD([images], lr=lr, momentum=0.5)
    for _ in range(steps):
        network = ConvNet(data.input_shape, classes, width)
        for parameter in network.parameters():
            parameter.requires_grad = False
        loss = torch.zeros(())
        for c in range(classes):
            batch = real[members[c][torch.randperm(len(members[c]))[:real_batch]]]
            synthetic = images[c * ipc : (c + 1) * ipc]
            augmentation, uniform = _draw(1)
            target = network.embed(augmentation(batch, uniform.expand(len(batch), 3))).detach()
            features = network.embed(augmentation(synthetic, uniform.expand(ipc, 3)))
            loss = loss + ((target.mean(0) - features.mean(0)) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return images.detach()


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    validation: tuple[Tensor, Tensor],
    epochs: int,
    batch_size: int,
    lr: float,
) -> float:
    """Train on normalised images and return the accuracy on normalised validation images."""
    device = next(network.parameters()).device
    loader = DataLoader(TensorDataset(images, labels), batch_size, shuffle=True)
    optimizer = torch.optim.SGD(
        network.parameters(), lr, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    network.train()
    for _ in range(epochs):
        for batch, wanted in loader:
            batch, wanted = batch.to(device), wanted.to(device)
            augmentation, uniform = _draw(len(batch))
            uniform = uniform.to(device)
            loss = F.cross_entropy(network(augmentation(batch, uniform)), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if not torch.isfinite(loss):
                return 0.0
    network.eval()
    correct = 0
    with torch.no_grad():
        for batch, wanted in DataLoader(TensorDataset(*validation), 256):
            batch, wanted = batch.to(device), wanted.to(device)
            correct += int((network(batch).argmax(1) == wanted).sum())
    return correct / len(validation[1])


def _draw(n: int):
    """One group of augmentation for a batch, and the parameters of `n` images."""
    group = _GROUPS[int(torch.randint(len(_GROUPS), ()))]
    return OPERATIONS[group], torch.rand(n, 3)
