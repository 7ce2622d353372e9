"""The trained network taken home: pictures named, and files for other programs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nasproxy


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory, tiny_space_file: str) -> Path:
    """The folder of a run, moved, whose space is no longer where it was; pictures beside it."""
    folder = tmp_path_factory.mktemp("home")
    generator = np.random.default_rng(0)
    for number in range(40):
        name = ("dark", "light")[number % 2]
        pixels = generator.integers(0, 100, (33, 35)) + 150 * (number % 2)
        (folder / "set" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "set" / name / f"{number}.png")
    space = folder / "space.py"
    shutil.copy(tiny_space_file, space)
    nasproxy.run(
        str(folder / "set"), str(space), trials=3, ipc=2, steps=2, jobs=1, quiet=True, confirm=1,
        full=nasproxy.Recipe(epochs=20, batch_size=8), proxy=nasproxy.Recipe(epochs=1),
        out=str(folder / "run"),
    )  # fmt: skip
    space.unlink()
    (folder / "run").rename(folder / "taken")
    return folder


def test_pictures_are_named(command, taken: Path) -> None:
    weights, pictures = taken / "taken" / "best.safetensors", sorted(taken.glob("set/*/*"))
    status, out, err = command("predict", weights, *pictures, "--json")
    assert status == 0, err
    rows = json.loads(out)["predictions"]
    assert [row["image"] for row in rows] == [str(p) for p in pictures]
    right = [row["label"] == Path(row["image"]).parent.name for row in rows]
    assert sum(right) > 35
    for row in rows:
        assert set(row["probabilities"]) == {"dark", "light"}
        assert sum(row["probabilities"].values()) == pytest.approx(1)
    status, out, _ = command("predict", weights, pictures[0])
    assert status == 0
    assert out.startswith(f"{pictures[0]}: dark (")


def test_what_cannot_be_predicted_is_one_line(command, taken: Path, npz: str) -> None:
    weights, picture = taken / "taken" / "best.safetensors", next(taken.glob("set/*/*"))
    for words in ((weights,), (weights, picture, "missing.png"), (weights, taken), (weights, npz),
                  ("missing.safetensors", picture), (picture, picture), ()):  # fmt: skip
        status, out, err = command("predict", *words)
        assert (status, out) == (2, ""), words
        assert err.count("\n") == 1, err


def test_networks_are_exported(command, taken: Path, tmp_path: Path) -> None:
    weights = taken / "taken" / "best.safetensors"
    status, out, err = command("export", weights, "--to", "torchscript", "--out", tmp_path / "n.pt")
    assert (status, err) == (0, "")
    assert "(N, 1, 33, 33) of uint8" in out
    status, out, err = command("export", weights, "--to", "pt2", "--json")
    assert status == 0, err
    assert json.loads(out)["class_names"] == ["dark", "light"]
    assert (taken / "taken" / "best.pt2").is_file()
    for words in (("--to", "tflite"), (), ("--to", "pt2", "--out", "/proc/nowhere/n.pt2")):
        status, out, err = command("export", weights, *words)
        assert (status, out) == (2, ""), words
        assert err.count("\n") == 1, err


@pytest.mark.slow
def test_another_process_needs_the_folder_alone(taken: Path, tmp_path: Path) -> None:
    picture = next(taken.glob("set/light/*"))
    words = ["predict", str(taken / "taken" / "best.safetensors"), str(picture)]
    done = subprocess.run(
        [sys.executable, "-m", "nasproxy", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "light" in done.stdout
