from pathlib import Path

import numpy as np
import pytest
import torch

import nasproxy
from nasproxy import ProxySet, UserError, import_proxy

SETS = Path(__file__).parents[3] / "shared" / "data" / "dm_sets"


def test_normalised_images_are_brought_to_ours(data, tmp_path: Path) -> None:
    made = nasproxy.condense(data, "random", ipc=2)
    mean, std = np.array([0.3]), np.array([0.7])
    unit = made.images.numpy() * data.normalisation.std[0] + data.normalisation.mean[0]
    path = tmp_path / "set.npz"
    np.savez(path, images=(unit - mean) / std, labels=made.labels.numpy(), mean=mean, std=std)
    found = import_proxy(path, data)
    assert torch.allclose(found.images, made.images, atol=1e-5)
    assert found.labels.tolist() == made.labels.tolist()
    assert found.metadata["method"] == "set"


def test_pixels_and_stacks(data, tmp_path: Path) -> None:
    pixels = data.train.images[:6].permute(0, 2, 3, 1).numpy()
    labels = data.train.labels[:6].numpy()
    np.savez(tmp_path / "p.npz", images=pixels, labels=labels)
    found = import_proxy(tmp_path / "p.npz", data)
    assert torch.equal(data.normalisation.pixels(found.images), data.train.images[:6])
    floats = np.stack([np.zeros((6, 1, 8, 8)), np.full((6, 1, 8, 8), 2.0)])
    np.savez(tmp_path / "s.npz", images=floats, labels=np.stack([labels, labels]))
    assert import_proxy(tmp_path / "s.npz", data, index=1).images.eq(2).all()
    with pytest.raises(UserError, match="expected an index from 0 to 1"):
        import_proxy(tmp_path / "s.npz", data, index=2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((6, 1, 8, 8))}, "expected arrays images and labels"),
        ({"images": np.zeros((6, 1, 9, 9)), "labels": np.zeros(6, int)}, "expected images"),
        ({"images": np.zeros((6, 64)), "labels": np.zeros(6, int)}, "four dimensions"),
        ({"images": np.zeros((6, 1, 8, 8)), "labels": np.full(6, 9)}, "expected labels from 0"),
        ({"images": np.full((6, 1, 8, 8), np.nan), "labels": np.zeros(6, int)}, "NaN"),
        ({"images": np.array([None]), "labels": np.zeros(6, int)}, "not a readable"),
    ],
)
def test_bad_files(data, tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(UserError, match=message):
        import_proxy(tmp_path / "set.npz", data)


@pytest.mark.skipif(not SETS.exists(), reason="the sets made by others are not there")
def test_sets_made_by_others(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
    cifar = nasproxy.from_arrays(pixels, np.arange(200) % 10)
    for name, count in (
        ("dc_cifar10_convnet_ipc1", 10),
        ("dc_cifar10_convnet_ipc10", 100),
        ("dc_cifar10_ipc50_png8", 500),
    ):
        proxy = import_proxy(SETS / f"{name}.npz", cifar)
        assert len(proxy) == count
        proxy.save(tmp_path / "p.safetensors")
        assert ProxySet.load(tmp_path / "p.safetensors").digest == proxy.digest


def test_stacked_soft_labels(data, tmp_path: Path) -> None:
    soft = np.full((2, 6, 3), 1 / 3, np.float32)
    np.savez(tmp_path / "s.npz", images=np.zeros((2, 6, 1, 8, 8)), labels=soft)
    assert import_proxy(tmp_path / "s.npz", data, index=1).labels.shape == (6, 3)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_floats_that_are_pixels(data, tmp_path: Path, scale: float) -> None:
    pixels, labels = data.train.images[:6], data.train.labels[:6].numpy()
    np.savez(tmp_path / "f.npz", images=pixels.numpy() / 255 * scale, labels=labels)
    found = import_proxy(tmp_path / "f.npz", data)
    assert torch.equal(data.normalisation.pixels(found.images), pixels)


def test_the_file_that_the_code_of_dm_saves(data, tmp_path: Path) -> None:
    images = [data.normalisation(data.train.images[k : k + 6]) for k in (0, 6)]
    labels = [data.train.labels[k : k + 6] for k in (0, 6)]
    saved = {
        "data": [[x.requires_grad_(), y] for x, y in zip(images, labels)],
        "accs_all_exps": {"ConvNet": [np.float64(0.5), np.float32(0.25), 0.1]},
    }
    torch.save(saved, tmp_path / "res_DM_CIFAR10_ConvNet_1ipc.pt")
    for index in (0, 1):
        found = import_proxy(tmp_path / "res_DM_CIFAR10_ConvNet_1ipc.pt", data, index=index)
        assert torch.equal(found.images, images[index].detach())
        assert torch.equal(found.labels, labels[index])
    with pytest.raises(UserError, match="expected an index from 0 to 1"):
        import_proxy(tmp_path / "res_DM_CIFAR10_ConvNet_1ipc.pt", data, index=2)
    torch.save([images[0].detach(), labels[0]], tmp_path / "pair.pt")
    assert torch.equal(import_proxy(tmp_path / "pair.pt", data).labels, labels[0])
    torch.save({"data": [[images[0], data]]}, tmp_path / "code.pt")
    with pytest.raises(UserError, match="not a readable file of plain tensors"):
        import_proxy(tmp_path / "code.pt", data)
