"""What plain PyTorch trains, we train, and to the same loss: odd networks against a plain loop."""

import copy
import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import nasproxy
from nasproxy import BrokenArchitecture, Recipe
from nasproxy.data.images import ImageSet
from nasproxy.spaces.network import logits_of, materialise
from nasproxy.training.fast import make_plain, try_fast
from nasproxy.training.training import Training, check_network, evaluate_network
from tests.conftest import QUICK, make_arrays, scored

SHAPE, CLASSES = (3, 8, 8), 4
RECIPE = Recipe(steps=3, batch_size=8, lr=0.02, augment="none", precision="float32")


class Net(nn.Module):
    """A convolution, something odd, and a linear layer."""

    def __init__(self, odd: Callable[..., Tensor], features: int = 6, **parts: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.odd, self.head = odd, nn.Linear(features, CLASSES)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, images: Tensor) -> object:
        features = self.odd(self, self.conv(images))
        if not isinstance(features, Tensor):
            return features
        return self.head(features.mean((2, 3)) if features.dim() == 4 else features)


def parameter(*shape: int, **more: object) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, **more) / 4)


def cached(s: nn.Module, x: Tensor) -> Tensor:
    if not hasattr(s, "mask"):
        s.mask = torch.linspace(0, 1, x.shape[3])
    return x * s.mask


def raises_in_training(s: nn.Module, x: Tensor) -> Tensor:
    return x.view(len(x), -1).view(x.shape) if s.training else x


def view_in_evaluation(s: nn.Module, x: Tensor) -> Tensor:
    return x if s.training else x.view(len(x), -1).view(x.shape)


def counted(s: nn.Module, x: Tensor) -> Tensor:
    s.calls += 1  # a buffer that is not in the state dict
    return x / s.calls.sqrt()


class Aux(nn.Module):
    """Several outputs while it trains."""

    def __init__(self, pack: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.body, self.pack = nn.Conv2d(3, 6, 3), pack
        self.main, self.aux = nn.Linear(6, CLASSES), nn.Linear(6, CLASSES)

    def forward(self, images: Tensor) -> object:
        features = self.body(images).relu().mean((2, 3))
        main = self.main(features)
        return self.pack(main, self.aux(features)) if self.training else main


class Pack:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


def sequential(*layers: nn.Module, features: int = 6) -> nn.Sequential:
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, CLASSES))
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), *layers, *pool)


