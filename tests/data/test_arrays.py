from pathlib import Path

import numpy as np
import pytest
import torch

from nasproxy import UserError, from_arrays, load_dataset
from tests.conftest import make_arrays


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.full((30, 8, 8), -0.5, np.float32)}, "got -0.5 to -0.5; if they were norm"),
        ({"x_train": np.full((30, 8, 8), 256.0)}, "expected pixels from 0 to 255"),
        ({"x_train": np.full((30, 8, 8), np.nan)}, "got nan to nan"),
        ({}, "all training images are alike"),
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


def test_truncated_npz(tmp_path: Path, npz: str) -> None:
    whole = Path(npz).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a readable"):
        load_dataset(str(tmp_path / "half.npz"))


_X, _Y = make_arrays(60)
_XV, _YV = make_arrays(30, seed=1)
_XT, _YT = make_arrays(24, seed=2)
_PARTS = (_X, _Y, _XV, _YV, _XT, _YT)


@pytest.mark.parametrize(
    "keys",
    [
        "x_train y_train x_val y_val x_test y_test",
        "train_images train_labels val_images val_labels test_images test_labels",  # medmnist
        "X_train Y_train X_valid Y_valid X_test Y_test",
        "trainX trainY valX valY testX testY",
        "train_set_x train_set_y val_set_x val_set_y test_set_x test_set_y",
        "data labels val_data val_labels test_data test_labels",
        "X y X_val y_val X_test y_test",
        "training_images training_labels validation_img validation_label imgs_test labels_test",
    ],
)  # fmt: skip
def test_arrays_by_other_names(tmp_path: Path, keys: str) -> None:
    wanted = from_arrays(_X, _Y, _XT, _YT, x_val=_XV, y_val=_YV)
    assert (len(wanted.train), len(wanted.validation), len(wanted.test)) == (60, 30, 24)
    arrays = dict(zip(keys.split(), _PARTS, strict=True))
    np.savez(tmp_path / "set.NPZ", **arrays)
    (tmp_path / "set.NPZ.npz").rename(tmp_path / "set.NPZ")
    torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, tmp_path / "set.pt")
    (tmp_path / "npy").mkdir()
    for key, array in arrays.items():
        np.save(tmp_path / "npy" / f"{key}.npy", array)
    for name in ("set.NPZ", "set.pt", "npy"):
        assert load_dataset(str(tmp_path / name)).digest == wanted.digest


def test_validation_images_are_part_of_the_identity() -> None:
    as_test, as_validation = (
        from_arrays(_X, _Y, _XV, _YV),
        from_arrays(_X, _Y, x_val=_XV, y_val=_YV),
    )
    assert len({as_test.digest, as_validation.digest, from_arrays(_X, _Y).digest}) == 3
    assert torch.equal(as_validation.validation.labels, torch.from_numpy(_YV))


@pytest.mark.parametrize(
    ("arrays", "test"),
    [
        ((_X, _Y), 12),
        ((_Y, _X), 12),
        ((_X, _Y, _XT, _YT), 24),
        ((_X, _XT, _Y, _YT), 24),  # as train_test_split gives them
    ],
)
def test_arrays_without_names(tmp_path: Path, arrays: tuple, test: int) -> None:
    np.savez(tmp_path / "set.npz", *arrays)
    torch.save([torch.from_numpy(array) for array in arrays], tmp_path / "set.pt")
    data = load_dataset(str(tmp_path / "set.npz"))
    assert len(data.test) == test
    assert load_dataset(str(tmp_path / "set.pt")).digest == data.digest


_COLOUR = make_arrays(60, (8, 8, 3))[0]


@pytest.mark.parametrize(
    ("images", "same"),
    [
        (_X / 255, _X),
        ((_X / 255).astype(np.float32), _X),
        ((_X / 255).astype(np.float16), None),
        (_X.astype(np.float32), _X),
        (_X.astype(np.int64), _X),
        (_X.astype(">i2"), _X),
        (_X.astype(np.uint16) * 257, _X),
        (_X.astype(np.uint16) * 16, _X),
        (_X > 128, (_X > 128).astype(np.uint8) * 255),
        (_COLOUR.transpose(0, 3, 1, 2), _COLOUR),
        (_COLOUR.transpose(0, 3, 1, 2) / 255, _COLOUR),
        (_X[:, None], _X),
    ],
)
def test_pixels_of_any_type(images: np.ndarray, same: np.ndarray | None) -> None:
    data = from_arrays(images, _Y)
    assert data.train.images.dtype == torch.uint8
    if same is not None:
        assert data.digest == from_arrays(same, _Y).digest
    assert from_arrays(images, _Y, images, _Y, x_val=images, y_val=_Y).train.images.max() == 255


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (_Y[:, None], ("0", "1", "2")),
        (np.eye(3)[_Y], ("0", "1", "2")),
        (np.array(["ant", "bee", "cow"])[_Y], ("ant", "bee", "cow")),
    ],
)
def test_labels_of_any_kind(labels: np.ndarray, names: tuple[str, ...]) -> None:
    data = from_arrays(_X, labels)
    assert data.class_names == names
    assert data.digest == from_arrays(_X, _Y).digest


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": _X, "data": _X, "labels": _Y}, "one x_train too many"),
        ({"X": _X, "y": _Y, "x_val": _XV}, "both x_val and y_val"),
        ({"train_images": _X, "train_labels": np.eye(4)[_Y] + np.eye(4)[0]}, "60 integer train"),
        ({"a": _X, "b": _Y}, "got a, b"),
    ],
)
def test_arrays_that_mean_nothing_are_refused(tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(UserError, match=message):
        load_dataset(str(tmp_path / "set.npz"))


def test_a_file_of_tensors_holds_no_code(tmp_path: Path) -> None:
    torch.save({"x_train": torch.from_numpy(_X), "y": print}, tmp_path / "set.pt")
    with pytest.raises(UserError, match="not a readable file of plain tensors"):
        load_dataset(str(tmp_path / "set.pt"))


def test_images_in_training_and_validation_are_told(capsys) -> None:
    from_arrays(_X, _Y, _XT, _YT, x_val=np.r_[_XV, _X[:3]], y_val=np.r_[_YV, _Y[:3]])
    assert "3 of 33 validation images are training images" in capsys.readouterr().err
