"""A search with a training loop of one's own: any PyTorch, in an Optuna objective.

    python examples/own_training.py [TRIALS]

A pool of small ConvNets is scored by what is cheap; then the sampler chooses, one after the other,
which are worth the training below. Two minutes at most on two cores; the data are bundled.
"""

import sys

import optuna
import torch
import torch.nn.functional as F
from torch import nn

import nasproxy

EPOCHS = 5


def train(network: nn.Module, data: nasproxy.Dataset, lr: float) -> float:
    """Train a network, and give its validation accuracy in [0, 1]."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
    images, labels = data.normalisation(data.train.images), data.train.labels
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(64):
            loss = F.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        guess = network(data.normalisation(data.validation.images)).argmax(1)
    return float((guess == data.validation.labels).float().mean())


def search(trials: int = 8) -> optuna.Study:
    """Look for the best architecture in so many trainings."""
    space, data = nasproxy.load_space("convnet_tiny"), nasproxy.load_dataset("fashion")

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        network = space.module.build(trial, data.input_shape, data.num_classes)
        lr = trial.suggest_float("lr", 1e-3, 1e-2, log=True)  # no part of the architecture
        return train(network, data, lr)

    sampler = nasproxy.ProxySampler(space, data, scores=["params", "flops"], pool=60, jobs=1)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=trials)
    return study


if __name__ == "__main__":
    found = search(*map(int, sys.argv[1:])).best_trial
    print(f"Best validation accuracy {found.value:.3f}: {found.params}")