ODDITIES: dict[str, Callable[[], nn.Module]] = {
    "view": lambda: Net(lambda s, x: x.view(len(x), -1), 384),
    "view of weights": lambda: Net(lambda s, x: x + s.conv.weight.view(-1).sum()),
    "view after a pool": lambda: Net(lambda s, x: F.avg_pool2d(x, 2).view(-1, 96), 96),
    "view in training alone": lambda: Net(raises_in_training),
    "view in evaluation alone": lambda: Net(view_in_evaluation),
    "strided": lambda: Net(lambda s, x: x.as_strided((len(x), 384), (384, 1)), 384),
    "group norm and view": lambda: Net(
        lambda s, x: s.n(x).view(len(x), -1), 384, n=nn.GroupNorm(6, 6)
    ),
    "layer norm and view": lambda: Net(
        lambda s, x: s.n(x).view(len(x), -1), 384, n=nn.LayerNorm((6, 8, 8))
    ),
    "five dimensions": lambda: Net(lambda s, x: x * s.p.mean(), p=parameter(2, 2, 2, 2, 2)),
    "six dimensions": lambda: Net(lambda s, x: x * s.p.sum(), p=parameter(1, 2, 1, 2, 1, 2)),
    "dynamic convolution": lambda: Net(
        lambda s, x: F.conv2d(x, (s.a.softmax(0)[:, None, None, None, None] * s.p).sum(0)),
        p=parameter(3, 6, 6, 3, 3),
        a=parameter(3),
    ),
    "3-d": lambda: Net(lambda s, x: s.d(x[:, None]).mean(1), d=nn.Conv3d(1, 4, 3, padding=1)),
    "1-d": lambda: Net(lambda s, x: s.d(x.flatten(2)).mean(2), d=nn.Conv1d(6, 6, 3)),
    "complex": lambda: Net(
        lambda s, x: torch.view_as_real(x * s.p)[..., 0], p=parameter(1, dtype=torch.cfloat)
    ),
    "fourier": lambda: Net(
        lambda s, x: torch.fft.ifft2(torch.fft.fft2(x) * s.p).real,
        p=parameter(8, 8, dtype=torch.cfloat),
    ),
    "lazy linear": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.LazyLinear(CLASSES)),
    "lazy everything": lambda: nn.Sequential(
        nn.LazyConv2d(6, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(CLASSES)
    ),
    "a choice of lazy parts": lambda: Net(
        lambda s, x: s.parts["a"](x), parts=nn.ModuleDict({k: nn.LazyConv2d(6, 3) for k in "ab"})
    ),
    "tuple": lambda: Aux(lambda main, aux: (main, aux)),
    "list": lambda: Aux(lambda main, aux: [main, aux]),
    "dict of out": lambda: Aux(lambda main, aux: {"aux": aux, "out": main}),
    "dict of logits": lambda: Aux(lambda main, aux: {"aux": aux, "logits": main}),
    "dict": lambda: Aux(lambda main, aux: {"main": main, "aux": aux}),
    "object": lambda: Aux(lambda main, aux: Pack(main)),
    "cached": lambda: Net(cached),
    "buffer apart": lambda: Net(counted),
    "in place": lambda: Net(lambda s, x: x.mul_(2).relu_()),
    "input in place": lambda: nn.Sequential(nn.ReLU(inplace=True), sequential()),
    "frozen": lambda: Net(lambda s, x: x * s.p, p=nn.Parameter(torch.ones(6, 1, 1), False)),
    "frozen integer": lambda: Net(
        lambda s, x: x + s.p, p=nn.Parameter(torch.ones(1, dtype=torch.long), False)
    ),
    "one weight twice": lambda: Net(
        lambda s, x: F.conv2d(F.relu(x), s.q) + F.conv2d(x, s.q), q=parameter(6, 6, 1, 1)
    ),
    "no shape at all": lambda: Net(lambda s, x: x * s.p, p=parameter()),
    "weight norm": lambda: sequential(parametrizations.weight_norm(nn.Conv2d(6, 6, 3))),
    "old weight norm": lambda: sequential(torch.nn.utils.weight_norm(nn.Conv2d(6, 6, 3))),
    "orthogonal": lambda: Net(
        lambda s, x: s.l(x.mean((2, 3))), l=parametrizations.orthogonal(nn.Linear(6, 6))
    ),
    "circular": lambda: sequential(nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular")),
    "transposed": lambda: sequential(nn.ConvTranspose2d(6, 6, 3, stride=2)),
    "shuffled": lambda: sequential(nn.ChannelShuffle(2), nn.PixelUnshuffle(2), nn.PixelShuffle(2)),
    "attention": lambda: Net(
        lambda s, x: s.m(x.flatten(2).mT).mean(1),
        m=nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True),
    ),
    "recurrent": lambda: Net(
        lambda s, x: s.m(x.flatten(2).mT)[0][:, -1], m=nn.LSTM(6, 6, batch_first=True)
    ),
    "checkpointed": lambda: Net(
        lambda s, x: checkpoint(s.c, x, use_reentrant=False), c=nn.Conv2d(6, 6, 1)
    ),
    "double": lambda: Net(
        lambda s, x: (x.double() * s.p).float(), p=parameter(1, dtype=torch.double)
    ),
    "no bias, one pixel": lambda: sequential(
        nn.AdaptiveAvgPool2d(1), nn.GroupNorm(6, 6, affine=False)
    ),
}


@pytest.fixture(scope="module")
def images() -> nasproxy.Dataset:
    x, y = make_arrays(120, (8, 8, 3), CLASSES)
    return nasproxy.from_arrays(x, y)


