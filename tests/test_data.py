import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nasproxy import UserError, from_arrays, load_dataset

from .conftest import make_arrays


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


def test_npz_and_arrays_agree(npz: str, data) -> None:
    loaded = load_dataset(npz)
    assert loaded.digest == data.digest
    assert len(loaded.test) == 90


def test_test_images_are_split_off_where_there_are_none() -> None:
    data = from_arrays(*make_arrays(600))
    assert len(data.test) == 120
    assert len(data.validation) == 120  # a quarter of the 480 that are left


def test_folder_of_images(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(12):
            image = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / name / f"{number}.png")
    data = load_dataset(str(tmp_path))
    assert data.class_names == ("cat", "dog")
    assert data.input_shape == (3, 40, 40)
    deep = (np.arange(40 * 40, dtype=np.uint16) * 40).reshape(40, 40)
    for name in ("cat", "dog"):
        (tmp_path / "deep" / name).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(deep).save(tmp_path / "deep" / name / f"{number}.png")
    grey = load_dataset(str(tmp_path / "deep"))
    assert grey.input_shape == (1, 40, 40)
    assert torch.equal(grey.test.images[0, 0], torch.from_numpy((deep >> 8).astype(np.uint8)))
    shutil.rmtree(tmp_path / "deep")
    smaller = load_dataset(str(tmp_path), image_size=16)
    assert smaller.input_shape == (3, 16, 16)
    (tmp_path / "dog" / "3.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"dog/3.png: not a readable image"):
        load_dataset(str(tmp_path))


def _idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    with gzip.open(path, "wb") as file:
        file.write(header + array.tobytes())


def test_torchvision_files_that_are_there_are_read(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for stem, n in (("train", 100), ("t10k", 40)):
        images = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
        for name, array in (
            (f"{stem}-images-idx3-ubyte", images),
            (f"{stem}-labels-idx1-ubyte", np.arange(n, dtype=np.uint8) % 10),
        ):
            _idx(raw / f"{name}.gz", array)
            (raw / name).write_bytes(gzip.decompress((raw / f"{name}.gz").read_bytes()))
    data = load_dataset("fashion_mnist", root=str(tmp_path))
    assert data.input_shape == (1, 28, 28)
    assert len(data.test) == 40
    assert data.class_names[0] == "T-shirt/top"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((30, 8, 8), np.float32)}, "expected uint8 train images"),
        ({"x_train": np.zeros((30, 8, 8, 2), np.uint8)}, "1 or 3 channels"),
        ({"x_train": np.zeros((30, 2, 8), np.uint8)}, "4x4 pixels or more"),
        ({"y_train": np.zeros(29, np.int64)}, "expected 30 integer train labels"),
        ({"y_train": np.zeros(30)}, "expected 30 integer train labels"),
        ({"y_train": np.zeros(30, np.int64)}, "two classes or more"),
        ({"y_train": np.arange(30) - 1}, "expected labels from 0"),
        ({"y_train": np.r_[np.zeros(28, int), 1, 1]}, "class '1' has 2 training images"),
        ({"x_test": np.zeros((6, 9, 9), np.uint8), "y_test": np.zeros(6, int)}, "make them alike"),
        ({"x_test": np.zeros((6, 8, 8), np.uint8)}, "both x_test and y_test"),
        ({"x_train": np.zeros((0, 8, 8), np.uint8), "y_train": np.zeros(0, int)}, "got none"),
        ({"x_train": np.array([None] * 30)}, "not a readable .npz of plain arrays"),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    good = {"x_train": np.zeros((30, 8, 8), np.uint8), "y_train": np.arange(30) % 3}
    np.savez(tmp_path / "set.npz", **{**good, **change})
    with pytest.raises(UserError, match=message):
        load_dataset(str(tmp_path / "set.npz"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("./nowhere/", "no such folder"),
        ("missing.npz", "no such file"),
    ],
)
def test_unknown_data_is_named(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_dataset(name)


def test_truncated_npz(tmp_path: Path, npz: str) -> None:
    whole = Path(npz).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a readable"):
        load_dataset(str(tmp_path / "half.npz"))


def test_a_known_set_without_class_names_has_its_own(tmp_path: Path) -> None:
    x, y = make_arrays(60, (32, 32, 3), classes=10)
    np.savez(tmp_path / "cifar10.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    known = load_dataset("cifar10", str(tmp_path)).class_names
    assert (known[0], known[9]) == ("airplane", "truck")
    np.savez(
        tmp_path / "cifar10.npz", x_train=x, y_train=y, class_names=[f"mine {i}" for i in range(10)]
    )
    assert load_dataset("cifar10", str(tmp_path)).class_names[0] == "mine 0"
