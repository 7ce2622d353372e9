"""Parameters and multiply-accumulates, against published counts and counts by hand."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torchvision.models import get_model, get_model_weights
from torchvision.ops import DeformConv2d

import nasproxy
from nasproxy import BrokenArchitecture
from nasproxy.spaces.size import count_flops, count_params
from tests.conftest import QUICK, scored

SHAPE = (3, 8, 8)
L, C = 64, 8  # tokens and their features


@pytest.mark.parametrize(
    "name",
    [
        *("alexnet", "convnext_tiny", "mnasnet1_0", "googlenet", "mobilenet_v2", "resnet18"),
        *("resnext50_32x4d", "shufflenet_v2_x1_0", "swin_t", "vgg11", "vit_b_16", "squeezenet1_1"),
    ],
)
def test_published_counts(name: str) -> None:
    """Those that torchvision publishes with its weights, in units of 10^9."""
    weights = next(iter(get_model_weights(name)))
    (side,) = weights.transforms().crop_size
    with torch.device("meta"):
        network = get_model(name)
    assert count_flops(network, (3, side, side)) / 1e9 == pytest.approx(
        weights.meta["_ops"], abs=6e-4
    )
    published = weights.meta["num_params"]
    if name not in ("googlenet",):  # without its auxiliary heads
        assert count_params(network) == published


class Tokens(nn.Module):
    """Pixels as 64 tokens of 8 features, through something; the stem counts for 1,536."""

    def __init__(self, body: Callable[[nn.Module, Tensor], object], part: nn.Module) -> None:
        super().__init__()
        self.stem, self.body, self.part = nn.Conv2d(3, C, 1), body, part

    def forward(self, images: Tensor) -> object:
        return self.body(self.part, self.stem(images).flatten(2).mT)


def encoder(depth: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(C, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, depth)


STEM = L * 3 * C
ATTENTION = L * 4 * C * C + 2 * L * L * C
CELL = C * C + C * C  # from the input and from the state before
NONE = nn.Identity()
CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "encoder of one": (lambda: Tokens(lambda p, x: p(x), encoder(1)), ATTENTION + L * 2 * C * 16),
    "encoder of three": (lambda: Tokens(lambda p, x: p(x), encoder(3)),
                         3 * (ATTENTION + L * 2 * C * 16)),
    "decoder": (lambda: Tokens(lambda p, x: p(x, x), nn.TransformerDecoderLayer(C, 2, 16,
                batch_first=True)), 2 * ATTENTION + L * 2 * C * 16),
    "attention": (lambda: Tokens(lambda p, x: p(x, x, x)[0], nn.MultiheadAttention(C, 2,
                  batch_first=True)), ATTENTION),
    "attention without weights": (lambda: Tokens(lambda p, x: p(x, x, x, need_weights=False)[0],
                                  nn.MultiheadAttention(C, 2, batch_first=True)), ATTENTION),
    "sdpa": (lambda: Tokens(lambda p, x: F.scaled_dot_product_attention(*[x[:, None]] * 3), NONE),
             2 * L * L * C),
    "causal": (lambda: Tokens(lambda p, x: F.scaled_dot_product_attention(
        *[x[:, None]] * 3, is_causal=True), NONE), 2 * L * L * C),
    "einsum": (lambda: Tokens(lambda p, x: torch.einsum("nic,njc->nij", x, x), NONE), L * L * C),
    "lstm": (lambda: Tokens(lambda p, x: p(x)[0], nn.LSTM(C, C, batch_first=True)), 4 * L * CELL),
    "lstm both ways": (lambda: Tokens(lambda p, x: p(x)[0], nn.LSTM(C, C, bidirectional=True,
                       batch_first=True)), 8 * L * CELL),
    "two lstms": (lambda: Tokens(lambda p, x: p(x)[0], nn.LSTM(C, C, 2, batch_first=True)),
                  8 * L * CELL),
    "gru": (lambda: Tokens(lambda p, x: p(x)[0], nn.GRU(C, C, batch_first=True)), 3 * L * CELL),
    "rnn": (lambda: Tokens(lambda p, x: p(x)[0], nn.RNN(C, C, batch_first=True)), L * CELL),
    "cell": (lambda: Tokens(lambda p, x: p(x[:, 0])[0], nn.LSTMCell(C, C)), 4 * CELL),
    "bilinear": (lambda: Tokens(lambda p, x: p(x, x), nn.Bilinear(C, C, 5)), L * C * C * 5),
    "matrix and vector": (lambda: Tokens(lambda p, x: x[0] @ p.weight[0], nn.Linear(C, C)), L * C),
    "dot": (lambda: Tokens(lambda p, x: torch.dot(x[0, 0], x[0, 1]), NONE), C),
    "distances": (lambda: Tokens(lambda p, x: torch.cdist(x, x), NONE), L * L * C),
    "weight norm": (lambda: Tokens(lambda p, x: p(x), parametrizations.weight_norm(
        nn.Linear(C, C))), L * C * C),
    "old weight norm": (lambda: Tokens(lambda p, x: p(x), weight_norm(nn.Linear(C, C))), L * C * C),
    "spectral norm": (lambda: Tokens(lambda p, x: p(x), parametrizations.spectral_norm(
        nn.Linear(C, C))), L * C * C),
    "old spectral norm": (lambda: Tokens(lambda p, x: p(x), spectral_norm(nn.Linear(C, C))),
                          L * C * C),
    "orthogonal": (lambda: Tokens(lambda p, x: p(x), parametrizations.orthogonal(nn.Linear(C, C))),
                   L * C * C),
    "transposed": (lambda: Tokens(lambda p, x: p(x.mT), nn.ConvTranspose1d(C, 5, 2, stride=2)),
                   L * C * 5 * 2),
    "3-d": (lambda: Tokens(lambda p, x: p(x.mT.view(1, C, 4, 4, 4)), nn.Conv3d(C, 5, 3, padding=1)),
            L * C * 5 * 27),
    "deformable": (lambda: Tokens(lambda p, x: p(x.mT.view(1, C, 8, 8), torch.zeros(
        1, 18, 8, 8, device=x.device)), DeformConv2d(C, 5, 3, padding=1)), L * C * 5 * 9),
    "nothing": (lambda: Tokens(lambda p, x: F.interpolate(F.gelu(x.cumsum(1)).sort(1)[0], 9), NONE),
                0),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_counts_by_hand(name: str) -> None:
    make, expected = CASES[name]
    network = make()
    modes = network.train().stem.eval().training
    assert count_flops(network, SHAPE) == STEM + expected
    assert network.training and network.stem.training is modes  # each as it was
    if (
        name in ("deformable", "orthogonal") or "spectral" in name
    ):  # none of them is made for no device
        return
    with torch.device("meta"):
        assert count_flops(make(), SHAPE) == STEM + expected


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (lambda p, x: torch.fft.fft(x).real, "_fft_r2c"),
        (lambda p, x: torch.linalg.svd(x)[0], "_linalg_svd"),
        (lambda p, x: torch.linalg.solve(x[:, :C] + 9 * torch.eye(C), x.mT), "_linalg_solve"),
        (lambda p, x: torch.matrix_exp(x[:, :C]), "linalg_matrix_exp"),
    ],
)
def test_what_has_no_formula_is_refused_by_name(operation, name: str) -> None:
    with pytest.raises(BrokenArchitecture, match=f"no formula for the operation aten.{name}"):
        count_flops(Tokens(operation, NONE), SHAPE)


def test_an_operation_of_one_s_own_is_refused_by_name() -> None:
    @torch.library.custom_op("nasproxy_test::mine", mutates_args=())
    def mine(x: Tensor) -> Tensor:
        return x @ x.mT

    with pytest.raises(BrokenArchitecture, match=r"operation nasproxy_test\.mine"):
        count_flops(Tokens(lambda p, x: mine(x), NONE), SHAPE)


SPACE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, depth, classes, kind):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.stem, self.body = nn.LazyLinear(8), nn.TransformerEncoder(layer, depth)
        self.head, self.kind = nn.Linear(8, classes), kind
    def forward(self, x):
        x = self.body(self.stem(x.flatten(1, 2)))
        return self.head((torch.fft.fft(x).real if self.kind else x).mean(1))
def build(trial, shape, classes):
    return Net(trial.suggest_int("depth", 1, 3), classes, trial.suggest_int("fourier", {}, {}))
"""


