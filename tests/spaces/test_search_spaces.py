"""Every space that comes with the package keeps the contract of a space."""

import subprocess
import sys

import pytest
import torch

from nasproxy import load_space
from nasproxy.estimators.making import proxy_recipe
from nasproxy.spaces.code import builtin_spaces
from search_spaces import nasbench201

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 16, 16), (3, 64, 64), (3, 224, 224)]


@pytest.mark.parametrize("name", builtin_spaces())
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_contract_of_a_space(name: str, shape: tuple[int, int, int]) -> None:
    """Random architectures build for any shape, give logits, and every parameter learns."""
    if shape[1] > 64 and name not in ("residual", "inverted_residual"):
        pytest.skip("a space for smaller images")
    space = load_space(name)
    assert proxy_recipe(space).steps is None  # nothing that `epochs=` would be of no use beside
    for drawn in space.sample(4, seed=shape[1], input_shape=shape, num_classes=7):
        if drawn.error is not None:
            continue
        network = space.build(drawn.choices, shape, 7)
        logits = network(torch.randn(3, *shape))
        assert logits.shape == (3, 7)
        logits.square().sum().backward()
        without = [n for n, p in network.named_parameters() if p.grad is None]
        if name == "nasbench201":  # cells have edges that lead nowhere
            operations = list(drawn.choices.values())
            used = {f"edges.{i}." for i in nasbench201.used_edges(operations)}
            without = [n for n in without if any(edge in n for edge in used)]
        assert not without
        assert space.key(drawn.choices) == drawn.key


@pytest.mark.parametrize("name", builtin_spaces())
def test_building_depends_on_torchs_seed_alone(name: str) -> None:
    space = load_space(name)
    (drawn, *_) = space.sample(1, 3, (3, 32, 32), 5)

    def weights() -> torch.Tensor:
        torch.manual_seed(1)
        network = space.build(drawn.choices, (3, 32, 32), 5)
        return torch.cat([p.flatten() for p in network.parameters()])

    assert torch.equal(weights(), weights())


def test_the_720_convnets() -> None:
    space = load_space("convnet")
    found = list(space.enumerate((3, 32, 32), 10))
    assert len(found) == len({a.key for a in found}) == 720
    assert all(a.error is None and a.drawn == "all" for a in found)
    small = list(load_space("convnet_small").enumerate((1, 8, 8), 10))
    assert len(small) == 720
    invalid = [a for a in small if a.error]
    assert len(invalid) == 4 * 5 * 3 * 2  # depth 4, pooled: 8 pixels take three poolings
    assert "8x8 pixels cannot be pooled 4 times" in str(invalid[0].error)


@pytest.mark.parametrize(
    ("params", "count"),
    [
        # conv 3->128 and two 128->128 with biases, affine norms, linear 2048->10
        ((128, 3, "instance", "relu", "average"), 3584 + 2 * 147584 + 3 * 256 + 20490),
        ((32, 1, "none", "sigmoid", "none"), 896 + 32 * 32 * 32 * 10 + 10),
        ((64, 2, "layer", "relu", "max"), 1792 + 36928 + 2 * 64 * (1024 + 256) + 4096 * 10 + 10),
    ],
)
def test_parameter_counts_by_hand(params: tuple, count: int) -> None:
    names = ("width", "depth", "norm", "activation", "pooling")
    network = load_space("convnet").build(dict(zip(names, params)), (3, 32, 32), 10)
    assert sum(p.numel() for p in network.parameters()) == count


def test_spaces_do_without_nasproxy() -> None:
    code = (
        "import sys; sys.modules['nasproxy'] = None; import optuna; from search_spaces import *; "
        "from search_spaces import convnet, convnet_small"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
