import numpy as np
import pytest
import torch

from nasproxy import from_arrays, load_dataset
from tests.conftest import make_arrays


def test_digits_are_split_by_class_and_for_good() -> None:
    first, second = load_dataset("digits"), load_dataset("digits")
    assert len(first.train) + len(first.validation) + len(first.test) == 1797
    assert first.digest == second.digest
    assert torch.equal(first.validation.images, second.validation.images)
    assert first.input_shape == (1, 8, 8)
    assert first.num_classes == 10
    assert not first.flip
    for part in (first.train, first.validation, first.test):
        shares = torch.bincount(part.labels) / len(part)
        assert (shares - 0.1).abs().max() < 0.01


def test_parts_do_not_overlap() -> None:
    images = np.arange(400, dtype=np.int64)
    pixels = np.stack([images // 256, images % 256], 1).astype(np.uint8)
    data = from_arrays(np.tile(pixels[:, :, None], (1, 2, 4)).reshape(-1, 4, 4), images % 4)
    seen = torch.cat([p.images.flatten(1) for p in (data.train, data.validation, data.test)])
    assert len(seen.unique(dim=0)) == 400


def test_statistics_are_those_of_the_training_pixels(data) -> None:
    pixels = data.train.images.double() / 255
    assert data.normalisation.mean[0] == pytest.approx(pixels.mean().item(), abs=1e-6)
    assert data.normalisation.std[0] == pytest.approx(pixels.std(correction=0).item(), abs=1e-6)
    normalised = data.normalisation(data.train.images)
    assert normalised.mean().item() == pytest.approx(0, abs=1e-4)
    assert torch.equal(data.normalisation.pixels(normalised), data.train.images)


def test_test_images_are_split_off_where_there_are_none() -> None:
    data = from_arrays(*make_arrays(600))
    assert len(data.test) == 120
    assert len(data.validation) == 120  # a quarter of the 480 that are left
