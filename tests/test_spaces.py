import pickle
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch

from nasproxy import BrokenArchitecture, UserError, copy_space, load_space
from nasproxy.spaces import builtin_spaces

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 16, 16), (3, 64, 64)]


@pytest.mark.parametrize("name", builtin_spaces())
@pytest.mark.parametrize("shape", SHAPES)
def test_the_contract_of_a_space(name: str, shape: tuple[int, int, int]) -> None:
    """Random architectures build for any shape, give logits, and every parameter learns."""
    space = load_space(name)
    for drawn in space.sample(4, seed=shape[1], input_shape=shape, num_classes=7):
        if drawn.error is not None:
            continue
        network = space.build(drawn.params, shape, 7)
        logits = network(torch.randn(3, *shape))
        assert logits.shape == (3, 7)
        logits.square().sum().backward()
        for parameter_name, parameter in network.named_parameters():
            assert parameter.grad is not None, parameter_name
        assert space.key(drawn.params) == drawn.key


@pytest.mark.parametrize("name", builtin_spaces())
def test_building_depends_on_torchs_seed_alone(name: str) -> None:
    space = load_space(name)
    (drawn, *_) = space.sample(1, 3, (3, 32, 32), 5)

    def weights() -> torch.Tensor:
        torch.manual_seed(1)
        network = space.build(drawn.params, (3, 32, 32), 5)
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


def test_drawing_is_uniform_without_repeats_and_a_prefix(tiny_space) -> None:
    drawn = tiny_space.sample(5, 0, (1, 8, 8), 3)
    assert tiny_space.sample(3, 0, (1, 8, 8), 3) == drawn[:3]
    assert len({a.key for a in drawn}) == len(drawn)
    assert len(tiny_space.sample(100, 0, (1, 8, 8), 3)) == 6  # all there are, one of them invalid
    first = [tiny_space.sample(1, seed, (1, 8, 8), 3)[0].key for seed in range(300)]
    counts = [first.count(key) for key in {a.key for a in drawn}]
    assert min(counts) > 25  # 50 expected


def test_spaces_load_by_file_by_module_and_travel(tiny_space_file: str, monkeypatch) -> None:
    by_file = load_space(tiny_space_file)
    monkeypatch.syspath_prepend(str(Path(tiny_space_file).parent.parent))
    by_module = load_space(f"{Path(tiny_space_file).parent.name}.tiny_space")
    assert by_file.sha256 == by_module.sha256
    assert by_file.summary == "Six linear networks, two of them broken in different ways."
    assert by_file.key({"width": 8, "kind": "plain"}) == "kind=plain width=8"
    again = pickle.loads(pickle.dumps(by_file))
    assert again.sha256 == by_file.sha256


def test_a_stored_trial_rebuilds_its_network(tiny_space) -> None:
    trial = optuna.create_study().ask()
    traced = tiny_space.trace(trial, (1, 8, 8), 3)
    assert traced.params == trial.params
    if traced.error is None:
        assert isinstance(tiny_space.build(traced.params, (1, 8, 8), 3), torch.nn.Module)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"width": 8}, "parameter kind is missing"),
        ({"width": 9, "kind": "plain"}, "width=9 is outside the space"),
        ({"width": "8", "kind": "plain"}, "width='8' is outside the space"),
        ({"width": 8, "kind": "plain", "depth": 3}, "no such parameter: depth"),
    ],
)
def test_parameters_outside_the_space_are_an_error(tiny_space, params, message) -> None:
    with pytest.raises(UserError, match=message):
        tiny_space.build(params, (1, 8, 8), 3)


def test_an_invalid_architecture_says_why(tiny_space) -> None:
    with pytest.raises(BrokenArchitecture, match="ValueError: too thin to be deep"):
        tiny_space.build({"width": 2, "kind": "deep"}, (1, 8, 8), 3)


CONDITIONAL = '''"""Numbers and conditions."""
from torch import nn


def build(trial, input_shape, num_classes):
    depth = trial.suggest_int("depth", 0, 2)
    for i in range(depth):
        trial.suggest_float(f"x{i}", 0.0, 1.0, step=0.5)
    if depth == 0:
        nn.Parameter(__import__("torch").zeros(1)).item()  # fails without real tensors
    trial.suggest_int("wide", 1, 4, log=True) if depth == 1 else None
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))
'''


def test_conditional_spaces_are_enumerated(tmp_path: Path) -> None:
    path = tmp_path / "conditional.py"
    path.write_text(CONDITIONAL)
    space = load_space(str(path))
    keys = {a.key for a in space.enumerate((1, 8, 8), 2)}
    assert len(keys) == 1 + 3 * 4 + 9
    assert {a.key for a in space.sample(22, 0, (1, 8, 8), 2)} == keys
    path.write_text(CONDITIONAL.replace(", step=0.5", ""))
    with pytest.raises(UserError, match="x0 is continuous"):
        list(load_space(str(path)).enumerate((1, 8, 8), 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def biuld(): pass", "has no function build"),
        ("import nothing_of_that_name", "fails to import: ModuleNotFoundError"),
        ("def build(:", "fails to import: SyntaxError"),
    ],
)
def test_broken_space_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "space.py").write_text(text)
    with pytest.raises(UserError, match=message):
        load_space(str(tmp_path / "space.py"))


@pytest.mark.parametrize(
    ("name", "message"),
    [("convnt", "did you mean 'convnet'"), ("./x.py", "no such search space file"), ("a.b", "unk")],
)
def test_unknown_spaces(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_space(name)


def test_a_copy_is_a_space_of_its_own(tmp_path: Path) -> None:
    copy_space("convnet", tmp_path / "mine.py")
    assert load_space(str(tmp_path / "mine.py")).sha256 == load_space("convnet").sha256
    with pytest.raises(UserError, match="is there already"):
        copy_space("convnet", tmp_path / "mine.py")


def test_spaces_do_without_nasproxy() -> None:
    code = (
        "import sys; sys.modules['nasproxy'] = None; import optuna; from search_spaces import *; "
        "from search_spaces import convnet, convnet_small"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
