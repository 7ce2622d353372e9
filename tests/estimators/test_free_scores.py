"""SWAP, MeCo, NEAR and VKDNW against slow, obvious references in float64, by their definitions."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nasproxy
from nasproxy.errors import BrokenArchitecture, UserError
from nasproxy.estimators.making import make_estimator
from nasproxy.estimators.training_free import AGGREGATES
from nasproxy.estimators.zerocost.meco import meco
from nasproxy.estimators.zerocost.near import effective_rank, near
from nasproxy.estimators.zerocost.shared import kaiming_init
from nasproxy.estimators.zerocost.swap import SAMPLES, swap
from nasproxy.estimators.zerocost.vkdnw import decile_entropy, vkdnw
from nasproxy.workers.task import Scores
from tests.estimators.test_zerocost import batch, small, two_layers

CLASSES, SHAPE = 10, (3, 12, 12)


def twenty() -> tuple[Tensor, Tensor]:
    images, labels = batch(20, SHAPE)
    return images.double(), labels


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid, nn.LeakyReLU])
def test_swap_unit_by_unit(activation: Callable[[], nn.Module]) -> None:
    images, labels = twenty()
    first, network = images[:SAMPLES], small(activation)
    seen = set()
    for stop in (2, 4):  # what goes into the activations
        for unit in (network[:stop](first) > 0).flatten(1).T:
            seen.add(tuple(unit.tolist()))
    assert swap(small(activation), images, labels) == len(seen)
    assert 1 < len(seen) < 4 * 100 + 5 * 16


def test_a_pattern_that_two_layers_share_counts_once() -> None:
    images, labels = batch(4, (1, 2, 2))
    network = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.ReLU(), nn.Linear(4, CLASSES))
    assert swap(network, images, labels) == len(
        {tuple(u) for u in (images > 0).view(4, 4).T.tolist()}
    )


def test_swap_is_regularised_by_thousands_of_parameters() -> None:
    images, labels = twenty()
    size = sum(p.numel() for p in small().parameters()) / 1000
    plain = swap(small(), images, labels)
    for mu, sigma in ((size, 1.0), (0.1, 0.5), (3.0, 40.0)):
        factor = math.exp(-((size - mu) ** 2) / sigma)
        found = swap(small(), images, labels, mu=mu, sigma=sigma)
        assert math.exp(found) == pytest.approx(plain * factor)
    far = [swap(small(), images, labels, mu=mu, sigma=1.0) for mu in (1e4, 1e5)]
    assert far[0] > far[1] > -math.inf  # the product itself is 0 for both


def smallest(channels: np.ndarray) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(channels)
    if np.isnan(correlation).any():
        return 0.0
    return float(np.linalg.eigvals(correlation).real.min())


def test_meco_layer_by_layer() -> None:
    images, labels = twenty()
    network = small(nn.Sigmoid)
    torch.manual_seed(4)
    found = meco(network, images, labels)
    torch.manual_seed(4)
    noise = torch.randn(2, *SHAPE).double()
    expected = 0.0
    for stop in (1, 3, 4, 5):  # two convolutions, two activations; the classifier has no pixels
        maps = network[:stop](noise).detach().flatten(2).numpy()
        expected += np.mean([smallest(image) for image in maps])
    assert found == pytest.approx(expected)
    assert found > 0


def test_meco_needs_more_pixels_than_channels() -> None:
    with pytest.raises(BrokenArchitecture, match="fewer channels than pixels"):
        meco(two_layers(), *batch(4, (3, 2, 2)))
    wide = nn.Sequential(nn.Conv2d(3, 9, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(BrokenArchitecture, match="fewer channels than pixels"):
        meco(wide, *batch(4, (3, 3, 3)))


def erank(matrix: np.ndarray) -> float:
    values = np.linalg.svd(matrix, compute_uv=False)
    share = values / values.sum()
    return math.exp(-sum(p * math.log(p) for p in share if p > 0))


def test_near_layer_by_layer() -> None:
    images, labels = twenty()
    network = small()
    expected = 0.0
    for stop in (1, 3, 4, 5, 8):  # convolutions, activations, and the classifier
        output = network[:stop](images).detach().numpy()
        channels = output.shape[1]
        rows = np.stack([one.reshape(channels, -1) for one in output])  # (N, C, pixels)
        rows = np.concatenate([one.T for one in rows])  # pixel by pixel, image by image
        expected += erank(rows[:channels])  # neighbours, from the first image on
    assert near(small(), images, labels) == pytest.approx(expected)


def test_effective_rank_of_matrices_whose_rank_is_known() -> None:
    assert effective_rank(torch.eye(7)) == pytest.approx(7)
    assert effective_rank(torch.outer(torch.arange(5.0), torch.ones(3))) == pytest.approx(1)
    assert effective_rank(torch.zeros(4, 4)) == 0
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(
        erank(np.diag([3.0, 1.0]))
    )


def fisher_by_definition(network: nn.Module, noise: Tensor) -> np.ndarray:
    """E_x sum_c p_c s_c s_c^T, s_c the gradient of log p_c, one number at a time."""
    parameters = list(network.parameters())
    total = np.zeros((len(parameters), len(parameters)))
    for image in noise:
        logits = network(image[None])[0]
        jacobian = np.array(
            [
                [
                    g.flatten()[0].item()
                    for g in torch.autograd.grad(one, parameters, retain_graph=True)
                ]
                for one in logits
            ]
        )
        share = 0.95 * torch.softmax(logits, 0).detach().numpy() + 0.05 / CLASSES
        mean = sum(p * row for p, row in zip(share, jacobian))
        for p, row in zip(share, jacobian):
            total += p * np.outer(row - mean, row - mean)
    return total / len(noise)


def test_vkdnw_number_by_number() -> None:
    images, labels = twenty()
    network = small()
    torch.manual_seed(9)
    found = vkdnw(network, images, labels)
    network.eval()
    torch.manual_seed(9)
    kaiming_init(network, "fan_in")
    noise = torch.randn(16, *SHAPE).double()
    values = np.linalg.eigvals(fisher_by_definition(network, noise)).real
    deciles = np.quantile(np.clip(values, 0, None), np.arange(0.1, 1, 0.1))
    share = deciles / deciles.sum()
    entropy = -sum(p * math.log(p) for p in share if p > 0)
    tensors = len(list(network.parameters()))
    assert tensors == 8
    assert 0.05 < entropy < math.log(9)
    assert found == pytest.approx(tensors + entropy, abs=1e-6)


def test_decile_entropy_at_its_ends() -> None:
    assert decile_entropy(torch.ones(20)) == pytest.approx(math.log(9))
    assert decile_entropy(torch.zeros(20)) == 0
    assert decile_entropy(torch.tensor([-1e-12] * 9 + [1.0])) < math.log(9)


def test_vkdnw_does_not_depend_on_what_the_norms_have_seen() -> None:
    images, labels = twenty()
    scores = []
    for seen in (0, 5):
        network = small()
        for _ in range(seen):
            network(images * 3 + 1)
        torch.manual_seed(1)
        scores.append(vkdnw(network, images, labels))
    assert scores[0] == scores[1]


def test_vkdnw_of_layers_that_the_outputs_do_not_depend_on() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.aside = nn.Linear(12, 3), nn.Linear(12, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.used(images.flatten(1))

    found = vkdnw(Aside(), *batch(6, (3, 2, 2)))
    assert 4 <= found < 4 + math.log(9)


def test_vkdnw_says_why_it_refuses() -> None:
    frozen = two_layers().requires_grad_(False)
    with pytest.raises(BrokenArchitecture, match="nothing to train"):
        vkdnw(frozen, *batch(4, (3, 2, 2)))
    alone = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12, track_running_stats=False))
    with pytest.raises(BrokenArchitecture, match="one image at a time"):
        vkdnw(alone, *batch(4, (3, 2, 2)))


@pytest.mark.parametrize(
    ("by", "why"),
    [
        ("swap:mu=3", "swap:mu=NUMBER,sigma=NUMBER"),
        ("swap:mu=3,sigma=true", "swap:mu=NUMBER,sigma=NUMBER"),
        ("swap:mu=3,sigma=wide", "swap:mu=NUMBER,sigma=NUMBER"),
        ("swap:mu=3,sigma=0", "sigma above 0"),
        ("swap:mu=3,sigma=-1", "sigma above 0"),
        ("swap:mu=NaN,sigma=1", "finite mu"),
        ("swap:mu=3,sigma=Infinity", "sigma above 0"),
        ("naswot:mu=3,sigma=1", "expected naswot or naswot:batch_size=N"),
        ("near:batch_size=1", "batch_size from 2"),
    ],
)
def test_options_that_mean_nothing_are_refused(data: nasproxy.Dataset, by: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        make_estimator(by, data)


def test_the_regulariser_is_part_of_the_study_s_identity(data: nasproxy.Dataset) -> None:
    names = ["swap", "swap:mu=3,sigma=1", "swap:sigma=1.0,mu=3", "swap:mu=3,sigma=1.0000001"]
    identities = [make_estimator(by, data).identity["estimator"] for by in names]
    assert identities[1] == identities[2]
    assert len(set(identities)) == 3


def of_one(data: nasproxy.Dataset, by: str) -> Scores:
    space = nasproxy.load_space("convnet_small")
    drawn = space.sample(10, 3, data.input_shape, data.num_classes)
    architecture = next(one for one in drawn if one.choices["depth"] == 2)
    candidate = space.candidate(architecture, data.input_shape, data.num_classes)
    return make_estimator(by, data, device="cpu")(candidate, 5)


@pytest.mark.parametrize("by", AGGREGATES)
def test_an_aggregate_s_parts_are_those_scores_alone(data: nasproxy.Dataset, by: str) -> None:
    found = of_one(data, by)
    for name in AGGREGATES[by]:
        alone = found["macs"] if name == "macs" else of_one(data, name)["score"]
        assert found[name] == pytest.approx(alone), name
    assert found["score"] == found[AGGREGATES[by][0]]


def test_vkdnw_agg_is_ranked_by_its_components(data: nasproxy.Dataset) -> None:
    study = nasproxy.rank("convnet_small", "vkdnw_agg", data=data, trials=5, jobs=1)
    assert study.user_attrs["components"] == ",".join(AGGREGATES["vkdnw_agg"])
