"""Every training-free score against a slow, obvious one, and what all of them promise."""

import csv
import gzip
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn
from torchvision.models import resnet18

import nasproxy
from nasproxy.errors import BrokenArchitecture, UserError
from nasproxy.estimators.ranks import combine
from nasproxy.estimators.zerocost import SCORES, az_nas, az_nas_components, feature_blocks
from nasproxy.estimators.zerocost.fisher import fisher
from nasproxy.estimators.zerocost.grad_norm import grad_norm
from nasproxy.estimators.zerocost.grasp import grasp
from nasproxy.estimators.zerocost.jacob_cov import jacob_cov
from nasproxy.estimators.zerocost.naswot import naswot
from nasproxy.estimators.zerocost.shared import kaiming_init
from nasproxy.estimators.zerocost.snip import snip
from nasproxy.estimators.zerocost.synflow import logsynflow, synflow
from nasproxy.estimators.zerocost.zico import zico
from search_spaces import nasbench201

ROOT = Path(nasproxy.__file__).parent.parent
PUBLISHED = ROOT.parent / "shared" / "data" / "nasbench201.csv.gz"
SHAPE, CLASSES = (3, 16, 16), 10
DRAWING = {"logsynflow", "expressivity", "progressivity", "trainability", "meco", "vkdnw"}
CONVNETS = nasproxy.load_space("convnet_small").sample(10, 0, SHAPE, CLASSES)


def batch(size: int = 32, shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(size, *shape, generator=generator)
    return images, torch.randint(0, CLASSES, (size,), generator=generator)


def small(activation: Callable[[], nn.Module] = nn.ReLU, norm: bool = True) -> nn.Sequential:
    """Two convolutions and a linear layer for 3-channel images, in float64."""
    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4) if norm else nn.Identity(), activation()]
    layers += [nn.Conv2d(4, 5, 3, stride=2), activation(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(5, CLASSES)).double()


def small_batch(size: int = 6) -> tuple[Tensor, Tensor]:
    images, labels = batch(size, (3, 8, 8))
    return images.double(), labels


def weight_names(network: nn.Module) -> list[str]:
    return [name for name, p in network.named_parameters() if p.dim() > 1]


def test_grad_norm_one_layer_at_a_time() -> None:
    images, labels = small_batch()
    network = small()
    expected = 0.0
    for name in weight_names(network):
        (g,) = torch.autograd.grad(
            F.cross_entropy(network(images), labels), network.get_parameter(name)
        )
        expected += math.sqrt(sum(value**2 for value in g.flatten().tolist()))
    assert grad_norm(small(), images, labels) == pytest.approx(expected)


def test_snip_is_the_gradient_of_masks() -> None:
    images, labels = small_batch()
    network = small()
    expected = 0.0
    for name in weight_names(network):
        weight = network.get_parameter(name).detach()
        mask = torch.ones_like(weight, requires_grad=True)
        logits = torch.func.functional_call(network, {name: weight * mask}, (images,))
        (g,) = torch.autograd.grad(F.cross_entropy(logits, labels), mask)
        expected += g.abs().sum().item()
    assert snip(small(), images, labels) == pytest.approx(expected)


def test_grasp_with_the_whole_hessian() -> None:
    images, labels = small_batch()
    network = small(nn.Sigmoid)
    names = weight_names(network)
    shapes = [network.get_parameter(name).shape for name in names]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes])
        weights = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes)}
        return F.cross_entropy(torch.func.functional_call(network, weights, (images,)), labels)

    flat = torch.cat([network.get_parameter(name).detach().flatten() for name in names])
    gradient = torch.autograd.functional.jacobian(loss, flat)
    hessian = torch.autograd.functional.hessian(loss, flat)
    expected = -(flat * (hessian @ gradient)).sum().item()
    assert grasp(small(nn.Sigmoid), images, labels) == pytest.approx(expected)


