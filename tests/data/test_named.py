import gzip
import struct
from pathlib import Path

import numpy as np

from nasproxy import load_dataset
from tests.conftest import make_arrays


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


def test_a_known_set_without_class_names_has_its_own(tmp_path: Path) -> None:
    x, y = make_arrays(60, (32, 32, 3), classes=10)
    np.savez(tmp_path / "cifar10.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    known = load_dataset("cifar10", str(tmp_path)).class_names
    assert (known[0], known[9]) == ("airplane", "truck")
    np.savez(
        tmp_path / "cifar10.npz", x_train=x, y_train=y, class_names=[f"mine {i}" for i in range(10)]
    )
    assert load_dataset("cifar10", str(tmp_path)).class_names[0] == "mine 0"
