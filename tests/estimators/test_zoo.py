"""Every training-free score over a zoo of networks: it means something there, or is refused."""

import math
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm
from torchvision.ops import StochasticDepth

from nasproxy.errors import BrokenArchitecture
from nasproxy.estimators.zerocost import SCORES, az_nas_components, feature_blocks
from nasproxy.spaces.network import with_plain_weights
from nasproxy.spaces.size import count_params

SIDE, CLASSES, IMAGES = 8, 4, 12
Function = Callable[[Tensor], Tensor]


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(IMAGES, 3, SIDE, SIDE, generator=generator), torch.arange(IMAGES) % CLASSES


class Stack(nn.Module):
    """A stem, blocks that keep the shape, and a linear layer on the mean of pixels or tokens."""

    def __init__(
        self,
        blocks: list[nn.Module],
        width: int,
        call: Callable[[nn.Module, Tensor], Tensor] = lambda block, x: block(x),
        tokens: bool = False,
    ) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, width, 3, padding=1), nn.ModuleList(blocks)
        self.head, self.call, self.tokens = nn.Linear(width, CLASSES), call, tokens

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.avg_pool2d(x, 2).flatten(2).mT if self.tokens else x
        for block in self.blocks:
            x = self.call(block, x)
        return self.head(x.mean(1) if self.tokens else x.mean((2, 3)))


def conv(width: int, **more: object) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=1, **more)


def stacked(
    block: Callable[[int], nn.Module], call: Callable | None = None, tokens: bool = False
) -> Callable[[int, int], nn.Module]:
    more = {} if call is None else {"call": call}
    return lambda depth, width: Stack(
        [block(width) for _ in range(depth)], width, tokens=tokens, **more
    )


def functional(activation: Function) -> Callable[[int, int], nn.Module]:
    return stacked(conv, lambda block, x: activation(block(x)))


def made_by(make: Callable[[nn.Module], nn.Module]) -> Callable[[int, int], nn.Module]:
    return stacked(lambda w: nn.Sequential(make(conv(w)), nn.ReLU()))