def test_fisher_channel_by_channel() -> None:
    images, labels = small_batch()
    network = small(nn.Sigmoid)
    expected = 0.0
    for number, layer in enumerate(network):
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        activation = network[: number + 1](images).detach().requires_grad_()
        loss = F.cross_entropy(network[number + 1 :](activation), labels)
        (g,) = torch.autograd.grad(loss, activation)
        for channel in range(activation.shape[1]):
            changes = [
                (activation[n, channel] * g[n, channel]).sum().item() for n in range(len(images))
            ]
            saliency = sum(change**2 for change in changes) / (2 * len(images))
            expected += saliency * layer.weight[channel].numel()
    assert fisher(small(nn.Sigmoid), images, labels) == pytest.approx(expected)


def two_layers() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 5, bias=False), nn.BatchNorm1d(5), nn.Linear(5, 3, bias=False)
    )


def test_synflow_of_two_linear_layers() -> None:
    images, labels = batch(4, (3, 2, 2))
    first, second = (
        layer.weight.detach().double().abs() for layer in (two_layers()[i] for i in (1, 3))
    )
    flow = (second @ first).sum().item()  # 1^T |W2| |W1| 1, once for each layer
    assert synflow(two_layers(), images, labels) == pytest.approx(2 * flow)
    assert synflow(two_layers(), images * math.nan, labels) == pytest.approx(2 * flow)


def test_logsynflow_of_two_linear_layers() -> None:
    images, labels = batch(4, (3, 2, 2))
    network = two_layers()
    torch.manual_seed(5)
    score = logsynflow(network, images, labels)
    torch.manual_seed(5)
    kaiming_init(network, "fan_out")  # redrawn, and made positive
    first, second = (network[i].weight.detach().abs() for i in (1, 3))
    outgoing, incoming = second.sum(0)[:, None], first.sum(1)[None, :]  # (5, 1), (1, 5)
    expected = (first * torch.log1p(outgoing)).sum() + (second * torch.log1p(incoming)).sum()
    assert score == pytest.approx(expected.item())
    assert first.square().mean().item() == pytest.approx(2 / 5, rel=0.6)  # Kaiming, fan out


def test_jacob_cov_image_by_image() -> None:
    images, labels = small_batch()
    network = small(norm=False)
    rows = []
    for image in images:
        image = image[None].clone().requires_grad_()
        rows.append(torch.autograd.grad(network(image).sum(), image)[0].flatten().numpy())
    values = np.linalg.eigvals(np.corrcoef(np.stack(rows))).real + 1e-5
    expected = -np.sum(np.log(values) + 1 / values)
    assert jacob_cov(small(norm=False), images, labels) == pytest.approx(expected)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid, nn.LeakyReLU])
def test_naswot_pair_by_pair(activation: Callable[[], nn.Module]) -> None:
    images, labels = small_batch()
    network = small(activation)
    codes = [network[:2](images) > 0, network[:4](images) > 0]  # what goes into the activations
    bits = torch.cat([code.flatten(1) for code in codes], 1)
    kernel = [[int((one == other).sum()) for other in bits] for one in bits]
    expected = np.linalg.slogdet(np.array(kernel, dtype=float))[1]
    assert naswot(small(activation), images, labels) == pytest.approx(expected)


def test_naswot_needs_activations_and_images_told_apart() -> None:
    images, labels = small_batch()
    with pytest.raises(BrokenArchitecture, match="activation"):
        naswot(two_layers(), *batch(4, (3, 2, 2)))
    with pytest.raises(BrokenArchitecture, match="singular"):
        naswot(small(), images[:1].repeat(6, 1, 1, 1), labels)


@pytest.mark.parametrize("chunks", [2, 3])
def test_zico_weight_by_weight(chunks: int) -> None:
    images, labels = small_batch()
    network = small(nn.Sigmoid)
    size = len(images) // chunks
    expected = 0.0
    for name in weight_names(network):
        gradients = []
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            loss = F.cross_entropy(network(images[part]), labels[part])
            (g,) = torch.autograd.grad(loss, network.get_parameter(name))
            gradients.append(g.flatten().tolist())
        ratio = 0.0
        for values in zip(*gradients):
            mean = sum(values) / chunks
            deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / chunks)
            ratio += sum(abs(value) for value in values) / chunks / deviation
        expected += math.log(ratio)
    assert zico(small(nn.Sigmoid), images, labels, chunks) == pytest.approx(expected)