def plain_loop(
    network: nn.Module, images: ImageSet, data: nasproxy.Dataset, recipe: Recipe = RECIPE
) -> float:
    """The mean loss of all updates; nothing of ours but the order of the images."""
    network.train()
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.lr, recipe.momentum, weight_decay=5e-4, nesterov=True
    )
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    total = 0.0
    for step, index in enumerate(order.split(8)[: recipe.steps]):
        optimizer.param_groups[0]["lr"] = (
            recipe.lr * (1 + math.cos(math.pi * step / recipe.steps)) / 2
        )
        optimizer.zero_grad()
        output = network(data.normalisation(images.images[index]))
        if isinstance(output, dict):
            output = output.get("out", output.get("logits", output.get("main")))
        elif not isinstance(output, Tensor):
            output = output.logits if hasattr(output, "logits") else output[0]
        loss = F.cross_entropy(output, images.labels[index])
        loss.backward()
        optimizer.step()
        total += loss.item() / recipe.steps
    return total


def compare(
    make: Callable[[], nn.Module],
    data: nasproxy.Dataset,
    side: int = 8,
    recipe: Recipe = RECIPE,
    tolerance: float = 2e-3,
) -> None:
    some = data.train[torch.arange(24)]
    if side != 8:
        resized = F.interpolate(data.normalisation(some.images), (side, side))
        some = ImageSet(resized, some.labels)
    torch.manual_seed(1)
    network = materialise(make(), tuple(some.images.shape[1:]))
    torch.manual_seed(1)
    other = materialise(make(), tuple(some.images.shape[1:]))
    torch.manual_seed(2)
    expected = plain_loop(other, some, data, recipe)
    torch.manual_seed(2)
    check_network(network, data.normalisation(some.images[:2]), CLASSES)
    training = Training(network, some, recipe, data.normalisation)
    training.run()
    assert training.mean_loss == pytest.approx(expected, rel=tolerance)
    other.eval()
    with torch.no_grad():
        logits = logits_of(other(data.normalisation(some.images)))
    found = evaluate_network(network, some, data.normalisation)
    assert found.loss == pytest.approx(
        F.cross_entropy(logits, some.labels).item(), rel=10 * tolerance
    )


def make_counted() -> nn.Module:
    network = Net(counted)
    network.register_buffer("calls", torch.ones(()), persistent=False)
    return network


@pytest.mark.parametrize("name", ODDITIES)
def test_odd_networks_train_as_in_a_plain_loop(name: str, images) -> None:
    if name == "buffer apart":  # it counts its own calls: only those of training are compared
        some = images.train[torch.arange(24)]
        torch.manual_seed(1)
        training = Training(make_counted(), some, RECIPE, images.normalisation)
        training.network.calls.fill_(1.0)
        training.run()
        torch.manual_seed(1)
        assert training.mean_loss == pytest.approx(plain_loop(make_counted(), some, images))
        return
    compare(ODDITIES[name], images)


FAMILIES = {  # the smallest of each torchvision family, and a side that it takes
    "alexnet": 64, "convnext_tiny": 32, "densenet121": 32, "efficientnet_b0": 32, "googlenet": 32,
    "inception_v3": 75, "MaxVit": 56, "mnasnet0_5": 32, "mobilenet_v2": 32,
    "mobilenet_v3_small": 32, "regnet_x_400mf": 32, "resnet18": 32, "resnext50_32x4d": 32,
    "shufflenet_v2_x0_5": 32, "squeezenet1_1": 32, "swin_t": 32, "swin_v2_t": 32, "vgg11": 32,
    "vit_b_16": 32,
}  # fmt: skip
QUICK_FAMILIES = ("shufflenet_v2_x0_5", "mobilenet_v3_small")


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK_FAMILIES else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES],
)
def test_each_torchvision_family_trains_as_in_a_plain_loop(name: str, images) -> None:
    more = {"image_size": FAMILIES[name]} if name.startswith("vit") else {}
    if name in ("googlenet", "inception_v3"):
        more |= {"init_weights": False}
    if name == "inception_v3":
        more |= {"aux_logits": False}  # which want 299 pixels
    if name == "MaxVit":  # its smallest takes minutes
        sizes = {"block_channels": [8, 16], "block_layers": [1, 1], "stochastic_depth_prob": 0.0}
        more |= {"input_size": (56, 56), "stem_channels": 8, "partition_size": 7, "head_dim": 8}
        more |= sizes
    model = getattr(torchvision.models, name)

    def make() -> nn.Module:
        network = model(num_classes=CLASSES, **more)
        for module in network.modules():  # what draws would draw other numbers in another layout
            if isinstance(module, nn.Dropout | torchvision.ops.StochasticDepth):
                module.p = 0.0
        return network

    # one step: batch norms of few numbers make much of rounding, and torch's own float32 is
    # as far from float64 after three
    recipe = dataclasses.replace(RECIPE, steps=1, lr=1e-4)
    compare(make, images, FAMILIES[name], recipe, 2e-3)