class Half(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


class DropPath(nn.Module):
    """As timm's, of one image by one."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * torch.empty(len(x), 1, 1, 1).bernoulli_(0.7) / 0.7


class PythonDrop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0 if self.training and random.random() < 0.5 else x


class Recurrent(nn.Module):
    def __init__(self, depth: int, width: int, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.body = kind(3 * SIDE, width, depth, batch_first=True)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.permute(0, 2, 1, 3).flatten(2))[0][:, -1])


def mlp(depth: int, width: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2 * width), nn.ReLU()]
    for _ in range(depth):
        layers += [nn.Linear(2 * width, 2 * width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(2 * width, CLASSES))


def residual(path: Callable[[], nn.Module] | None = None) -> Callable[[int, int], nn.Module]:
    def block(width: int) -> nn.Module:
        layers = [conv(width), nn.BatchNorm2d(width), nn.ReLU()]
        return nn.Sequential(*layers, *([path()] if path else []))

    return stacked(block, lambda block, x: x + block(x))


def encoder_layer(width: int, **more: object) -> nn.Module:
    return nn.TransformerEncoderLayer(width, 2, 2 * width, batch_first=True, **more)


def encoder(depth: int, width: int) -> nn.Module:
    return Stack([nn.TransformerEncoder(encoder_layer(width), depth)], width, tokens=True)


ZOO: dict[str, Callable[[int, int], nn.Module]] = {
    "plain": stacked(lambda w: nn.Sequential(conv(w), nn.BatchNorm2d(w), nn.ReLU())),
    "without norms": stacked(lambda w: nn.Sequential(conv(w), nn.ReLU())),
    "residual": residual(),
    "depthwise": stacked(lambda w: nn.Sequential(conv(w, groups=w), nn.Conv2d(w, w, 1), nn.ReLU())),
    "grouped": stacked(lambda w: nn.Sequential(conv(w, groups=2), nn.ReLU())),
    "functional relu": functional(F.relu),
    "functional relu in place": functional(lambda x: F.relu(x, inplace=True)),
    "method relu in place": functional(lambda x: x.relu_()),
    "clamped": functional(lambda x: x.clamp(min=0)),
    "functional gelu": functional(F.gelu),
    "functional silu": functional(F.silu),
    "functional tanh": functional(torch.tanh),
    "gelu": stacked(lambda w: nn.Sequential(conv(w), nn.GELU())),
    "silu": stacked(lambda w: nn.Sequential(conv(w), nn.SiLU())),
    "linear": stacked(conv),
    "layer-normed": stacked(
        lambda w: nn.Sequential(conv(w), nn.LayerNorm((w, SIDE, SIDE)), nn.ReLU())
    ),
    "functional norm": functional(lambda x: F.relu(F.layer_norm(x, x.shape[1:]))),
    "attention": stacked(encoder_layer, tokens=True),
    "attention, norm first": stacked(lambda w: encoder_layer(w, norm_first=True), tokens=True),
    "encoder": encoder,
    "lstm": lambda depth, width: Recurrent(depth, width, nn.LSTM),
    "gru": lambda depth, width: Recurrent(depth, width, nn.GRU),
    "mlp": mlp,
    "weight norm": made_by(parametrizations.weight_norm),
    "old weight norm": made_by(weight_norm),
    "spectral norm": made_by(parametrizations.spectral_norm),
    "old spectral norm": made_by(spectral_norm),
    "orthogonal": made_by(parametrizations.orthogonal),
    "parametrised": made_by(lambda m: parametrize.register_parametrization(m, "weight", Half())),
    "stochastic depth": residual(lambda: StochasticDepth(0.5, "row")),
    "stochastic depth by batch": residual(lambda: StochasticDepth(0.2, "batch")),
    "drop path": residual(DropPath),
    "dropout": residual(lambda: nn.Dropout(0.5)),
    "functional dropout": stacked(
        conv, lambda block, x: F.dropout(block(x), 0.5, block.training).relu()
    ),
    "python's own dropping": residual(PythonDrop),
    "rrelu": stacked(lambda w: nn.Sequential(conv(w), nn.RReLU())),
}
AT_RANDOM: dict[str, Callable[[int, int], nn.Module]] = {
    "dropout that is never off": functional(lambda x: F.dropout(x, 0.5).relu()),
    "noise": functional(lambda x: (x + torch.randn_like(x)).relu()),
}
# what a score says of a network that it has no meaning for
REFUSED = {
    ("naswot", "linear"): "activation",
    ("swap", "linear"): "activation",
    ("meco", "mlp"): "fewer channels than pixels",
    ("jacob_cov", "linear"): "the same gradient",
    **{(name, "mlp"): "blocks" for name in ("expressivity", "progressivity", "trainability")},
    **{(name, k): "blocks" for name in ("progressivity", "trainability") for k in ("lstm", "gru")},
}
SIZES = ((1, 6), (3, 6), (3, 10))  # (depth, width)
NARROW = ((1, 4), (3, 4), (3, 6))  # with fewer channels than an image has rows


def score(name: str, network: nn.Module, seed: int = 0) -> float:
    torch.manual_seed(seed)
    random.seed(seed)
    return SCORES[name](network, *images())


def made(kind: str, depth: int, width: int) -> nn.Module:
    torch.manual_seed(3)
    return {**ZOO, **AT_RANDOM}[kind](depth, width)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "name"),
    [  # a fifth of a second each: a quarter of them by default, of each kind and each score
        pytest.param(kind, name, marks=[pytest.mark.slow] if (i + j) % 4 else [])
        for i, kind in enumerate(ZOO)
        for j, name in enumerate(SCORES)
    ],
)
def test_it_means_something_or_is_refused(kind: str, name: str) -> None:
    """Finite, another for another depth and width, the same twice, and nothing is changed."""
    if (name, kind) in REFUSED:
        with pytest.raises(BrokenArchitecture, match=REFUSED[name, kind]):
            score(name, made(kind, 2, 6))
        return
    found = []
    for size in NARROW if name == "meco" and kind in ("lstm", "gru") else SIZES:
        network = made(kind, *size)
        before = {k: v.clone() for k, v in network.state_dict().items()}
        modes = [module.training for module in network.modules()]
        found.append(score(name, network))
        assert score(name, network) == found[-1]
        after = network.state_dict()
        assert after.keys() == before.keys()
        assert all(torch.equal(after[k], before[k]) for k in before)
        assert [module.training for module in network.modules()] == modes
        assert not any(m._forward_hooks for m in network.modules())
        assert all(p.grad is None and p.dtype == torch.float32 for p in network.parameters())
    assert all(map(math.isfinite, found))
    assert found[0] != 0 or name == "trainability"
    if name != "progressivity":  # a least growth may be that of blocks both have
        assert all(one != two for one, two in pairwise(found))


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    "kind", ["stochastic depth", "stochastic depth by batch", "drop path", "dropout"]
)
def test_what_draws_is_off(kind: str, name: str) -> None:
    """The same as of the network without it, whatever the generators' state."""
    draws = {"logsynflow", "expressivity", "progressivity", "trainability", "meco", "vkdnw"}
    network, plain = made(kind, 3, 6), made("residual", 3, 6)
    for seed in (0,) if name in draws else (0, 1, 2):
        assert score(name, network, seed) == pytest.approx(score(name, plain, 0))


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("kind", AT_RANDOM)
def test_what_draws_whatever_it_is_told_is_refused(kind: str, name: str) -> None:
    with pytest.raises(BrokenArchitecture, match="Stack draws at random"):
        score(name, made(kind, 2, 6))


@pytest.mark.parametrize("name", SCORES)
def test_in_place_and_functional_are_nothing_to_a_score(name: str) -> None:
    values = {
        score(name, made(kind, 3, 6))
        for kind in ("functional relu", "functional relu in place", "method relu in place")
    }
    assert len(values) == 1
    if name == "naswot":
        assert values == {score(name, made("without norms", 3, 6))}
        assert values == {score(name, made("clamped", 3, 6))}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("kind", ["weight norm", "old weight norm", "spectral norm", "orthogonal"])
def test_weights_that_are_made_count_as_what_they_are(kind: str, name: str) -> None:
    network = made(kind, 2, 6)
    plain = with_plain_weights(network)
    assert count_params(plain) == count_params(made("without norms", 2, 6))
    inputs = images()[0]
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(inputs), network.eval()(inputs))
    assert score(name, network) == pytest.approx(score(name, plain))


