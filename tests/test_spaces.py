import csv
import dataclasses
import gzip
import hashlib
import pickle
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch

from nasproxy import BrokenArchitecture, UserError, copy_space, load_space
from nasproxy.estimators import proxy_recipe
from nasproxy.size import count_macs, count_params
from nasproxy.spaces import builtin_spaces
from search_spaces import nasbench201

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 16, 16), (3, 64, 64), (3, 224, 224)]


@pytest.mark.parametrize("name", builtin_spaces())
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_contract_of_a_space(name: str, shape: tuple[int, int, int]) -> None:
    """Random architectures build for any shape, give logits, and every parameter learns."""
    if shape[1] > 64 and name != "residual":
        pytest.skip("a space for smaller images")
    space = load_space(name)
    assert proxy_recipe(space).steps is None  # nothing that `epochs=` would be of no use beside
    for drawn in space.sample(4, seed=shape[1], input_shape=shape, num_classes=7):
        if drawn.error is not None:
            continue
        network = space.build(drawn.params, shape, 7)
        logits = network(torch.randn(3, *shape))
        assert logits.shape == (3, 7)
        logits.square().sum().backward()
        without = [n for n, p in network.named_parameters() if p.grad is None]
        if name == "nasbench201":  # cells have edges that lead nowhere
            operations = list(drawn.params.values())
            used = {f"edges.{i}." for i in nasbench201.used_edges(operations)}
            without = [n for n in without if any(edge in n for edge in used)]
        assert not without
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


TABLE = Path(__file__).parents[2] / "shared" / "data" / "nasbench201.csv.gz"
needs_table = pytest.mark.skipif(not TABLE.exists(), reason=f"{TABLE.name} is not there")


def _published() -> list[dict[str, str]]:
    with gzip.open(TABLE, "rt") as file:
        return list(csv.DictReader(file))


def _operations(arch: str) -> dict[str, str]:
    terms = re.findall(r"(\w+)~\d", arch)
    return {f"Op{i}": term for i, term in enumerate(terms)}


@needs_table
def test_nasbench201_strings_and_classes_are_the_published_ones() -> None:
    rows = _published()
    space = load_space("nasbench201")
    pairs = set()
    for row in rows:
        params = _operations(row["arch"])
        assert space.key(params) == row["arch"]
        pairs.add((row["iso_class"], space.canonical(params)))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 6466


@needs_table
def test_nasbench201_sizes_are_the_published_ones() -> None:
    space = load_space("nasbench201")
    for row in _published()[::70]:  # 224 cells
        with torch.device("meta"):
            network = space.build(_operations(row["arch"]), (3, 32, 32), 10)
        assert count_params(network) / 1e6 == pytest.approx(float(row["params_m"]), abs=5e-7)
        macs = count_macs(network, (3, 32, 32)) + 10  # the published count has the ten biases
        assert macs / 1e6 == pytest.approx(float(row["flops_m"]), abs=1e-9)


def test_a_nasbench201_cell_computes_its_graph() -> None:
    """Against a slow reference that adds up every path from the input to the output."""
    torch.manual_seed(0)
    names = ["nor_conv_3x3", "skip_connect", "avg_pool_3x3", "none", "nor_conv_1x1", "nor_conv_3x3"]
    cell = nasbench201.Cell(names, 4).eval()
    x = torch.randn(2, 4, 8, 8)
    one = cell.edges[0](x)
    two = x + torch.nn.functional.avg_pool2d(one, 3, 1, 1, count_include_pad=False)
    assert torch.allclose(cell(x), cell.edges[4](one) + cell.edges[5](two), atol=1e-6)
    assert torch.equal(nasbench201.Cell(["none"] * 6, 4)(x), torch.zeros_like(x))
    idle = ["nor_conv_3x3", "nor_conv_3x3", "nor_conv_3x3", "skip_connect", "nor_conv_1x1", "none"]
    assert nasbench201.used_edges(idle) == [0, 3, 4]
    cell = nasbench201.Cell(idle, 4)
    assert torch.allclose(cell.train()(x), x + cell.edges[4](cell.edges[0](x)), atol=1e-6)


def test_the_published_example_has_1_073_million_parameters() -> None:
    arch = (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
        "+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
    )
    network = load_space("nasbench201").build(_operations(arch), (3, 32, 32), 10)
    assert round(count_params(network) / 1e6, 3) == 1.073


def test_spaces_take_options() -> None:
    small = load_space("nasbench201:C=4,N=1")
    (drawn,) = small.sample(1, 0, (3, 32, 32), 10)
    assert len(small.build(drawn.params, (3, 32, 32), 10).cells) == 5
    assert pickle.loads(pickle.dumps(small)).options == {"C": 4, "N": 1}
    with pytest.raises(UserError, match="has no option 'M'"):
        load_space("nasbench201:M=1")


def test_budgets_turn_architectures_away() -> None:
    space = dataclasses.replace(load_space("convnet_small"), max_params=20_000)
    drawn = space.sample(10, 0, (1, 8, 8), 10)
    assert sum(a.error is None for a in drawn) == 10
    refused = [a.error for a in drawn if a.error]
    assert any("over budget: " in error for error in refused)
    for a in drawn:
        if a.error is None:
            assert count_params(space.build(a.params, (1, 8, 8), 10)) <= 20_000
    space = dataclasses.replace(space, max_params=None, max_macs=1e6)
    for a in space.sample(10, 0, (1, 8, 8), 10):
        if a.error is None:
            assert count_macs(space.build(a.params, (1, 8, 8), 10), (1, 8, 8)) <= 1e6


def test_a_space_without_a_valid_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.py"
    path.write_text(
        "def build(trial, input_shape, num_classes):\n"
        "    trial.suggest_float('x', 0, 1)\n"
        "    raise ValueError('never')\n"
    )
    with pytest.raises(UserError, match="no architecture can be built; the first: ValueError: ne"):
        load_space(str(path)).sample(3, 0, (1, 8, 8), 3)


def test_stepped_floats_stay_inside(tmp_path: Path) -> None:
    path = tmp_path / "steps.py"
    path.write_text(
        "from torch import nn\n"
        "def build(trial, input_shape, num_classes):\n"
        "    trial.suggest_float('x', 0.1, 0.3, step=0.1)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    space = load_space(str(path))
    found = list(space.enumerate((1, 8, 8), 3))
    assert len(found) == 3
    for a in found:
        space.build(a.params, (1, 8, 8), 3)


def test_spaces_travel_from_any_folder(tiny_space_file: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(Path(tiny_space_file).parent)
    packed = pickle.dumps(load_space("./tiny_space.py"))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(packed).sha256 == load_space(tiny_space_file).sha256


def test_the_digest_covers_what_a_space_imports_from_beside_it() -> None:
    small, path = load_space("convnet_small"), load_space("convnet_small").path
    assert small.sha256 != hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@pytest.mark.parametrize("shape", [(3, 30, 30), (1, 9, 17)], ids=str)
def test_nasbench201_takes_odd_sizes(shape: tuple[int, int, int]) -> None:
    params = dict.fromkeys((f"Op{i}" for i in range(6)), "nor_conv_3x3")
    network = load_space("nasbench201:C=4,N=1").build(params, shape, 5)
    assert network(torch.randn(2, *shape)).shape == (2, 5)
