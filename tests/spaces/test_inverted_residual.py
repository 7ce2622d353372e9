import pytest
import torch

from nasproxy import load_space
from search_spaces.inverted_residual import InvertedResidual


@pytest.mark.parametrize(
    ("side", "stages"), [(32, (16, 8, 4)), (64, (16, 8, 4)), (224, (14, 7, 4))]
)
def test_inverted_residuals_work_at_one_size_whatever_the_images(side: int, stages) -> None:
    space = load_space("inverted_residual:width=8")
    for drawn in space.sample(3, 0, (3, side, side), 5):
        network = space.build(drawn.choices, (3, side, side), 5)
        sides: list[int] = []
        for block in network:
            if isinstance(block, InvertedResidual):
                block.register_forward_hook(lambda _, __, y: sides.append(y.shape[-1]))
        network(torch.randn(2, 3, side, side))
        assert sides == [
            stages[stage] for stage in range(3) for _ in range(drawn.choices[f"depth{stage}"])
        ]


def test_an_inverted_residual_block_computes_what_its_paper_says() -> None:
    """Expansion, a filter a channel, a linear projection and the sum, one operation at a time."""
    torch.manual_seed(0)
    block = InvertedResidual(4, 4, kernel=5, expansion=3, stride=1).eval()
    x = torch.randn(2, 4, 8, 8)
    expand, depthwise, project = (m for m in block.layers if isinstance(m, torch.nn.Conv2d))
    assert [w.weight.numel() for w in (expand, depthwise, project)] == [4 * 12, 12 * 25, 12 * 4]
    scale = (1 + 1e-5) ** -0.5  # a fresh batch norm's, of running mean 0 and variance 1
    inner = (torch.einsum("nchw,oc->nohw", x, expand.weight[:, :, 0, 0]) * scale).relu()
    padded = torch.nn.functional.pad(inner, (2, 2, 2, 2))
    filtered = sum(
        depthwise.weight[:, 0, i, j].view(1, -1, 1, 1) * padded[:, :, i : i + 8, j : j + 8]
        for i in range(5)
        for j in range(5)
    )
    filtered = (filtered * scale).relu()
    projected = torch.einsum("nchw,oc->nohw", filtered, project.weight[:, :, 0, 0]) * scale
    assert torch.allclose(block(x), x + projected, atol=1e-5)
    for other in ({"out": 6, "stride": 1}, {"out": 4, "stride": 2}):
        block = InvertedResidual(4, kernel=3, expansion=1, **other)
        assert not block.has_shortcut
        assert len([m for m in block.layers if isinstance(m, torch.nn.Conv2d)]) == 2