def test_an_image_that_is_there_twice_counts_once() -> None:
    inputs, labels = images()
    double = torch.cat([inputs, inputs[3:5]])
    for name in ("naswot", "jacob_cov"):
        network = made("without norms", 2, 6)
        expected = SCORES[name](network, inputs, labels)
        assert SCORES[name](network, double, labels) == pytest.approx(expected)


def test_fewer_units_than_images_are_said_and_not_rounded() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, CLASSES))
    with pytest.raises(BrokenArchitecture, match="singular"):
        SCORES["naswot"](network, *images())


def test_deep_attention_beyond_float64_is_refused_in_words() -> None:
    torch.manual_seed(0)
    network = stacked(lambda w: encoder_layer(w, norm_first=True), tokens=True)(40, 16)
    for name in ("synflow", "logsynflow"):
        try:
            assert math.isfinite(SCORES[name](network, *images()))
        except BrokenArchitecture as error:
            assert "beyond float64" in str(error)


def test_az_nas_sees_every_block_of_a_transformer() -> None:
    for kind in ("attention", "encoder"):
        found = {d: az_nas_components(made(kind, d, 6), *images()) for d in (1, 2, 4)}
        values = [found[d]["expressivity"] for d in found]
        assert values == sorted(values) and values[2] > 2 * values[0] > 0
        assert all(math.isfinite(v) for of_depth in found.values() for v in of_depth.values())


def test_blocks_of_torchvision_s_transformers() -> None:
    from torchvision.models import swin_t, vit_b_16

    with torch.device("meta"):
        vit, swin = vit_b_16(), swin_t()
    assert sum(type(b).__name__ == "EncoderBlock" for b in feature_blocks(vit)) == 12
    assert sum(type(b).__name__ == "SwinTransformerBlock" for b in feature_blocks(swin)) == 12


def test_a_frozen_layer_is_no_layer_to_prune() -> None:
    network = made("without norms", 2, 6)
    whole = score("snip", network)
    network.blocks[0].requires_grad_(False)
    assert 0 < score("snip", network) < whole