def test_zico_takes_as_many_chunks_as_images_at_most() -> None:
    images, labels = small_batch()
    for chunks in (1, 7):
        with pytest.raises(UserError, match="from 2 to 6 chunks"):
            zico(small(), images, labels, chunks)


def az_network() -> nn.Sequential:
    """A stem and two blocks; the second halves the image."""
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)),
        *(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1), nn.AvgPool2d(2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, CLASSES)),
    )


def az_features(network: nn.Sequential, size: int) -> list[Tensor]:
    """The blocks' features as the scores see them, from the same draws."""
    az_nas.kaiming_init(network, "fan_in")
    noise = torch.randn(size, 3, 7, 7)
    features = []
    for block in (network[:2], network[2:4], network[4:6]):
        features.append(block(features[-1] if features else noise))
    return features


def entropy(feature: Tensor) -> float:
    rows = feature.detach().permute(0, 2, 3, 1).reshape(-1, feature.shape[1]).double().numpy()
    share = np.linalg.eigvals(np.cov(rows.T)).real
    share /= share.sum()
    return -sum(p * math.log(p + 1e-8) for p in share)


def test_expressivity_and_progressivity_block_by_block() -> None:
    images, labels = batch(5, (3, 7, 7))
    torch.manual_seed(0)
    entropies = [entropy(feature) for feature in az_features(az_network(), 5)]
    torch.manual_seed(0)
    found = az_nas_components(az_network(), images, labels)
    assert found["expressivity"] == pytest.approx(sum(entropies), abs=1e-4)
    growth = [after - before for before, after in pairwise(entropies)]
    assert found["progressivity"] == pytest.approx(min(growth), abs=1e-4)


def test_trainability_pixel_by_pixel() -> None:
    images, labels = batch(5, (3, 7, 7))
    torch.manual_seed(0)
    features = az_features(az_network(), 5)
    scores = []
    for before, after in pairwise(features):
        vector = torch.randint(0, 2, after.shape).float() * 2 - 1
        (g,) = torch.autograd.grad(after, before, vector, retain_graph=True)
        stride = before.shape[2] // after.shape[2]
        jacobian, pixels = 0.0, 0
        for n in range(len(after)):
            for y in range(after.shape[2]):
                for x in range(after.shape[3]):
                    patch = g[n, :, y * stride : (y + 1) * stride, x * stride : (x + 1) * stride]
                    jacobian = jacobian + torch.outer(patch.flatten(), vector[n, :, y, x])
                    pixels += 1
        norm = torch.linalg.svdvals(jacobian / pixels).max().item()
        scores.append(2 - norm - 1 / (norm + 1e-6))
    torch.manual_seed(0)
    found = az_nas_components(az_network(), images, labels)["trainability"]
    assert found == pytest.approx(sum(scores) / len(scores), rel=1e-4)


