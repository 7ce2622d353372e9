import importlib
from pathlib import Path

import pytest
import torch

import nasproxy
from nasproxy import ProxySet, UserError, condense
from nasproxy.data.augmentation import augment, draw, parse_strategy
from nasproxy.proxies.methods import METHODS
from nasproxy.system.machine import PIXELS_AT_ONCE
from nasproxy.training.convnet import ConvNet, default_depth

SMALL = {"ipc": 3, "steps": 3, "real_batch": 8, "width": 4}


def _reference(data, ipc, steps, real_batch, width, lr, momentum, seed) -> torch.Tensor:
    """The paper's procedure, class by class and image by image, with SGD written out."""
    images = condense(data, "random", ipc=ipc, seed=seed).images.clone()
    velocity = torch.zeros_like(images)
    groups = parse_strategy("color_crop_cutout_flip_scale_rotate", data.flip)
    for step in range(steps):
        torch.manual_seed(seed * 1_000_003 + step)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        network = ConvNet(data.input_shape, data.num_classes, width)
        draws = draw(groups, data.num_classes, generator)
        images.requires_grad_()
        loss = torch.zeros(())
        for c in range(data.num_classes):
            this = draws[torch.tensor([c])]
            members = (data.train.labels == c).nonzero()[:, 0]
            chosen = members[torch.randperm(len(members), generator=generator)[:real_batch]]

            def mean(batch, this=this, network=network):
                return torch.stack(
                    [network.embed(augment(image[None], this))[0] for image in batch]
                ).mean(0)

            real = mean(data.normalisation(data.train.images[chosen]))
            loss = loss + (real - mean(images[c * ipc : (c + 1) * ipc])).square().sum()
        (gradient,) = torch.autograd.grad(loss, images)
        velocity = momentum * velocity + gradient
        images = (images - lr * velocity).detach()
    return images


@pytest.mark.parametrize("pixels_at_once", [1, 2**10, 2**20])
def test_dm_is_the_slow_reference(data, monkeypatch, pixels_at_once: int) -> None:
    monkeypatch.setitem(PIXELS_AT_ONCE, "cpu", pixels_at_once)
    made = condense(data, "dm", **SMALL, image_lr=0.1, momentum=0.5, seed=7, precision="float32")
    expected = _reference(data, **SMALL, lr=0.1, momentum=0.5, seed=7)
    assert torch.allclose(made.images, expected, atol=1e-4)
    assert not torch.allclose(made.images, condense(data, "random", ipc=3, seed=7).images)


