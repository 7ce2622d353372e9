import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nasproxy import UserError, load_dataset


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
            turned = np.roll(deep, 100 * number, axis=0)
            Image.fromarray(turned).save(tmp_path / "deep" / name / f"{number}.png")
    grey = load_dataset(str(tmp_path / "deep"))
    assert grey.input_shape == (1, 40, 40)
    upper = {(np.roll(deep, 100 * n, axis=0) >> 8).astype(np.uint8).tobytes() for n in range(6)}
    assert grey.test.images[0, 0].numpy().tobytes() in upper
    shutil.rmtree(tmp_path / "deep")
    smaller = load_dataset(str(tmp_path), image_size=16)
    assert smaller.input_shape == (3, 16, 16)
    with pytest.raises(UserError, match="image_size of 1 or more, got 0"):
        load_dataset(str(tmp_path), image_size=0)
    (tmp_path / "dog" / "3.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"dog/3.png: not a readable image"):
        load_dataset(str(tmp_path))