class Named(nn.Module):
    """Names its blocks itself; the second is the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.second = nn.Conv2d(3, 4, 3), nn.Identity()

    def feature_blocks(self) -> list[nn.Module]:
        return [self.stem, self.second]

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.stem(images)).mean((2, 3))


def test_an_identity_cannot_be_trained() -> None:
    images, labels = batch()
    assert az_nas_components(Named(), images, labels)["trainability"] == -math.inf
    with pytest.raises(BrokenArchitecture, match="trainability"):
        SCORES["trainability"](Named(), images, labels)


@pytest.mark.parametrize("operation", nasbench201.OPERATIONS)
def test_cells_of_one_operation(operation: str) -> None:
    """Also cells that give zeros or their input have a score or a reason, and never a crash."""
    images, labels = batch()
    for name, score in SCORES.items():
        torch.manual_seed(0)
        network = nasbench201.Network([operation] * 6, 3, CLASSES, C=4, N=2)
        try:
            assert math.isfinite(score(network, images, labels)), name
        except BrokenArchitecture:
            assert operation in ("none", "skip_connect"), name


def test_feature_blocks() -> None:
    resnet = resnet18()
    blocks = [block for i in range(1, 5) for block in resnet.get_submodule(f"layer{i}")]
    assert feature_blocks(resnet) == [resnet.maxpool, *blocks, resnet.fc]
    cells = nasbench201.Network(["none"] * 5 + ["skip_connect"], 3, CLASSES, C=4, N=2)
    assert feature_blocks(cells) == [cells.stem[1], *cells.cells, cells.classifier]
    plain = az_network()
    assert feature_blocks(plain) == [plain[1], plain[3], plain[5], plain[8]]
    named = Named()
    assert feature_blocks(named) == [named.stem, named.second]


def test_log_rank_against_counting() -> None:
    components = np.random.default_rng(0).integers(0, 6, (3, 20)).astype(float)  # with ties
    components[0, :3] = -np.inf
    expected = []
    for j in range(20):
        total = 0.0
        for row in components:
            below, equal = sum(row < row[j]), sum(row == row[j])
            total += math.log((below + (equal + 1) / 2) / 20)  # ties share the mean of their ranks
        expected.append(total)
    assert combine(components) == pytest.approx(expected)


@pytest.mark.parametrize("name", SCORES)
def test_contract(name: str) -> None:
    """A finite float or a one-line reason, by the seed alone, with the inputs left as they were."""
    images, labels = batch()
    before = images.clone(), labels.clone()
    found = 0
    for architecture in CONVNETS:
        if architecture.error is not None:
            continue
        values: list[float | str] = []
        for _ in range(2):
            torch.manual_seed(1)
            network = nasproxy.load_space("convnet_small").build(
                architecture.choices, SHAPE, CLASSES
            )
            state = torch.get_rng_state()
            try:
                values.append(SCORES[name](network, images, labels))
                found += 1
            except BrokenArchitecture as error:
                values.append(str(error))
                assert "\n" not in str(error)
            assert name in DRAWING or torch.equal(state, torch.get_rng_state())
        assert values[0] == values[1]
        assert isinstance(values[0], str) or (type(values[0]) is float and math.isfinite(values[0]))
    assert found >= 10, f"{name} refuses most networks"
    assert torch.equal(images, before[0]) and torch.equal(labels, before[1])
    assert not images.requires_grad


@pytest.mark.parametrize("name", SCORES)
def test_layers_in_place_change_nothing(name: str) -> None:
    images, labels = batch()

    def score(inplace: bool) -> float:
        torch.manual_seed(0)
        return SCORES[name](small(lambda: nn.ReLU(inplace=inplace)).float(), images, labels)

    assert score(True) == score(False)


@pytest.mark.parametrize("name", ["grad_norm", "synflow", "expressivity"])
def test_a_network_without_layers_is_broken(name: str) -> None:
    with pytest.raises(BrokenArchitecture):
        SCORES[name](nn.Sequential(nn.ReLU(), nn.Flatten()), *batch())


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"{PUBLISHED} is not here")
def test_published_scores_of_nasbench201() -> None:
    """60 cells of the full network (C=16, N=5), on noise in place of CIFAR-10."""
    with gzip.open(PUBLISHED, "rt") as file:
        rows = list(csv.DictReader(file))
    rows = [rows[i] for i in np.random.default_rng(1).choice(len(rows), 60, replace=False)]
    images, labels = batch(64, (3, 32, 32))
    for name, least in (("synflow", 0.95), ("logsynflow", 0.95), ("naswot", 0.9)):
        ours = []
        for number, row in enumerate(rows):
            cell = [
                term.partition("~")[0]
                for node in row["arch"].split("+")
                for term in node.strip("|").split("|")
            ]
            torch.manual_seed(number)
            network = nasbench201.Network(cell, 3, CLASSES, C=16, N=5)
            try:
                ours.append(SCORES[name](network, images, labels))
            except BrokenArchitecture:
                ours.append(-math.inf)
        published = [float(row[f"{name}_c10"]) for row in rows]
        agreement = spearmanr(ours, published).statistic
        assert agreement >= least, f"{name}: {agreement:.3f}"