def rank(folder, data, fourier: int, *arguments: object, **more: object):
    (folder / "net.py").write_text(SPACE.replace("{}", str(fourier)))
    space = nasproxy.load_space(str(folder / "net.py"))
    return nasproxy.rank(space, *arguments, data=data, sampler="all", jobs=1, **more)


def test_one_count_everywhere(data, tmp_path) -> None:
    flops = {t.params["depth"]: t.value for t in scored(rank(tmp_path, data, 0, "flops"))}
    assert len(set(flops.values())) == 3
    trained = scored(rank(tmp_path, data, 0, "full", recipe=QUICK))
    assert {t.params["depth"]: t.user_attrs["macs"] for t in trained} == flops
    limited = scored(rank(tmp_path, data, 0, "params", max_flops=flops[2]))
    assert {t.params["depth"] for t in limited} == {1, 2}


def test_what_can_not_be_counted_is_trained_all_the_same(data, tmp_path) -> None:
    trained = scored(rank(tmp_path, data, 1, "full", recipe=QUICK))
    assert len(trained) == 3 and not any("macs" in t.user_attrs for t in trained)
    with pytest.raises(nasproxy.UserError, match="no formula for the operation"):
        rank(tmp_path, data, 1, "flops")
    with pytest.raises(nasproxy.UserError, match="no formula"):
        rank(tmp_path, data, 1, "az_nas")
    with pytest.raises(nasproxy.UserError, match="no formula"):
        rank(tmp_path, data, 1, "params", max_flops=1e9)


def test_lazy_networks_are_counted_by_their_shape() -> None:
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(BrokenArchitecture, match="lazy"):
        count_params(network)
    assert count_flops(network, SHAPE) == 5 * 192
    assert count_params(network) == 5 * 193
    assert count_params(nn.Sequential(nn.Flatten(), nn.LazyLinear(5)), SHAPE) == 5 * 193
