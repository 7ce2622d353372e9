"""Proxy sets, trained networks, and proxy sets of other programs."""

# ruff: noqa: E501 - a case a line reads best

import functools
import json
import math
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import nasproxy
from tests.hostile.case import (
    PARAMS,
    Case,
    Good,
    all_refused,
    cut,
    images,
    odd_file,
    ranked_by,
    rows,
    safetensors,
    written,
)

DEEP = "[" * 100_000 + "]" * 100_000


def _header(*offsets: int, dtype: str = "F32", shape: tuple[int, ...] = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def _one(*offsets: int, **more: Any) -> str:
    return json.dumps({"images": _header(*offsets, **more)})


RAW = {
    "text": b"no proxy at all\n" * 20,
    "header beyond the file": struct.pack("<Q", 10**6) + b"{}",
    "header of 2**63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "header of no bytes": struct.pack("<Q", 0),
    "header is no JSON": safetensors("{images"),
    "header is a list": safetensors("[]"),
    "header nests deeply": safetensors(DEEP),
    "header is no UTF-8": safetensors(b"\xff" * 8),
    "declares 4 TB": safetensors(_one(0, 4 * 10**12, shape=(10**12,))),
    "shape that overflows": safetensors(_one(0, 0, shape=(2**62, 2**62, 16))),
    "offsets that run backwards": safetensors(_one(8, 4), bytes(16)),
    "negative offset": safetensors(_one(-4, 0)),
    "unknown dtype": safetensors(_one(0, 4, dtype="F7"), bytes(4)),
    "tensors that overlap": safetensors(json.dumps({"images": _header(0, 4), "labels": _header(0, 4)}), bytes(4)),
    "bytes after the last tensor": safetensors(_one(0, 4), bytes(400)),
    "the same tensor twice": safetensors('{"images": %s, "images": %s}' % ((json.dumps(_header(0, 4)),) * 2), bytes(4)),
    "a pickle": b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.",
}  # fmt: skip

IMAGES, LABELS = torch.zeros(6, 1, 8, 8), torch.arange(6) % 3
TENSORS = (
    ("images of float64", {"images": IMAGES.double()}, "float32 images"),
    ("images of three dimensions", {"images": IMAGES[:, 0]}, "float32 images"),
    ("no images", {"images": IMAGES[:0], "labels": LABELS[:0]}, "float32 images"),
    ("images of no pixels", {"images": IMAGES[..., :0]}, "images"),
    ("images of another size", {"images": torch.zeros(6, 1, 9, 8)}, "(1, 8, 8)"),
    ("images of another depth", {"images": IMAGES.repeat(1, 3, 1, 1)}, "mean"),
    ("one NaN", {"images": IMAGES.index_fill(0, torch.tensor([3]), math.nan)}, "NaN"),
    ("labels too few", {"labels": LABELS[:5]}, "labels (6,)"),
    ("labels of int32", {"labels": LABELS.int()}, "int64 labels"),
    ("label of -1", {"labels": LABELS - 1}, "labels from 0 to 2"),
    ("label of 2**62", {"labels": LABELS + 2**62}, "labels from 0 to 2"),
    ("soft labels that do not sum to 1", {"labels": torch.ones(6, 3)}, "sum to 1"),
    ("soft labels of NaN", {"labels": torch.full((6, 3), math.nan)}, "finite soft labels"),
    ("soft labels below 0", {"labels": torch.tensor([[2.0, -1.0, 0.0]] * 6)}, "sum to 1"),
    ("one tensor more", {"weights": torch.zeros(3)}, "not a proxy set"),
)
LACKING = object()
ABOUT = (
    ("lacks format", {"format": LACKING}, "format"),
    ("lacks mean", {"mean": LACKING}, "mean"),
    ("format of another version", {"format": 2}, "proxy format 1, got 2"),
    ("format of another kind", {"format": [1]}, "proxy format 1"),
    ("method is a list", {"method": ["dm"]}, "method"),
    ("options are a list", {"options": [1]}, "options"),
    ("dataset is a number", {"dataset": 7}, "dataset"),
    ("digest is a list", {"dataset_digest": ["x"]}, "dataset_digest"),
    ("digest of other data", {"dataset_digest": "0" * 16}, "condense"),
    ("mean is text", {"mean": "0.5"}, "numbers as mean"),
    ("mean is too long", {"mean": [0.5, 0.5]}, "numbers as mean"),
    ("mean is true", {"mean": [True]}, "numbers as mean"),
    ("mean is NaN", {"mean": [math.nan]}, "numbers as mean"),
    ("mean beyond float", {"mean": [10**400]}, "numbers as mean"),
    ("std is null", {"std": None}, "numbers as std"),
    ("std is zero", {"std": [0.0]}, "std above 0"),
    ("class names are text", {"class_names": "abc"}, "class names"),
    ("class names are numbers", {"class_names": [0, 1, 2]}, "class names"),
    ("one class name", {"class_names": ["a"]}, "class names"),
    ("more class names than the data", {"class_names": list("abcdefgh")}, "classes"),
    ("seed is text", {"seed": "zero"}, "seed"),
    ("versions are a list", {"versions": []}, "versions"),
    ("a key more", {"x": [1]}, lambda d: len(d["ranking"]) == 2),
)  # fmt: skip
TEXTS = {
    "is not JSON": "{",
    "is a list": "[1]",
    "is null": "null",
    "nests deeply": DEEP,
    "nests in one key": f'{{"format": {DEEP}}}',
    "has a number of 5,000 digits": '{"format": ' + "9" * 5_000 + "}",
}
COSTS = {
    "is binary": b"\xff\xfe\x00",
    "is a list": b"[]",
    "nests deeply": b"[" * 100_000,
    "has NaN": b'{"seconds": NaN, "digest": "DIGEST"}',
    "has text": b'{"seconds": "many", "digest": "DIGEST"}',
    "is negative": b'{"seconds": -5, "digest": "DIGEST"}',
}


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    proxy = nasproxy.ProxySet.load(path)
    return {"images": proxy.images, "labels": proxy.labels}


def _saved(folder: Path, good: Good, tensors: dict[str, Any], metadata: dict[str, str]) -> Any:
    save_file(tensors, folder / "p.safetensors", metadata)
    return ranked_by(f"{folder / 'p.safetensors'}:epochs=1", good)


def proxies() -> Iterator[Case]:
    def shortened(percent: int, folder: Path, good: Good) -> Any:
        return ranked_by(cut(good.proxy, percent, folder / "p.safetensors"), good)

    def raw(content: bytes, folder: Path, good: Good) -> Any:
        return ranked_by(written(folder / "p.safetensors", content), good)

    def odd(kind: str, folder: Path, good: Good) -> Any:
        return ranked_by(odd_file(kind, folder / "p.safetensors"), good)

    def changed(change: dict[str, torch.Tensor], folder: Path, good: Good) -> Any:
        tensors = (
            {"images": IMAGES, "labels": LABELS} if "images" in change else _tensors(good.proxy)
        )
        text = json.dumps(nasproxy.ProxySet.load(good.proxy).metadata)
        return _saved(folder, good, {**tensors, **change}, {"nasproxy": text})

    def described(change: dict[str, Any], folder: Path, good: Good) -> Any:
        about = {**nasproxy.ProxySet.load(good.proxy).metadata, **change}
        text = json.dumps({k: v for k, v in about.items() if v is not LACKING})
        return _saved(folder, good, _tensors(good.proxy), {"nasproxy": text})

    def metadata(text: str, folder: Path, good: Good) -> Any:
        return _saved(folder, good, _tensors(good.proxy), {"nasproxy": text})

    def of_others(key: str, folder: Path, good: Good) -> Any:
        return _saved(folder, good, _tensors(good.proxy), {key: "pt"})

    def twice(end: str, folder: Path, good: Good) -> Any:
        text = json.dumps(nasproxy.ProxySet.load(good.proxy).metadata)[:-1] + end
        return _saved(folder, good, _tensors(good.proxy), {"nasproxy": text})

    def beside(cost: bytes, folder: Path, good: Good) -> Any:
        path = Path(shutil.copy(good.proxy, folder / "p.safetensors"))
        digest = nasproxy.ProxySet.load(path).digest
        path.with_suffix(".json").write_bytes(cost.replace(b"DIGEST", digest.encode()))
        return ranked_by(f"{path}:epochs=1", good)

    def ranked(document: Any) -> bool:
        return len(document["ranking"]) == 2

    file = functools.partial(all_refused, says="p.safetensors")
    yield from rows("proxy cut", shortened, file({f"{n}%": n for n in (0, 1, 40, 99)}))
    yield from rows("proxy", raw, file(RAW))
    yield from rows(
        "proxy is", odd, file({k: k for k in ("a folder", "a pipe", "a link to itself")})
    )
    yield from rows("proxy", changed, TENSORS)
    yield from rows("proxy", described, ABOUT)
    yield from rows("proxy metadata", metadata, file(TEXTS))
    yield from rows(
        "proxy metadata", of_others, [("of another program", "format", "not a proxy set")]
    )
    yield from rows("proxy metadata", twice, [("a key twice", ', "format": 1}', ranked)])
    yield from rows("the cost beside a proxy", beside, [(k, v, ranked) for k, v in COSTS.items()])


NETWORKS = (
    ("lacks space", {"space": LACKING}, "n.safetensors"),
    ("lacks num_classes", {"num_classes": LACKING}, "n.safetensors"),
    ("space is a number", {"space": 3}, "space"),
    ("space is not there", {"space": "nowhere/at_all.py"}, "at_all.py"),
    ("space is unknown", {"space": "convnets"}, "did you mean"),
    ("digests are lists", {"space_sha256": [], "space_code": []}, "has changed since"),
    ("params is null", {"params": None}, "params"),
    ("params lacks one", {"params": {"width": 8}}, "kind"),
    ("params has one more", {"params": {**PARAMS, "x": 1}}, "no such parameter: x"),
    ("params has another value", {"params": {**PARAMS, "width": 9}}, "width=9"),
    ("params has another kind of value", {"params": {**PARAMS, "width": {}}}, "width"),
    ("params can't be built", {"params": {"width": 2, "kind": "deep"}}, "too thin"),
    ("input shape is text", {"input_shape": "1x8"}, "input_shape"),
    ("input shape is negative", {"input_shape": [1, -8, 8]}, "input_shape"),
    ("input shape is another", {"input_shape": [1, 9, 9]}, "weights do not fit"),
    ("input shape is huge", {"input_shape": [3, 10**7, 10**7]}, "n.safetensors"),
    ("no classes", {"num_classes": None}, "num_classes"),
    ("classes below 0", {"num_classes": -3}, "num_classes"),
)


def networks() -> Iterator[Case]:
    def call(path: Path) -> Callable[[], Any]:
        return lambda: nasproxy.load_network(path)

    def saved(state: dict[str, Any], about: Any, folder: Path) -> Callable[[], Any]:
        save_file(state, folder / "n.safetensors", {"nasproxy": about})
        return call(folder / "n.safetensors")

    def changed(change: dict[str, Any], folder: Path, good: Good) -> Any:
        about = {**nasproxy.describe_network(good.network), **change}
        text = json.dumps({k: v for k, v in about.items() if v is not LACKING})
        return saved(dict(nasproxy.load_network(good.network).state_dict()), text, folder)

    def metadata(text: str, folder: Path, good: Good) -> Any:
        return saved({"w": torch.zeros(1)}, text, folder)

    def weights(state: dict[str, Any], folder: Path, good: Good) -> Any:
        return saved(state, json.dumps(nasproxy.describe_network(good.network)), folder)

    def shortened(percent: int, folder: Path, good: Good) -> Any:
        return call(cut(good.network, percent, folder / "n.safetensors"))

    def a_proxy(_: None, folder: Path, good: Good) -> Any:
        return call(good.proxy)

    file = functools.partial(all_refused, says="n.safetensors")
    yield from rows("network cut", shortened, file({f"{n}%": n for n in (0, 30, 99)}))
    yield from rows("network", changed, NETWORKS)
    yield from rows("network metadata", metadata, file({"nests deeply": DEEP, "is a list": "[]"}))
    yield from rows("network", a_proxy, [("a proxy set", None, "not a trained network")])
    states = {
        "no weights": {},
        "other weights": {"1.weight": torch.zeros(8, 64, dtype=torch.float64)},
    }
    yield from rows("network", weights, all_refused(states, "weights do not fit"))


def foreign() -> Iterator[Case]:
    x, y = np.zeros((6, 1, 8, 8), np.float32), np.arange(6) % 3
    scale = {"mean": np.array([0.5]), "std": np.array([0.25])}
    table = (
        ("no labels", {"labels": None}, "images and labels"),
        ("images of objects", {"images": np.array([None])}, "plain arrays"),
        ("images of text", {"images": np.full((6, 1, 8, 8), "a")}, "images"),
        ("images of complex numbers", {"images": x + 1j}, "images"),
        ("images of int64", {"images": x.astype(int)}, "images"),
        ("images of dates", {"images": x.astype("M8[s]")}, "images"),
        ("a single number", {"images": np.float32(3)}, "four dimensions"),
        ("six dimensions", {"images": x[None, None]}, "four dimensions"),
        ("images of another size", {"images": x[..., :7]}, "(1, 8, 8)"),
        ("no images", {"images": x[:0], "labels": y[:0]}, "images"),
        ("a stack of none", {"images": x[None][:0]}, "index"),
        ("labels of text", {"labels": np.array(["a"] * 6)}, "labels"),
        ("labels of floats", {"labels": y + 0.5}, "labels"),
        ("labels too many", {"labels": np.arange(7) % 3}, "labels"),
        ("labels below 0", {"labels": y - 1}, "labels from 0"),
        ("labels of uint64 beyond", {"labels": y.astype("u8") + 2**63}, "labels"),
        ("a label alone", {"labels": np.int64(1)}, "labels"),
        ("infinity", {"images": x + np.inf}, "NaN"),
        ("float64 beyond float32", {"images": x.astype(float) + 1e300}, "NaN"),
        ("std of 0", {**scale, "std": np.zeros(1)}, "std"),
        ("std of NaN", {**scale, "std": np.full(1, np.nan)}, "std"),
        ("mean of text", {**scale, "mean": np.array(["a"])}, "mean"),
        ("mean too long", {**scale, "mean": np.zeros(3)}, "mean"),
        ("mean of objects", {**scale, "mean": np.array([None])}, "plain arrays"),
        ("float16 and uint8", {"images": x.astype("f2"), "labels": y.astype("u1")}, images(6)),
    )
    raws = {
        "is empty": b"",
        "is text": b"images",
        "header of 2**60": struct.pack("<Q", 2**60),
        "nests deeply": safetensors(DEEP),
    }

    def changed(change: dict[str, Any], folder: Path, good: Good) -> Any:
        held = {"images": x, "labels": y, **change}
        np.savez(folder / "f.npz", **{k: v for k, v in held.items() if v is not None})
        return ["import", folder / "f.npz", "--data", good.npz]

    def raw(content: bytes, folder: Path, good: Good) -> Any:
        return ["import", written(folder / "f.safetensors", content), "--data", good.npz]

    def typed(dtype: torch.dtype, folder: Path, good: Good) -> Any:
        save_file({"images": IMAGES.to(dtype), "labels": LABELS}, folder / "f.safetensors")
        return ["import", folder / "f.safetensors", "--data", good.npz]

    def pickled(_: None, folder: Path, good: Good) -> Any:
        torch.save({"images": IMAGES}, folder / "f.pt")
        return ["import", folder / "f.pt", "--data", good.npz]

    yield from rows("import", changed, table)
    yield from rows("import: .safetensors", raw, all_refused(raws, "f.safetensors"))
    dtypes = (
        ("bfloat16", torch.bfloat16, images(6)),
        ("float8_e4m3fn", torch.float8_e4m3fn, images(6)),
        ("bool", torch.bool, "f.safetensors"),
    )
    yield from rows("import: .safetensors of", typed, dtypes)
    yield from rows("import", pickled, [("a file of torch.save", None, "f.pt")])