def test_what_fails_in_the_fast_form_alone_is_started_again(images) -> None:
    """It fails in the middle of an epoch, when much is changed already."""

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            self.drop, self.head = nn.Dropout(0.5), nn.Linear(4 * 36, CLASSES)
            self.steps = 0

        def forward(self, x: Tensor) -> Tensor:
            x = self.drop(self.norm(self.body(x)))
            self.steps += self.training
            return self.head(x.view(len(x), -1) if self.steps == 2 else x.flatten(1))

    def loss(fast: bool) -> float:
        torch.manual_seed(0)
        training = Training(Late(), images.train, RECIPE, images.normalisation)
        if not fast:
            make_plain(training.network)
            training.is_fast = False
        assert training.is_fast is fast
        training.run()
        assert not training.is_fast
        return training.loss

    assert loss(True) == pytest.approx(loss(False), rel=1e-4)


def test_a_network_of_its_own_fault_is_broken_once(images) -> None:
    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(192, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise KeyError("mine")
            return self.head(x.flatten(1))

    training = Training(Wrong(), images.train, RECIPE, images.normalisation)
    with pytest.raises(KeyError, match="mine"):
        training.run()


def test_most_networks_are_fast_and_come_back(images) -> None:
    inputs = images.normalisation(images.train.images[:2])
    network = sequential(nn.GroupNorm(6, 6), nn.LayerNorm((6, 8, 8)), nn.ReLU())
    before = copy.deepcopy(network)
    assert try_fast(network, "float32", inputs)
    assert type(network[1]) is not nn.GroupNorm
    make_plain(network)
    for one, two in zip(network.modules(), before.modules(), strict=True):
        assert type(one) is type(two)
    for one, two in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, two) and one.stride() == two.stride()


@pytest.mark.parametrize("output", [(), {}, [3], None, "logits"])
def test_no_logits_is_said(output: object) -> None:
    with pytest.raises(BrokenArchitecture, match="expected logits"):
        logits_of(output)


SPACE = """
import torch
from torch import nn
class Odd(nn.Module):
    def __init__(self, width, shape, classes):
        super().__init__()
        self.body, self.head = nn.Conv2d(shape[0], width, 3), nn.LazyLinear(classes)
    def forward(self, x):
        x = self.body(x).relu()
        return self.head(x.view(len(x), -1))
def build(trial, shape, classes):
    return Odd(trial.suggest_int("width", 2, 4), shape, classes)
"""


@pytest.mark.parametrize("by", ["full", "params", "flops", "snip", "naswot", "az_nas"])
def test_a_space_of_lazy_networks_that_view(by: str, images, tmp_path) -> None:
    (tmp_path / "odd.py").write_text(SPACE)
    space = nasproxy.load_space(str(tmp_path / "odd.py"))
    recipe = QUICK if by == "full" else None
    more = {"max_params": 10_000, "max_flops": 1e6}
    study = nasproxy.rank(space, by, data=images, trials=3, jobs=1, recipe=recipe, **more)
    done = {t.params["width"]: t.value for t in scored(study)}
    assert len(done) == 3
    if by == "params":
        assert done == {w: w * 28 + (36 * w + 1) * CLASSES for w in (2, 3, 4)}
    if by == "flops":
        assert done == {w: w * 27 * 36 + 36 * w * CLASSES for w in (2, 3, 4)}
