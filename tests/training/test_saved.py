"""Networks on disk: rebuilt as they were, refused where their space is another."""

from pathlib import Path

import pytest
import torch

import nasproxy
from nasproxy import UserError

BEFORE = Path(__file__).parent.parent / "before"  # made by a version before the rooms
PARAMS = {"width": 8, "kind": "plain"}


def test_a_network_of_an_earlier_version_is_read() -> None:
    about = nasproxy.describe_network(BEFORE / "best.safetensors")
    assert (about["params"], about["architecture"]) == (PARAMS, "kind=plain width=8")
    assert (about["input_shape"], about["num_classes"]) == ([1, 8, 8], 10)
    space = nasproxy.load_space(str(BEFORE / "space_of_before.py"))
    assert space.sha256 == about["space_sha256"]
    network = nasproxy.load_network(BEFORE / "best.safetensors", space=space)
    data = nasproxy.load_dataset("digits")
    assert data.digest == about["dataset_digest"]
    assert list(data.normalisation.mean) == about["mean"]
    right = network(data.normalisation(data.test.images)).argmax(1) == data.test.labels
    assert right.float().mean().item() == pytest.approx(about["test_accuracy"])


def test_networks_of_a_changed_space_are_refused(tmp_path: Path, tiny_space_file: str) -> None:
    text, path = Path(tiny_space_file).read_text(), tmp_path / "space.py"
    file = tmp_path / "n.safetensors"
    path.write_text(text)
    space = nasproxy.load_space(str(path))
    network = space.build(PARAMS, (1, 8, 8), 3)
    nasproxy.save_network(file, network, space, PARAMS, (1, 8, 8), 3)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(nasproxy.load_network(file)(x), network.eval()(x))
    path.write_text(text.replace("nn.Linear(width, num_classes)", "nn.Linear(width, 5)"))
    assert torch.equal(nasproxy.load_network(file)(x), network(x))  # its copy
    (copied,) = tmp_path.glob("space-*/space.py")
    copied.write_text(text + "raise SystemExit\n")
    with pytest.raises(UserError, match="has changed since"):
        nasproxy.load_network(file)
    with pytest.raises(UserError, match="the weights do not fit"):
        nasproxy.load_network(file, nasproxy.load_space(str(path)))
    file.write_bytes(b"12345678910")
    with pytest.raises(UserError, match="not a readable"):
        nasproxy.load_network(file)
