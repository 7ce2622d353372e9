import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nasproxy import BrokenArchitecture, Recipe
from nasproxy.data.images import ImageSet
from nasproxy.training.convnet import ConvNet
from nasproxy.training.training import Training, check_network, evaluate_network


def _linear(data) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def _train(network: nn.Module, images: ImageSet, recipe: Recipe, data, seed: int = 0) -> float:
    """The loss of the last updates."""
    training = Training(network, images, recipe, data.normalisation, seed=seed)
    training.run()
    return training.loss


def test_training_is_sgd_written_out(data) -> None:
    """Against plain loops with one image batch after the other and no fused kernel."""
    recipe = Recipe(epochs=3, batch_size=30, lr=0.1, weight_decay=0.01, augment="none")
    network, plain = _linear(data), _linear(data)
    loss = _train(network, data.train, recipe, data, seed=4)
    generator = torch.Generator().manual_seed(4)
    velocity = [torch.zeros_like(p) for p in plain.parameters()]
    batches = math.ceil(len(data.train) / 30)
    step, last = 0, 0.0
    for _ in range(3):
        order, last = torch.randperm(len(data.train), generator=generator), 0.0
        for i in range(batches):
            index = order[i * 30 : (i + 1) * 30]
            torch.randint(1, (len(index),), generator=generator)
            torch.rand(len(index), 3, generator=generator)
            inputs = data.normalisation(data.train.images[index])
            value = nn.functional.cross_entropy(plain(inputs), data.train.labels[index])
            gradients = torch.autograd.grad(value, list(plain.parameters()))
            lr = 0.1 * (1 + math.cos(math.pi * step / (3 * batches))) / 2
            with torch.no_grad():
                for p, g, v in zip(plain.parameters(), gradients, velocity):
                    g = g + 0.01 * p
                    v.mul_(0.9).add_(g)
                    p -= lr * (g + 0.9 * v)
            last, step = last + value.item() / batches, step + 1
    assert loss == pytest.approx(last, abs=1e-4)
    for a, b in zip(network.parameters(), plain.parameters()):
        assert torch.allclose(a, b, atol=1e-5)


def test_the_mean_loss_is_over_all_updates(data) -> None:
    recipe = Recipe(steps=7, batch_size=64, augment="none")  # a last pass that is a part of one
    whole = Training(_linear(data), data.train, recipe, data.normalisation)
    losses = []
    while whole.epoch < whole.epochs:
        before = whole.epoch
        whole.run(before + 1)
        losses += [whole.curve[whole.epoch]] * (min(4, 7 - 4 * before))
    assert len(losses) == 7
    assert whole.mean_loss == pytest.approx(sum(losses) / 7)
    part = Training(_linear(data), data.train, recipe, data.normalisation)
    part.run(1)
    rest = Training(_linear(data), data.train, recipe, data.normalisation)
    rest.load_state(part.state())
    assert rest.mean_loss == pytest.approx(part.mean_loss)
    rest.run()
    assert rest.mean_loss == pytest.approx(whole.mean_loss)


@pytest.mark.parametrize(
    ("recipe", "last"),
    [
        (Recipe(batch_size=30, epochs=20), 5),  # a pass, as long as that is a tenth or less
        (Recipe(batch_size=30, epochs=3), 2),
        (Recipe(batch_size=30, steps=51), 5),  # the last pass is one update
        (Recipe(batch_size=30, steps=4), 1),  # not one pass: the first updates are no end
        (Recipe(batch_size=1000, epochs=3), 1),
    ],
)
def test_the_loss_is_that_of_the_last_updates(data, recipe: Recipe, last: int, monkeypatch) -> None:
    """Early stopping hardly passes once, so that its last pass is its mean loss."""
    images, losses = data.train[torch.arange(150)], []
    entropy = nn.functional.cross_entropy

    def remembered(*given: torch.Tensor) -> torch.Tensor:
        loss = entropy(*given)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(nn.functional, "cross_entropy", remembered)
    assert recipe.last_updates(150) == last
    whole = Training(_linear(data), images, recipe, data.normalisation)
    whole.run()
    assert whole.loss == pytest.approx(np.mean(losses[-last:]))
    assert whole.mean_loss == pytest.approx(np.mean(losses))
    part = Training(_linear(data), images, recipe, data.normalisation)
    part.run(max(1, whole.epochs - 1))
    rest = Training(_linear(data), images, recipe, data.normalisation)
    rest.load_state(part.state())
    assert rest.loss == pytest.approx(part.loss)
    rest.run()
    assert rest.loss == pytest.approx(whole.loss)


