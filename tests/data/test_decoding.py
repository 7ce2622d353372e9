"""Image files of every depth and kind give the pixels that they show."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nasproxy import UserError, load_dataset

_EDGE = np.arange(32 * 32).reshape(32, 32) % 256  # every value there is


def _save(folder: Path, pixels: np.ndarray, ending: str, **options: object) -> None:
    """Two classes, each with the image and turned ones."""
    for number in range(12):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.roll(pixels, number, axis=0))
        image.save(folder / "ab"[number % 2] / f"{number}.{ending}", **options)


def _pixels(folder: Path, **options: object) -> torch.Tensor:
    """The image that each class has as it is: its first row begins as the edge's."""
    data = load_dataset(str(folder), **options)
    images = torch.cat([p.images[:] for p in (data.train, data.validation, data.test)])
    return next(image for image in images if (image[0, 0, :3] == torch.tensor([0, 1, 2])).all())


@pytest.mark.parametrize(
    ("pixels", "ending"),
    [
        (_EDGE.astype("u1"), "png"),
        (_EDGE.astype("u2"), "png"),  # 8 bits in 16
        ((_EDGE * 4).astype("u2"), "png"),
        ((_EDGE * 16).astype("u2"), "png"),  # 12 bits in 16
        ((_EDGE * 16).astype("u2"), "tif"),
        ((_EDGE * 64).astype("u2"), "png"),
        ((_EDGE * 257).astype("u2"), "png"),
        (_EDGE.astype("i4"), "tif"),
        ((_EDGE * 257).astype("i4"), "tif"),
        ((_EDGE * 10 - 1000).astype("i4"), "tif"),  # as CT's
        ((_EDGE * 10**6).astype("i4"), "tif"),
        ((_EDGE / 255).astype("f4"), "tif"),
        (_EDGE.astype("f4"), "tif"),
        ((_EDGE / 255 * 2 - 1).astype("f4"), "tif"),
        ((_EDGE * 1000).astype("f4"), "tif"),
    ],
)
def test_depths_are_scaled(tmp_path: Path, pixels: np.ndarray, ending: str) -> None:
    _save(tmp_path, pixels, ending)
    found = _pixels(tmp_path)
    assert found.shape == (1, 32, 32)
    assert torch.equal(found[0].long(), torch.from_numpy(_EDGE))


def test_one_scale_for_all_images(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        image = Image.fromarray(np.full((32, 32), (number + 1) * 300, np.uint16))
        image.save(tmp_path / "ab"[number % 2] / f"{number}.png")
    data = load_dataset(str(tmp_path))
    found = {int(i.max()) for p in (data.train, data.validation, data.test) for i in p.images}
    assert found == {(n + 1) * 300 >> 4 for n in range(12)}


def _rgba(alpha: np.ndarray, colour: int = 0) -> np.ndarray:
    return np.dstack([np.full((32, 32, 3), colour, np.uint8), alpha.astype(np.uint8)])


def test_what_is_transparent_is_on_white(tmp_path: Path) -> None:
    _save(tmp_path / "rgba", _rgba(255 - _EDGE), "png")
    _save(tmp_path / "webp", _rgba(255 - _EDGE), "webp", lossless=True)
    found = _pixels(tmp_path / "rgba")
    assert torch.equal(found, torch.from_numpy(_EDGE).expand(3, 32, 32).byte())
    assert _pixels(tmp_path / "webp").shape == (3, 32, 32)
    _save(tmp_path / "la", _rgba(255 - _EDGE)[:, :, 2:], "png")
    assert torch.equal(_pixels(tmp_path / "la")[0], found[0])
    _save(tmp_path / "l", _EDGE.astype("u1"), "png", transparency=9)
    keyed = np.where(_EDGE == 9, 255, _EDGE)
    assert torch.equal(_pixels(tmp_path / "l")[0].long(), torch.from_numpy(keyed))


def test_palettes_and_inks(tmp_path: Path) -> None:
    for kind in ("palette", "clear", "cmyk", "lab"):
        for number in range(12):
            (tmp_path / kind / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
            grey = Image.fromarray(np.roll(_EDGE, number, axis=0).astype("u1"))
            path, more = tmp_path / kind / "ab"[number % 2] / f"{number}.png", {}
            if kind in ("palette", "clear"):
                grey.putpalette([v for value in range(256) for v in (value, value, value)])
                more = {"transparency": bytes([255] * 9 + [0] + [255] * 246)}
                grey.save(path, **(more if kind == "clear" else {}))
            elif kind == "cmyk":
                grey.convert("RGB").convert("CMYK").save(path.with_suffix(".tif"))
            else:
                black = np.zeros((32, 32, 2), np.uint8)
                lab = Image.fromarray(np.dstack([np.asarray(grey), black]), "LAB")
                lab.save(path.with_suffix(".tif"))
    edge = torch.from_numpy(_EDGE)
    assert torch.equal(_pixels(tmp_path / "palette")[1].long(), edge)
    assert torch.equal(_pixels(tmp_path / "clear")[1].long(), edge.where(edge != 9, 255))
    assert torch.equal(_pixels(tmp_path / "cmyk")[2].long(), edge)
    assert load_dataset(str(tmp_path / "lab")).train.images.float().std() > 20


@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (3, 2), (6, 3), (8, 1)])
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_images_are_upright(tmp_path: Path, orientation: int, turned: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = np.zeros((32, 32), np.uint8)
    shown[:16, :16] = 240  # the upper left corner of what is shown
    stored = np.rot90(shown, -turned)
    for number in range(12):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        image = Image.fromarray(np.ascontiguousarray(stored) + np.uint8(number))
        image.save(tmp_path / "ab"[number % 2] / f"{number}.{ending}", exif=exif)
    images = load_dataset(str(tmp_path)).train.images[:, 0].float()
    assert images[:, :14, :14].min() > 200 > 60 > images[:, 18:, :].max()
    assert images[:, :14, 18:].max() < 60


def _sized(folder: Path, sides: list[int]) -> None:
    generator = np.random.default_rng(0)
    for number, side in enumerate(sides):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (side, side), np.uint8)
        Image.fromarray(pixels).save(folder / "ab"[number % 2] / f"{number:02}.png")


