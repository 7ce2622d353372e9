import pytest
import torch

from nasproxy import load_space
from nasproxy.spaces.size import count_flops, count_params
from search_spaces import nasbench201
from tests.spaces.published import needs_table, operations, published


@needs_table
def test_strings_and_classes_are_the_published_ones() -> None:
    rows = published()
    space = load_space("nasbench201")
    pairs = set()
    for row in rows:
        params = operations(row["arch"])
        assert space.key(params) == row["arch"]
        pairs.add((row["iso_class"], space.canonical(params)))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 6466


@needs_table
@pytest.mark.slow
def test_sizes_are_the_published_ones() -> None:
    space = load_space("nasbench201")
    for row in published()[::70]:  # 224 cells
        with torch.device("meta"):
            network = space.build(operations(row["arch"]), (3, 32, 32), 10)
        assert count_params(network) / 1e6 == pytest.approx(float(row["params_m"]), abs=5e-7)
        macs = count_flops(network, (3, 32, 32)) + 10  # the published count has the ten biases
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
    network = load_space("nasbench201").build(operations(arch), (3, 32, 32), 10)
    assert round(count_params(network) / 1e6, 3) == 1.073


@pytest.mark.parametrize("shape", [(3, 30, 30), (1, 9, 17)], ids=str)
def test_it_takes_odd_sizes(shape: tuple[int, int, int]) -> None:
    params = dict.fromkeys((f"Op{i}" for i in range(6)), "nor_conv_3x3")
    network = load_space("nasbench201:C=4,N=1").build(params, shape, 5)
    assert network(torch.randn(2, *shape)).shape == (2, 5)