def test_it_learns(data) -> None:
    torch.manual_seed(0)
    network = ConvNet(data.input_shape, 3, 8)
    before = evaluate_network(network, data.validation, data.normalisation)
    recipe = Recipe(epochs=15, batch_size=32, lr=0.05, augment="crop")
    _train(network, data.train, recipe, data)
    after = evaluate_network(network, data.validation, data.normalisation)
    assert after.accuracy > 0.9 > before.accuracy
    assert after.loss < before.loss


def test_same_seed_same_bytes(data) -> None:
    def weights(seed: int) -> torch.Tensor:
        network = _linear(data)
        _train(network, data.train, Recipe(epochs=2), data, seed=seed)
        return network[1].weight.detach().clone()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_steps_take_the_place_of_epochs(data) -> None:
    recipe = Recipe(batch_size=30, augment="none", schedule="constant")
    one_epoch = math.ceil(len(data.train) / 30)
    a, b = _linear(data), _linear(data)
    _train(a, data.train, replace(recipe, steps=one_epoch), data)
    _train(b, data.train, replace(recipe, epochs=1), data)
    assert torch.equal(a[1].weight, b[1].weight)


def test_evaluation_counts_every_image_once() -> None:
    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.0, 1.0]]).expand(len(x), 2)

    images = ImageSet(torch.zeros(1203, 1, 4, 4), (torch.arange(1203) % 3 == 0).long())
    found = evaluate_network(Constant(), images, lambda x: x)  # type: ignore[arg-type]
    assert found.accuracy == pytest.approx(401 / 1203)
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    assert found.loss == pytest.approx((401 * right + 802 * wrong) / 1203, abs=1e-6)


def test_soft_labels_train(data) -> None:
    soft = ImageSet(data.train.images, nn.functional.one_hot(data.train.labels, 3).float())
    a, b = _linear(data), _linear(data)
    _train(a, soft, Recipe(epochs=1), data)
    _train(b, data.train, Recipe(epochs=1), data)
    assert torch.allclose(a[1].weight, b[1].weight, atol=1e-6)


def test_a_last_batch_of_one_does_not_break_batch_norm(data) -> None:
    some = data.train[torch.arange(33)]
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.BatchNorm1d(3))
    _train(network, some, Recipe(epochs=1, batch_size=32), data)


def test_divergence_is_said(data) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 3))
    with pytest.raises(BrokenArchitecture, match="training diverged"):
        _train(network, data.train, Recipe(epochs=5, lr=1e6), data)


def test_networks_of_the_wrong_shape_are_refused(data) -> None:
    inputs = data.normalisation(data.train.images[:2])
    with pytest.raises(BrokenArchitecture, match=r"expected logits \(2, 4\), got \(2, 3\)"):
        check_network(_linear(data), inputs, 4)
    with pytest.raises(BrokenArchitecture, match="NaN"):
        bad = _linear(data)
        nn.init.constant_(bad[1].bias, torch.nan)
        check_network(bad, inputs, 3)


def test_batches_of_one_train(data) -> None:
    network = _linear(data)
    before = network[1].weight.detach().clone()
    _train(network, data.train, Recipe(epochs=1, batch_size=1, lr=0.001), data)
    assert not torch.equal(network[1].weight, before)
