"""The most accurate of small ConvNets in a few trainings; the data are bundled."""

import optuna
import optunahub
import torch
import torch.nn.functional as F

import nasproxy

LOCAL = True  # from a checkout, in its folder optunahub/; else from the registry

space, data = nasproxy.load_space("convnet_tiny"), nasproxy.load_dataset("digits")


def objective(trial: optuna.Trial) -> float:
    torch.manual_seed(trial.number)
    network = space.module.build(trial, data.input_shape, data.num_classes)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    images, labels = data.normalisation(data.train.images), data.train.labels
    for batch in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        F.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        guess = network(data.normalisation(data.validation.images)).argmax(1)
    return float((guess == data.validation.labels).float().mean())


if __name__ == "__main__":
    name = "samplers/nasproxy"
    if LOCAL:
        module = optunahub.load_local_module(name, registry_root="./package/")
    else:
        module = optunahub.load_module(name)
    sampler = module.ProxySampler(space, data, scores=["params", "flops"], pool=60, jobs=1)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=5)
    print(study.best_trial.value, study.best_trial.params)
