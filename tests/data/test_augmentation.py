import pytest
import torch

from nasproxy import UserError
from nasproxy.data.augmentation import OPERATIONS, augment, draw, parse_strategy


def _draws(name: str, n: int = 6, seed: int = 0):
    return draw((name,), n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_its_images_one_by_one(name: str, channels: int) -> None:
    images = torch.randn(6, channels, 11, 16)
    draws = _draws(name)
    one_by_one = [augment(images[i : i + 1], draws[torch.tensor([i])]) for i in range(6)]
    assert torch.allclose(augment(images, draws), torch.cat(one_by_one), atol=1e-6)


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_flow(name: str) -> None:
    images = torch.randn(6, 3, 8, 8, requires_grad=True)
    augment(images, _draws(name)).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_a_shared_draw_is_the_same_for_both_sets() -> None:
    groups = parse_strategy("color_crop_cutout_flip_scale_rotate")
    draws = draw(groups, 3, torch.Generator().manual_seed(1))
    images = torch.randn(3, 3, 8, 8)
    twice = augment(images.repeat(2, 1, 1, 1), draws[torch.tensor([0, 1, 2, 0, 1, 2])])
    assert torch.equal(twice[:3], twice[3:])


def test_crop_moves_pixels_and_fills_with_zeros() -> None:
    images = torch.ones(50, 1, 16, 16)
    out = augment(images, _draws("crop", 50))
    shifts = {tuple(int(v) for v in (image[0].sum(0) > 0).nonzero()[[0, -1], 0]) for image in out}
    assert min(first for first, _ in shifts) == 0
    assert max(first for first, _ in shifts) == 2  # an eighth of 16
    assert set(out.unique().tolist()) == {0.0, 1.0}


def test_cutout_takes_half_a_side() -> None:
    out = augment(torch.ones(200, 1, 16, 16), _draws("cutout", 200))
    holes = (out == 0).sum((1, 2, 3))
    assert holes.max() == 64  # 8x8, whole
    assert holes.min() >= 16  # a quarter of it, centred on a corner


def test_flip_happens_half_the_time() -> None:
    images = torch.arange(4.0).view(1, 1, 1, 4).repeat(400, 1, 1, 1)
    flipped = (augment(images, _draws("flip", 400))[:, 0, 0, 0] == 3).float().mean()
    assert 0.4 < flipped < 0.6


def test_small_angles_leave_the_middle() -> None:
    images = torch.zeros(20, 1, 9, 9)
    images[:, :, 4, 4] = 1
    for name in ("rotate", "scale"):
        out = augment(images, _draws(name, 20))
        assert torch.allclose(out[:, 0, 4, 4], torch.ones(20), atol=1e-4)


def test_no_augmentation_and_no_flip() -> None:
    images = torch.randn(4, 1, 8, 8)
    assert augment(images, draw((), 4, torch.Generator())) is images
    assert parse_strategy("none") == ()
    assert parse_strategy("crop_flip", flip=False) == ("crop",)
    with pytest.raises(UserError, match="did you mean 'rotate'"):
        parse_strategy("crop_rotat")


def test_rotation_keeps_distances_in_images_that_are_not_square() -> None:
    """A dot 8 pixels off the centre stays about 8 pixels off, whichever way it lies."""
    for row, column in ((8, 24), (8, 8), (16, 16), (0, 16)):
        images = torch.zeros(40, 1, 17, 33)
        images[:, :, row, column] = 1
        out = augment(images, _draws("rotate", 40))[:, 0]
        weight = out.sum((1, 2))
        y = (out.sum(2) * torch.arange(17)).sum(1) / weight - 8
        x = (out.sum(1) * torch.arange(33)).sum(1) / weight - 16
        inside = weight > 0.9
        expected = ((row - 8) ** 2 + (column - 16) ** 2) ** 0.5
        distances = (x**2 + y**2).sqrt()[inside]
        assert inside.any()
        assert (distances - expected).abs().max() < 0.7
