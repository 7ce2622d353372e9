"""Pictures are read, resized and normalised for a network as they were in its training."""

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import nasproxy
from nasproxy import UserError
from nasproxy.training.predicting import written

BEFORE = Path(__file__).parent.parent / "before"


def _trained(folder: Path, space: nasproxy.Space, data: nasproxy.Dataset, **more: Any) -> Path:
    """As `keep_winner` does, of random weights."""
    shape, path = more.pop("shape", data.input_shape), folder / "n.safetensors"
    about = {
        "mean": list(data.normalisation.mean), "std": list(data.normalisation.std),
        "class_names": list(data.class_names), "image_shape": list(data.input_shape),
        "levels": written(data.levels), **more,
    }  # fmt: skip
    params = {"width": 8, "kind": "plain"}
    torch.manual_seed(0)
    network = space.build(params, shape, data.num_classes)
    about = {k: v for k, v in about.items() if v is not ...}
    nasproxy.save_network(path, network, space, params, shape, data.num_classes, **about)
    return path


def _pictures(folder: Path, mode: str) -> list[Path]:
    """Six pictures a class of many sizes, of 8, 12 or 16 bits, of floats, or with alpha."""
    generator = np.random.default_rng(0)
    for number in range(24):
        height, width = generator.integers(20, 60, 2)
        top = {"I;16": 4000, "L": 256, "RGB": 256, "RGBA": 256, "F": 1}[mode]
        channels = {"RGB": (3,), "RGBA": (4,)}.get(mode, ())
        pixels = generator.random((height, width, *channels)) * top * (1 + number % 2) / 2
        kind = {"I;16": np.uint16, "F": np.float32}.get(mode, np.uint8)
        path = folder / "ab"[number % 2] / f"{number:02}.{'tif' if mode == 'F' else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 6  # held sideways
        Image.fromarray(pixels.astype(kind)).save(path, exif=exif)
    return sorted(folder.glob("*/*"))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16", "F"])
def test_files_are_read_as_in_training(tmp_path: Path, tiny_space: Any, mode: str) -> None:
    files = _pictures(tmp_path / "set", mode)
    data = nasproxy.load_dataset(str(tmp_path / "set"))
    path = _trained(tmp_path, tiny_space, data)
    network = nasproxy.load_network(path)
    found = network.predict(files)
    images = torch.cat([part.images for part in (data.train, data.validation, data.test)])
    logits = network(data.normalisation(images))
    there = torch.softmax(logits, 1).detach().numpy()
    distances = np.abs(found.probabilities[:, None] - there[None]).max(2)
    assert sorted(distances.argmin(1)) == list(range(24))  # each is one of them, and another
    assert distances.min(1).max() < 1e-6
    assert found.probabilities.dtype == np.float32
    assert set(found.labels) <= {"a", "b"}
    opened = [Image.open(file) for file in files]
    assert np.array_equal(network.predict(opened).probabilities, found.probabilities)
    alone = network.predict(str(files[3])).probabilities  # rounded as batches of its size are
    assert np.abs(alone - found.probabilities[3:4]).max() < 1e-6


def test_deep_pictures_of_another_scale_are_refused(tmp_path: Path, tiny_space: Any) -> None:
    files = _pictures(tmp_path / "set", "I;16")
    data = nasproxy.load_dataset(str(tmp_path / "set"))
    deep = nasproxy.load_network(_trained(tmp_path, tiny_space, data))
    bright = tmp_path / "bright.png"
    Image.fromarray(np.full((40, 40), 60000, np.uint16)).save(bright)
    with pytest.raises(UserError, match="from 0 to 4095"):
        deep.predict(bright)
    _pictures(tmp_path / "grey", "L")
    data = nasproxy.load_dataset(str(tmp_path / "grey"))
    shallow = nasproxy.load_network(_trained(tmp_path, tiny_space, data))
    for image in (files[0], Image.open(files[0])):
        with pytest.raises(UserError, match="more than 8 bits"):
            shallow.predict(image)


def test_arrays(tmp_path: Path, tiny_space: Any, data: nasproxy.Dataset) -> None:
    network = nasproxy.load_network(_trained(tmp_path, tiny_space, data))
    images = data.test.images
    there = torch.softmax(network(data.normalisation(images)), 1).detach().numpy()
    rows = images.permute(0, 2, 3, 1).numpy()
    coloured = np.repeat(rows, 3, 3)
    clear = np.concatenate([coloured, np.full_like(rows, 255)], 3)
    for given in (rows, rows[..., 0], images, list(rows[..., 0]), coloured, clear):
        assert np.allclose(network.predict(given).probabilities, there, atol=1e-6)
    larger = np.kron(rows[..., 0], np.ones((1, 2, 2), np.uint8))
    pictures = [Image.fromarray(one) for one in larger]
    assert np.array_equal(
        network.predict(larger).probabilities, network.predict(pictures).probabilities
    )
    assert network.predict([]).probabilities.shape == (0, 3)
    for bad in (rows[0, ..., 0], np.zeros((8, 8, 3), np.uint8), np.zeros((2, 8, 8, 2), np.uint8),
                rows.astype(np.float32), rows.astype(np.int64), [None], 3, None, {}):  # fmt: skip
        with pytest.raises(UserError, match="expected"):
            network.predict(bad)


