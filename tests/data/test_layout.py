"""Folders as people have them: which are splits, which are classes, and what is refused."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nasproxy import UserError, load_dataset


def _fill(path: Path, folders: Mapping[str, int], seed: int = 0) -> Path:
    """A number of images of noise in each folder."""
    generator = np.random.default_rng(seed)
    for name, count in folders.items():
        (path / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (32, 32), np.uint8)
            Image.fromarray(pixels).save(path / name / f"{number}.png")
    return path


def _classes(split: str, count: int, names: str = "ab") -> dict[str, int]:
    return {f"{split}/{name}": count for name in names}


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", None, "test"),
        ("Training", None, "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("training", "validation", "eval"),
        ("Train", "Valid", "Test"),
        ("train", "val", None),
        ("seg_train/seg_train", None, "seg_test/seg_test"),
        ("training_set/training_set", None, "test_set/test_set"),
        ("trainImages", "valImages", "testImages"),
        ("data/train", "data/val", "data/test"),
        ("archive/images/train", None, "archive/images/test"),
        ("train", None, None),
        ("images/images", None, None),
    ],
)
def test_split_folders(tmp_path: Path, train: str, validation: str, test: str) -> None:
    _fill(tmp_path, _classes(train, 12))
    _fill(tmp_path / "__MACOSX" / "train", _classes("train", 3))
    if validation:
        _fill(tmp_path, _classes(validation, 7), 1)
    if test:
        _fill(tmp_path, _classes(test, 6), 2)
    data = load_dataset(str(tmp_path))
    assert data.class_names == ("a", "b")
    assert (len(data.validation) == 14) == bool(validation)
    assert (len(data.test) == 12) == bool(test)
    assert len(data.train) + len(data.validation) * (not validation) + len(data.test) * (
        not test
    ) == 24  # fmt: skip


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"train": 6, "test": 6}, "train: named like|test, train: named like"),
        ({"Training": 6, "Testing": 6}, "give --splits false"),
        ({"bus": 6, "train": 6}, "train: named like"),
        ({**_classes("val", 6), **_classes("test", 6)}, "expected 'train'"),
        ({"a": 6, "b": 6, **_classes("val", 6)}, "val: named like"),
        ({"train_images": 6, "test_images": 6}, "named like"),
        ({**_classes("Train", 6), **_classes("TRAIN", 6)}, "one folder of train images"),
        ({**_classes("train", 6), "bus": 6}, "split of the set or a class"),
        ({**_classes("train", 6), **_classes("val", 6, "ac")}, "has a class 'c'"),
    ],
)
def test_what_may_be_splits_or_classes_is_refused(
    tmp_path: Path, folders: dict[str, int], message: str
) -> None:
    _fill(tmp_path, folders)
    with pytest.raises(UserError, match=message):
        load_dataset(str(tmp_path))


def test_classes_may_be_named_like_splits_if_it_is_said(tmp_path: Path) -> None:
    _fill(tmp_path, {"bus": 6, "train": 6, "test tube": 6})
    assert load_dataset(str(tmp_path), splits=False).class_names == ("bus", "test tube", "train")


def test_names_that_only_contain_such_a_word_are_classes(tmp_path: Path) -> None:
    _fill(tmp_path, {"train_station": 6, "trainer": 6, "contest": 6, "Valley": 6})
    assert len(load_dataset(str(tmp_path)).class_names) == 4


def test_images_without_classes_are_left_out_with_a_word(tmp_path: Path, capsys) -> None:
    _fill(tmp_path, {**_classes("train", 10), "test": 5, "docs": 0})
    data = load_dataset(str(tmp_path))
    assert len(data.test) == 4
    assert "test: left out, it has no folder of images a class" in capsys.readouterr().err


def test_an_exact_name_comes_before_others(tmp_path: Path) -> None:
    _fill(tmp_path, {**_classes("train", 10), **_classes("test", 6), **_classes("eval", 8)})
    assert len(load_dataset(str(tmp_path)).test) == 12


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    _fill(tmp_path / "far", {"more/deep": 6, "c": 6}, 1)
    _fill(tmp_path / "set", {"a": 6, "b": 6})
    (tmp_path / "set" / "a" / "more").symlink_to(tmp_path / "far" / "more")
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "c").symlink_to(tmp_path / "far" / "c")
    data = load_dataset(str(tmp_path / "set"))
    parts = (data.train, data.validation, data.test)
    assert sum(len(part) for part in parts) == 24
    assert data.class_names == ("a", "b", "c")


def test_here_and_a_folder_named_like_a_set(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(_fill(tmp_path / "mnist" / "digits", {"a": 6, "b": 6}))
    assert len(load_dataset(".").train) == 8
    assert load_dataset(".").name == str(Path.cwd())
    monkeypatch.chdir(tmp_path / "mnist")
    assert not load_dataset("./digits").flip
    assert load_dataset("digits").input_shape == (1, 8, 8)
    assert "for the folder here, give ./digits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "flip"),
    [
        *(("mnist", False), ("MNIST_png", False), ("svhn-cropped", False)),
        ("emnist_letters", False),
        *(("fashion_mnist", True), ("Fashion-MNIST", True), ("pathmnist", True), ("cats", True)),
    ],
)  # fmt: skip
def test_a_name_says_whether_images_may_be_mirrored(tmp_path: Path, name: str, flip: bool) -> None:
    path = str(_fill(tmp_path / name, {"a": 6, "b": 6}))
    assert load_dataset(path).flip is flip
    assert load_dataset(path, flip=not flip).flip is not flip