@pytest.mark.parametrize(
    ("sides", "side"),
    [([200] + [48] * 11, 48), ([32] + [96] * 11, 96), ([60] + [50] * 5 + [70] * 6, 60)],
)
def test_one_odd_file_does_not_set_the_size(tmp_path: Path, sides: list[int], side: int) -> None:
    _sized(tmp_path, sides)
    assert load_dataset(str(tmp_path)).input_shape == (1, side, side)
    assert load_dataset(str(tmp_path), image_size=24).input_shape == (1, 24, 24)


def test_a_set_of_one_image_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(6):
            Image.new("RGB", (32, 32), "red").save(tmp_path / name / f"{number}.png")
    with pytest.raises(UserError, match="all training images are alike"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    _save(tmp_path, np.where(_EDGE == 7, value, _EDGE).astype("f4"), "tif")
    with pytest.raises(UserError, match=r"not a readable image.*finite pixels"):
        load_dataset(str(tmp_path))


def test_a_folder_where_nothing_can_be_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("nasproxy.data.on_disk._IN_MEMORY", 0)
    monkeypatch.setattr("nasproxy.data.folders._can_write", lambda folder: False)
    monkeypatch.setattr("nasproxy.data.folders.DEFAULT_ROOT", str(tmp_path / "kept"))
    _save(tmp_path / "set", _EDGE.astype("u1"), "png")
    assert _pixels(tmp_path / "set").shape == (1, 32, 32)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".npy"] == []


def test_encoded_images_in_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import json

    import pyarrow.parquet as pq

    def table(count: int, seed: int, names: bool) -> "pa.Table":
        rows = []
        for number in range(count):
            out, generator = io.BytesIO(), np.random.default_rng(seed + number)
            Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)).save(out, "PNG")
            rows.append({"bytes": out.getvalue(), "path": None})
        label = pa.array(
            ["ab"[n % 2] for n in range(count)] if names else [n % 2 for n in range(count)]
        )
        made = pa.table({"img": pa.array(rows), "label": label})
        info = {
            "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
            "img": {"_type": "Image"},
        }
        about = json.dumps({"info": {"features": info}})
        return made if names else made.replace_schema_metadata({"huggingface": about})

    for folder, names in (("hub/data", False), ("plain", True)):
        (tmp_path / folder).mkdir(parents=True)
        for part, count in (
            *(("train-00000-of-00002", 10), ("train-00001-of-00002", 10)),
            *(("validation-00000-of-00001", 6), ("test-00000-of-00001", 8)),
        ):
            pq.write_table(
                table(count, len(part) * 100, names), tmp_path / folder / f"{part}.parquet"
            )
    for name, classes in (("hub", ("cat", "dog")), ("plain", ("a", "b"))):
        data = load_dataset(str(tmp_path / name))
        assert (len(data.train), len(data.validation), len(data.test)) == (20, 6, 8)
        assert data.class_names == classes and data.input_shape == (3, 32, 32)
        assert load_dataset(str(tmp_path / name), image_size=16).input_shape == (3, 16, 16)
    alone = load_dataset(str(tmp_path / "hub/data/train-00000-of-00002.parquet"))
    assert len(alone.train) + len(alone.validation) + len(alone.test) == 10
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        load_dataset(str(tmp_path / "bad.parquet"))
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="one column of encoded images"):
        load_dataset(str(tmp_path / "other.parquet"))


def test_the_first_thing_that_a_process_does_may_be_to_open_a_picture(tmp_path: Path) -> None:
    """Pillow knows of no format before it is asked to look for them."""
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    code = (
        "import sys; from pathlib import Path; from nasproxy.data.decoding import opened\n"
        "with opened(Path(sys.argv[1])) as image: print(image.size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.png"], capture_output=True, text=True
    )
    assert done.stdout == "(4, 3)\n", done.stderr
