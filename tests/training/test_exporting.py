"""Networks for other programs give the same probabilities, of pixels."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nasproxy
from nasproxy import UserError
from nasproxy.training.exporting import export_network

SPACE = '''"""Networks with what is hard to follow."""
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, kind, channels, classes):
        super().__init__()
        self.kind = kind
        self.body = nn.Sequential(
            nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
            nn.Flatten(), nn.Dropout(), nn.Linear(16, classes),
        )

    def forward(self, x):
        logits = self.body(x)
        if self.kind == "heads":
            return {"aux": 2 * logits, "logits": logits}
        if self.kind == "data":
            return logits if x.sum().item() > 0 else -logits
        return logits


def build(trial, input_shape, num_classes):
    kind = trial.suggest_categorical("kind", ["plain", "heads", "data"])
    return Net(kind, input_shape[0], num_classes)
'''
ABOUT = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "class_names": ["a", "b"]}


def _saved(folder: Path, kind: str, shape=(3, 12, 10), **more) -> Path:
    (folder / "hard.py").write_text(SPACE)
    space, path = nasproxy.load_space(str(folder / "hard.py")), folder / "n.safetensors"
    torch.manual_seed(0)
    network = space.build({"kind": kind}, shape, 2)
    network(torch.randn(8, *shape))  # running statistics of their own
    nasproxy.save_network(path, network, space, {"kind": kind}, shape, 2, **ABOUT, **more)
    return path


@pytest.mark.parametrize(
    ("to", "kind", "image_shape"),
    [
        ("onnx", "heads", [3, 19, 16]),
        ("pt2", "plain", [3, 12, 10]),
        ("pt2", "heads", [3, 19, 16]),
        ("torchscript", "heads", [3, 19, 16]),
    ],
)
def test_what_is_written_gives_the_same(
    tmp_path: Path, to: str, kind: str, image_shape: list[int]
) -> None:
    if to == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    path = _saved(tmp_path, kind, image_shape=image_shape)
    made = export_network(path, to)
    images = np.random.default_rng(1).integers(0, 256, (7, *image_shape), np.uint8)
    if to == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(made.out))
        (given,) = session.run(None, {"images": images})
        names = session.get_modelmeta().custom_metadata_map["class_names"]
    elif to == "pt2":
        extra = {"class_names": ""}
        network = torch.export.load(made.out, extra_files=extra).module()
        given, names = network(torch.from_numpy(images)).detach(), extra["class_names"]
    else:
        extra = {"class_names": ""}
        network = torch.jit.load(made.out, _extra_files=extra)
        given, names = network(torch.from_numpy(images)).detach(), extra["class_names"]
    own = nasproxy.load_network(path).predict(torch.from_numpy(images))
    assert json.loads(names) == ["a", "b"]
    assert len(set(own.probabilities[:, 0].tolist())) == 7
    np.testing.assert_allclose(given, own.probabilities, atol=1e-5)


def test_what_cannot_be_followed_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    path = _saved(tmp_path, "data")
    with pytest.raises(UserError, match="can't be written as"):
        export_network(path, "pt2")
    there = {p.name for p in tmp_path.iterdir() if p.suffix not in (".py", ".safetensors")}
    assert all((tmp_path / name).is_dir() for name in there), there


def test_a_trace_that_is_another_network_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path, "data")  # followed on black images, whose sum is below 0
    with pytest.raises(UserError, match="gives other probabilities"):
        export_network(path, "torchscript")
    assert not path.with_suffix(".pt").exists()


def test_odd_places_and_formats(tmp_path: Path) -> None:
    path = _saved(tmp_path, "plain")
    for to, out in (("tflite", None), ("pt2", tmp_path / "x.onnx"), ("onnx", path)):
        with pytest.raises(UserError, match="expected"):
            export_network(path, to, out)