def test_dm_brings_features_closer(data) -> None:
    """What it minimises goes down on networks that it has not seen."""

    def distance(proxy: ProxySet) -> float:
        total = 0.0
        for seed in range(5):
            torch.manual_seed(10_000 + seed)
            network = ConvNet(data.input_shape, 3, 16).requires_grad_(False)
            for c in range(3):
                real = data.normalisation(data.train.images[data.train.labels == c])
                gap = network.embed(real).mean(0) - network.embed(
                    proxy.images[proxy.labels == c]
                ).mean(0)
                total += gap.square().sum().item()
        return total

    options = {"ipc": 3, "real_batch": 32, "width": 16, "augment": "none"}
    assert distance(condense(data, "dm", steps=60, **options)) < 0.5 * distance(
        condense(data, "random", ipc=3)
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_contract(data, method: str, tmp_path: Path) -> None:
    options = {"ipc": 2, "seed": 5} | ({} if method in ("random", "dm-space") else {"width": 4})
    options |= {"steps": 2} if method.startswith("dm") else {}
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    made = condense(data, method, **options)
    assert torch.equal(torch.random.get_rng_state(), before)  # no draw from the user's generator
    assert made.images.shape == (6, 1, 8, 8)
    assert made.labels.tolist() == [0, 0, 1, 1, 2, 2]
    made.save(tmp_path / "a.safetensors")
    torch.manual_seed(321)
    again = condense(data, method, **options)
    again.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    other = condense(data, method, **{**options, "seed": 6})
    assert other.digest != made.digest


def test_the_paper_recipe_is_the_papers() -> None:
    options = METHODS["dm-paper"].options(ipc=10)
    assert (options.steps, options.real_batch, options.width) == (20_000, 256, 128)
    assert (options.learning_rate((3, 32, 32)), options.momentum) == (1.0, 0.5)
    assert METHODS["dm-paper"].options(ipc=51).learning_rate((3, 32, 32)) == 10.0
    assert [default_depth((3, side, side)) for side in (8, 28, 32, 64)] == [1, 3, 3, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "dmm"}, "did you mean 'dm'"),
        ({"ipc": 0}, "expected ipc of 1 or more, got 0"),
        ({"method": "random", "ipc": 0}, "expected ipc of 1 or more, got 0"),
        ({"ipc": 1000}, "class '0' has 75 training images, ipc=1000"),
        ({"steps": -1}, "expected steps of 1 or more"),
        ({"image_lr": 0.0}, "expected image_lr above 0"),
        ({"momentum": 1.0}, "expected momentum in"),
        ({"depth": 0}, "expected depth of 1 or more"),
        ({"depth": 9}, "8x8 pixels cannot be pooled 9 times"),
        ({"augment": "shake"}, "unknown augmentation"),
        ({"method": "random", "steps": 3}, "method 'random' has no option 'steps'"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not available"),
        ({"device": "nonsense"}, "device 'nonsense' is not available"),
    ],
)
def test_bad_options_are_refused(data, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        condense(data, **options)


def test_small_classes_are_drawn_from_with_replacement() -> None:
    from tests.conftest import make_arrays

    few = nasproxy.from_arrays(*make_arrays(45))
    assert condense(few, "dm", ipc=1, steps=1, real_batch=64, width=4).images.shape[0] == 3


def test_herding_is_the_slow_greedy_choice(data) -> None:
    module = importlib.import_module("nasproxy.proxies.coreset")
    features = torch.randn(20, 5)
    chosen: list[int] = []
    for _ in range(6):
        left = [i for i in range(20) if i not in chosen]
        gaps = [(features[[*chosen, i]].mean(0) - features.mean(0)).norm().item() for i in left]
        chosen.append(left[gaps.index(min(gaps))])
    assert module._herd(features, 6).tolist() == chosen


def test_k_center_is_the_slow_greedy_choice(data) -> None:
    module = importlib.import_module("nasproxy.proxies.coreset")
    features = torch.randn(20, 5)
    to_mean = (features - features.mean(0)).norm(dim=1)
    chosen = [int(to_mean.argmin())]
    for _ in range(5):
        gaps = [min((features[i] - features[j]).norm() for j in chosen) for i in range(20)]
        chosen.append(gaps.index(max(gaps)))
    assert module._cover(features, 6).tolist() == chosen


def test_coresets_are_real_images(data) -> None:
    for method in ("herding", "k-center"):
        made = condense(data, method, ipc=3, width=4, epochs=1)
        real = data.normalisation(data.train.images).flatten(1)
        for image in made.images.flatten(1):
            assert (real == image).all(1).any()


BATCH_NORM_SPACE = '''"""A network with batch norm and dropout, or one of a single line."""
from torch import nn


def build(trial, input_shape, num_classes):
    if trial.suggest_categorical("kind", ["normed", "line"]) == "line":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes),
    )
'''


def test_a_set_is_matched_on_the_networks_of_a_space(data, tmp_path: Path) -> None:
    """The gap of class means goes down on networks of the space that it has not seen."""
    from nasproxy.proxies.dm_space import _LastMap

    path = tmp_path / "normed.py"
    path.write_text(BATCH_NORM_SPACE)
    space = nasproxy.load_space(str(path))
    options = {"ipc": 4, "seed": 1, "real_batch": 32, "augment": "none", "precision": "float32"}
    made = condense(data, "dm-space", space=str(path), steps=60, **options)
    start = condense(data, "random", ipc=4, seed=1)
    real = data.normalisation(data.train.images)

    def gap(proxy: ProxySet, kind: str) -> float:
        total = 0.0
        for seed in range(5):
            torch.manual_seed(10_000 + seed)
            embed = _LastMap(space.build({"kind": kind}, data.input_shape, 3))
            assert embed.together == (kind == "normed")
            with torch.no_grad():
                of_real, of_proxy = embed(real, True), embed(proxy.images, False)
            for c in range(3):
                there, here = of_real[data.train.labels == c], of_proxy[proxy.labels == c]
                total += (there.mean(0) - here.mean(0)).square().sum().item()
        return total

    assert gap(made, "normed") < 0.8 * gap(start, "normed")
    assert gap(made, "line") < 0.8 * gap(start, "line")
    assert made.metadata["options"]["space"] == str(path)


def test_the_last_map_is_what_the_classifier_sees() -> None:
    from nasproxy.proxies.dm_space import _LastMap

    cells = nasproxy.load_space("nasbench201:C=4,N=1")
    operations = {f"Op{i}": "nor_conv_3x3" for i in range(6)}
    embed = _LastMap(cells.build(operations, (3, 16, 16), 10))
    images = torch.randn(12, 3, 16, 16)
    features = embed(images, True)
    assert features.shape == (12, 16, 4, 4)
    # the statistics are the real images' own: seen again, they are embedded alike
    assert torch.allclose(embed(images, False), features, atol=0.1)
    single = embed(images[:1], False)
    assert torch.allclose(single, embed(images, False)[:1], atol=1e-5)


def test_a_cell_that_looks_at_nothing_moves_nothing(data, tmp_path: Path) -> None:
    path = tmp_path / "blind.py"
    path.write_text(
        '"""Blind."""\nfrom torch import nn\n\n\nclass Blind(nn.Linear):\n'
        "    def forward(self, x):\n        return super().forward(x.detach().flatten(1) * 0)\n\n\n"
        "def build(trial, input_shape, num_classes):\n"
        '    trial.suggest_categorical("width", [1])\n    return Blind(64, num_classes)\n'
    )
    made = condense(data, "dm-space", space=str(path), ipc=2, steps=3)
    assert torch.equal(made.images, condense(data, "random", ipc=2).images)


FAULTY_SPACE = '''"""Networks of which one in two does not run."""
from torch import nn


def build(trial, input_shape, num_classes):
    width = trial.suggest_categorical("width", list(range(1, 21)))
    good = trial.suggest_categorical("good", [CHOICES])
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width + (not good), 3))
'''


def test_networks_that_do_not_run_are_left_out(data, tmp_path: Path) -> None:
    path = tmp_path / "faulty.py"
    path.write_text(FAULTY_SPACE.replace("CHOICES", "True, False"))
    made = condense(data, "dm-space", space=str(path), ipc=2, steps=6)
    assert not torch.equal(made.images, condense(data, "random", ipc=2).images)
    path.write_text(FAULTY_SPACE.replace("CHOICES", "False"))
    with pytest.raises(UserError, match=r"no network of the space runs; the last: .*shapes"):
        condense(data, "dm-space", space=str(path), ipc=2, steps=6)


def test_a_set_is_not_matched_on_the_networks_that_are_ranked(data, monkeypatch) -> None:
    space = nasproxy.load_space("nasbench201:C=4,N=1")
    ranked = {a.key for a in space.sample(40, 3, data.input_shape, 3)}
    seen: list[str] = []

    def refuse(self, params, *shape):
        seen.append(self.key(params))
        raise ValueError("seen")

    monkeypatch.setattr(type(space), "build", refuse)
    with pytest.raises(UserError, match=r"no network of the space runs; the last: .*seen"):
        condense(data, "dm-space", space="nasbench201:C=4,N=1", seed=3, steps=40)
    assert len(seen) == 40
    assert len(ranked & set(seen)) < 4  # of 15,625


def test_the_code_of_the_space_is_part_of_the_set(data, tmp_path: Path) -> None:
    path = tmp_path / "normed.py"
    path.write_text(BATCH_NORM_SPACE)
    made = condense(data, "dm-space", space=str(path), ipc=1, steps=1)
    assert made.metadata["space_code"] == nasproxy.load_space(str(path)).code_sha256
