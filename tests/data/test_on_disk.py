"""Images that stay in their file give what the same images in memory give."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nasproxy
from nasproxy.data import on_disk
from nasproxy.data.on_disk import StoredImages, in_chunks, stored_in_npy, stored_in_npz
from nasproxy.training.recipe import Recipe
from tests.conftest import make_arrays


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as too large for memory, and passes read a few images at a time."""
    monkeypatch.setattr(on_disk, "_IN_MEMORY", 0)
    monkeypatch.setattr(on_disk, "_AT_ONCE", 1000)


def _write(folder: Path, shape: tuple[int, ...] = (8, 8, 3)) -> tuple[Path, Path]:
    """The same set as an .npz file and as a folder of .npy files."""
    (x, y), (xt, yt) = make_arrays(shape=shape), make_arrays(90, shape=shape, seed=1)
    arrays = {"x_train": x, "y_train": y, "x_test": xt, "y_test": yt}
    np.savez(folder / "set.npz", **arrays)
    (folder / "arrays").mkdir()
    for name, array in arrays.items():
        np.save(folder / "arrays" / f"{name}.npy", array)
    return folder / "set.npz", folder / "arrays"


@pytest.mark.parametrize("shape", [(8, 8), (8, 6, 1), (5, 8, 3)])
def test_a_stored_set_is_the_same_set(tmp_path: Path, monkeypatch, shape, request) -> None:
    npz, folder = _write(tmp_path, shape)
    usual = nasproxy.load_dataset(str(npz))
    assert isinstance(usual.train.images, torch.Tensor)
    request.getfixturevalue("small_memory")
    for path in (npz, folder):
        data = nasproxy.load_dataset(str(path))
        assert data.digest == usual.digest
        assert data.normalisation == usual.normalisation
        for part in ("train", "validation", "test"):
            small, large = getattr(data, part), getattr(usual, part)
            assert isinstance(small.images, StoredImages)
            assert small.images.shape == large.images.shape
            assert torch.equal(small.images[:], large.images)
            assert torch.equal(torch.cat(list(in_chunks(small.images))), large.images)
            some = torch.tensor([5, 2, 2, -1])
            assert torch.equal(small[some].images, large[some].images)
            assert torch.equal(small[some].labels, large[some].labels)
            again = pickle.loads(pickle.dumps(small))
            assert torch.equal(again.images[some], large.images[some])


@pytest.mark.parametrize("how", ["other", "short", "gone"])
def test_another_process_wants_the_same_file(tmp_path: Path, small_memory, how: str) -> None:
    _, folder = _write(tmp_path)
    sent = pickle.dumps(nasproxy.load_dataset(str(folder)).train)
    file = folder / "x_train.npy"
    raw = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(raw[:5000] if how == "short" else raw[:-9000] + raw[:9000])
    with pytest.raises(nasproxy.UserError, match=r"x_train.npy: "):
        pickle.loads(sent)


def test_all_that_is_done_with_a_set_gives_the_same(tmp_path: Path, tiny_space, request) -> None:
    npz, _ = _write(tmp_path)
    usual = nasproxy.load_dataset(str(npz))
    request.getfixturevalue("small_memory")
    data = nasproxy.load_dataset(str(npz))
    for method, options in (
        ("dm", {"ipc": 2, "steps": 2, "real_batch": 8, "width": 4}),
        ("random", {"ipc": 3}),
        ("herding", {"ipc": 3, "width": 4}),
        ("k-center", {"ipc": 3, "width": 4}),
    ):
        a, b = (nasproxy.condense(d, method, **options) for d in (usual, data))
        assert torch.equal(a.images, b.images), method
    for by in ("full", "naswot:batch_size=8"):
        scores = [
            [
                t.value
                for t in nasproxy.rank(
                    tiny_space, by, data=d, recipe=_recipe(by), trials=3, jobs=1
                ).trials
            ]
            for d in (usual, data)
        ]
        assert scores[0] == scores[1]


def _recipe(by: str) -> Recipe | None:
    return Recipe(epochs=2, batch_size=20, lr=0.05) if by == "full" else None


def test_what_is_compressed_or_odd_is_read_into_memory(tmp_path: Path, small_memory) -> None:
    (x, y), path = make_arrays(shape=(8, 8, 3)), tmp_path / "set.npz"
    np.savez_compressed(path, x_train=x, y_train=y)
    assert stored_in_npz(path, "x_train") is None
    assert isinstance(nasproxy.load_dataset(str(path)).train.images, torch.Tensor)
    for name, array in (("order", np.asfortranarray(x)), ("wide", x.astype(np.int16))):
        np.save(tmp_path / f"{name}.npy", array)
        assert stored_in_npy(tmp_path / f"{name}.npy") is None


def test_a_file_cut_short_is_one_line(tmp_path: Path, small_memory, command) -> None:
    npz, folder = _write(tmp_path)
    data = nasproxy.load_dataset(str(folder))
    file = folder / "x_train.npy"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(nasproxy.UserError, match="cannot read its images"):
        data.train.images[:2]
    for path in (folder, npz):
        if path == npz:
            npz.write_bytes(npz.read_bytes()[:5000])
        status, _, err = command("condense", "--data", path, "--out", tmp_path / "p.safetensors")
        assert status == 2
        assert len(err.strip().splitlines()) == 1
    (folder / "x_train.npy").unlink()
    (folder / "x_train.npy").write_bytes(b"no array")
    assert command("condense", "--data", folder)[0] == 2


def _photographs(folder: Path, n: int = 24) -> Path:
    generator = np.random.default_rng(0)
    for k in range(n):
        file = folder / "photographs" / ("cat" if k % 2 else "dog") / f"{k}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(file)
    return folder / "photographs"


def test_a_large_folder_is_decoded_once_beside_it(tmp_path: Path, request, monkeypatch) -> None:
    folder = _photographs(tmp_path)
    usual = nasproxy.load_dataset(str(folder))
    request.getfixturevalue("small_memory")
    data = nasproxy.load_dataset(str(folder))
    assert data.digest == usual.digest
    (decoded,) = tmp_path.glob("photographs-32x32x3-*.npy")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([folder.name, decoded.name])

    def fail(*arguments: object) -> None:
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr("nasproxy.data.folders.read_image", fail)
        assert nasproxy.load_dataset(str(folder)).digest == usual.digest
    (folder / "cat" / "1.png").write_bytes((folder / "dog" / "0.png").read_bytes())
    assert nasproxy.load_dataset(str(folder)).digest != usual.digest
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_a_folder_that_fails_to_decode_leaves_nothing(tmp_path: Path, small_memory) -> None:
    folder = _photographs(tmp_path)
    (folder / "cat" / "1.png").write_bytes(b"not an image")
    with pytest.raises(nasproxy.UserError, match="not a readable image"):
        nasproxy.load_dataset(str(folder))
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
