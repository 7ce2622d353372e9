"""The fast forms of layers against torch's own."""

import copy

import pytest
import torch
from torch import Tensor, nn

from nasproxy.training import fast as layout
from nasproxy.training.fast import make_fast
from nasproxy.training.recipe import Recipe
from nasproxy.training.training import Training

SHAPES = [(3, 8, 6, 5), (2, 4, 32, 33), (2, 3, 1, 1), (5, 16, 8, 8)]
LAYERS = {
    "group": lambda c, h, w: nn.GroupNorm(c, c),
    "group-plain": lambda c, h, w: nn.GroupNorm(c, c, affine=False),
    "instance": lambda c, h, w: nn.InstanceNorm2d(c),
    "instance-affine": lambda c, h, w: nn.InstanceNorm2d(c, affine=True),
    "layer": lambda c, h, w: nn.LayerNorm((c, h, w)),
    "layer-no-bias": lambda c, h, w: nn.LayerNorm((c, h, w), bias=False),
    "layer-plain": lambda c, h, w: nn.LayerNorm((c, h, w), elementwise_affine=False),
    "box": lambda c, h, w: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    "conv": lambda c, h, w: nn.Conv2d(c, 2 * c, 3, padding=1),
}


def _both(layer: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module, Tensor]:
    """A layer with drawn parameters, its fast form, and images that are not centred."""
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    network = nn.Sequential(copy.deepcopy(layer), nn.ReLU(inplace=True))
    network.register_parameter("anchor", nn.Parameter(torch.zeros(1)))
    return layer, make_fast(network), 3 + 2 * torch.randn(shape)


def _gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.clone().requires_grad_()
    output = network(images)
    weights = torch.linspace(-1, 2, output.numel()).view(output.shape)
    inputs = [images, *(p for n, p in network.named_parameters() if n != "anchor")]
    return [output, *torch.autograd.grad((output * weights).sum(), inputs)]


@pytest.mark.parametrize("format_", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LAYERS)
def test_it_computes_what_torch_does(name: str, shape, format_) -> None:
    if shape[2:] == (1, 1) and name.startswith("instance"):
        pytest.skip("torch refuses instance norm of one pixel")
    slow, fast, images = _both(LAYERS[name](*shape[1:]), shape)
    images = images.contiguous(memory_format=format_)
    if name != "conv":
        assert type(fast[0]).__module__ == layout.__name__
    expected = _gradients(nn.Sequential(slow, nn.ReLU()), images)
    for got, want in zip(_gradients(fast, images), expected, strict=True):
        scale = want.abs().max().clamp(min=1)
        torch.testing.assert_close(got / scale, want / scale, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_parameters_keep_their_names_and_values(name: str) -> None:
    slow, fast, _ = _both(LAYERS[name](4, 6, 6), (2, 4, 6, 6))
    state = {k.removeprefix("0."): v for k, v in fast.state_dict().items() if k != "anchor"}
    assert state.keys() == slow.state_dict().keys()
    for key, value in slow.state_dict().items():
        assert torch.equal(state[key], value)
    assert isinstance(fast[0], type(slow))


def test_layers_that_only_look_alike_are_left_alone() -> None:
    class Mine(nn.GroupNorm):
        pass

    layers = [
        Mine(4, 4),
        nn.GroupNorm(2, 4),
        nn.LayerNorm(6),
        nn.InstanceNorm2d(4, track_running_stats=True),
        nn.AvgPool2d(3, stride=1, padding=1),
        nn.AvgPool2d(2),
    ]
    kinds = [type(layer) for layer in layers]
    make_fast(nn.Sequential(nn.Conv2d(1, 1, 1), *layers))
    assert [type(layer) for layer in layers] == kinds


def test_bfloat16_is_close_and_can_be_taken_back() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1))
    images = torch.randn(4, 3, 8, 8)
    exact = make_fast(network, "float32")(images)  # other layouts may sum in another order
    rough = make_fast(network, "bfloat16")(images)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.05
    assert torch.equal(make_fast(network, "float32")(images), exact)


def test_other_numbers_than_float32_stay_what_they_are() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.GroupNorm(4, 4), nn.LayerNorm((4, 6, 6))]
    network = nn.Sequential(*layers).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    expected = network(images)
    found = make_fast(network, "bfloat16")(images)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected)


def test_training_is_the_slow_one_s(data, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps of a network with every layer end at the same loss."""
    recipe = Recipe(steps=6, batch_size=20, lr=0.02, precision="float32")

    def loss() -> float:
        torch.manual_seed(1)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.GroupNorm(8, 8),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.LayerNorm((8, 8, 8)),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 3),
        )
        training = Training(network, data.train, recipe, data.normalisation)
        training.run()
        return training.loss

    fast = loss()
    monkeypatch.setattr("nasproxy.training.training.try_fast", lambda *_: False)
    assert fast == pytest.approx(loss(), rel=1e-4)