def test_arrays_of_the_type_of_the_data_sets(tmp_path: Path, tiny_space: Any) -> None:
    generator = np.random.default_rng(0)
    for dtype, top in ((np.float32, 1), (np.float64, 250), (np.uint16, 4000), (np.int64, 255)):
        x, y = (generator.random((60, 8, 8)) * top).astype(dtype), np.arange(60) % 2
        x[0, 0, 0] = top
        data = nasproxy.from_arrays(x, y, x_val=x, y_val=y)
        network = nasproxy.load_network(_trained(tmp_path, tiny_space, data))
        there = network(data.normalisation(data.validation.images)).softmax(1).detach().numpy()
        assert np.allclose(network.predict(x).probabilities, there, atol=1e-6), dtype
        with pytest.raises(UserError, match="as in the training images"):
            network.predict(x * 20)


def test_smaller_images_of_a_recipe(tmp_path: Path, tiny_space: Any) -> None:
    _pictures(tmp_path / "set", "RGB")
    data = nasproxy.load_dataset(str(tmp_path / "set"), image_size=19)
    path = _trained(tmp_path, tiny_space, data, shape=(3, 8, 8))
    images = data.test.images
    prepare = nasproxy.data.images.Normalisation(
        data.normalisation.mean, data.normalisation.std, shorter_side=8
    )
    network = nasproxy.load_network(path)
    there = network(prepare(images)).softmax(1).detach().numpy()
    assert np.allclose(network.predict(images).probabilities, there, atol=1e-6)


def test_a_network_of_an_earlier_version_predicts(capsys: pytest.CaptureFixture[str]) -> None:
    space = nasproxy.load_space(str(BEFORE / "space_of_before.py"))
    network = nasproxy.load_network(BEFORE / "best.safetensors", space=space)
    data = nasproxy.load_dataset("digits")
    found = network.predict(data.test.images).labels
    right = [int(a) == b for a, b in zip(found, data.test.labels.tolist())]
    about = nasproxy.describe_network(BEFORE / "best.safetensors")
    assert np.mean(right) == pytest.approx(about["test_accuracy"])


def test_what_a_file_lacks(tmp_path: Path, tiny_space: Any, data: nasproxy.Dataset) -> None:
    images = data.test.images

    def network(**more: Any) -> nasproxy.TrainedNetwork:
        return nasproxy.load_network(_trained(tmp_path, tiny_space, data, **more))

    assert set(network(class_names=...).predict(images).labels) <= {"0", "1", "2"}
    network(image_shape=..., levels=...).predict(images)
    for more in ({"mean": ...}, {"std": ...}, {"mean": [0.5, 0.5]}, {"std": [0.0]},
                 {"mean": "x"}, {"class_names": ["a"]}, {"image_shape": [1, 9]},
                 {"image_shape": [3, 8, 8]}, {"image_shape": [1, 8, 9]}, {"levels": 3},
                 {"levels": {"whole": [1]}}):  # fmt: skip
        loaded = network(**more)
        assert loaded(torch.zeros(1, 1, 8, 8)).shape == (1, 3)
        with pytest.raises(UserError, match=r"n\.safetensors"):
            loaded.predict(images)


def test_it_is_the_module_that_it_was(
    tmp_path: Path, tiny_space: Any, data: nasproxy.Dataset
) -> None:
    network: Any = nasproxy.load_network(_trained(tmp_path, tiny_space, data))
    images = data.test.images
    assert isinstance(network, nn.Sequential)
    assert isinstance(network, nasproxy.TrainedNetwork)
    assert sum(p.numel() for p in network.parameters()) == 65 * 8 + 9 * 3
    assert list(network.state_dict()) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert repr(network).startswith("Sequential(")
    assert network[1].out_features == 8
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    there = network.predict(images).probabilities
    for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)),
                  torch.load(file, weights_only=False)):  # fmt: skip
        assert np.array_equal(again.predict(images).probabilities, there)
        nn.init.zeros_(again[1].weight)
    assert np.array_equal(network.train().predict(images).probabilities, there)
    assert network.training
    network[3] = nn.Linear(8, 5)
    with pytest.raises(UserError, match="expected finite logits"):
        network.predict(images)
