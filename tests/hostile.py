"""Hostile and broken input: a generator of cases, and what the command line must make of each.

A case makes files in an empty folder and gives the arguments of a command. The command must refuse
them in one line that names the file or the option, or, where `fine` is given, take them.
"""

# ruff: noqa: E501 - a case a line reads best

import contextlib
import gzip
import io
import json
import math
import os
import shutil
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from PIL import Image
from safetensors.torch import save_file

import nasproxy
from nasproxy.storage import open_storage

from .conftest import TINY_SPACE, make_arrays

EITHER = "EITHER"  # refused in one line, or taken; what counts is that it never fails otherwise
PARAMS = {"width": 8, "kind": "plain"}  # of a network of the tiny space


@dataclass(frozen=True)
class Good:
    """Sound files, which each case takes as they are or spoils a copy of.

    Attributes:
        npz: data set of 60 images 1x8x8 of three classes, and 30 to test.
        proxy: made from it.
        table: with columns arch, acc and other; six architectures.
        storage: with the studies params and flops of the tiny space on `npz`.
        space: the tiny space.
        network: of it, trained (not really).
    """

    npz: Path
    proxy: Path
    table: Path
    storage: Path
    space: Path
    network: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.storage}"


def make_good(folder: Path) -> Good:
    good = Good(
        npz=folder / "good.npz",
        proxy=folder / "good.safetensors",
        table=folder / "good.csv",
        storage=folder / "good.db",
        space=folder / "good_space.py",
        network=folder / "network.safetensors",
    )
    (x, y), (xt, yt) = make_arrays(60), make_arrays(30, seed=1)
    np.savez(good.npz, x_train=x, y_train=y, x_test=xt, y_test=yt)
    good.space.write_text(TINY_SPACE)
    rows = [f"a{n},{n / 10},{n % 3}" for n in range(6)]
    good.table.write_text("\n".join(["arch,acc,other", *rows]) + "\n")
    data = nasproxy.load_dataset(str(good.npz))
    nasproxy.condense(data, "random", ipc=2).save(good.proxy)
    space = nasproxy.load_space(str(good.space))
    for by in ("params", "flops"):
        nasproxy.rank(space, by, data=data, trials=5, jobs=1, study=by, storage=good.url)
    with contextlib.closing(sqlite3.connect(good.storage)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # it is copied as one file
    network = space.build(PARAMS, (1, 8, 8), 3)
    nasproxy.save_network(good.network, network, space, PARAMS, (1, 8, 8), 3)
    return good


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: of the test.
        make: makes the files in a folder, and gives the arguments of the command, or a call of
            the Python API.
        says: what the one line of the refusal must hold.
        fine: given the command's JSON document, whether the input was read rightly.
    """

    name: str
    make: Callable[[Path, Good], "Sequence[Any] | Callable[[], Any]"]
    says: str = ""
    fine: Callable[[Any], bool] | None = None


def all_cases() -> list[Case]:
    groups = (
        proxies, networks, foreign, arrays, zips, npy_folders, image_folders, torchvision_files,
        tables, configs, storages, spaces, options,
    )  # fmt: skip
    return [case for group in groups for case in group()]


# Commands that read one file each, and soon


def ranked_by(path: Any, good: Good) -> list[Any]:
    common = ("--data", good.npz, "--space", good.space, "--jobs", 1, "--quiet")
    return ["rank", "--by", path, "--trials", 2, *common, "--storage", "sqlite:///made.db"]


def condensed(data: Any, *more: Any) -> list[Any]:
    return ["condense", "--method", "random", "--ipc", 1, "--data", data, "--quiet", *more]


def compared(*columns: str) -> list[Any]:
    truth, *others = columns
    return ["correlate", "--truth", truth, *(x for other in others for x in ("--study", other))]


# Proxy files


def tensors_of(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    proxy = nasproxy.ProxySet.load(path)
    return {"images": proxy.images, "labels": proxy.labels}, dict(proxy.metadata)


def proxies() -> Iterator[Case]:
    for percent in (0, 1, 5, 20, 40, 60, 80, 95, 99):

        def cut(folder: Path, good: Good, percent: int = percent) -> Sequence[Any]:
            whole = good.proxy.read_bytes()
            return ranked_by(
                written(folder / "p.safetensors", whole[: len(whole) * percent // 100]), good
            )

        yield Case(f"proxy cut at {percent}%", cut, "p.safetensors")
    for name, raw in {
        "is text": b"no proxy at all\n" * 20,
        "header beyond the file": struct.pack("<Q", 10**6) + b"{}",
        "header of 2**63 bytes": struct.pack("<Q", 2**63) + b"{}",
        "header of no bytes": struct.pack("<Q", 0),
        "header is no JSON": _safetensors("{images"),
        "header is a list": _safetensors("[]"),
        "header nests deeply": _safetensors("[" * 50_000 + "]" * 50_000),
        "header is no UTF-8": struct.pack("<Q", 8) + b"\xff" * 8,
        "declares 4 TB": _safetensors(
            json.dumps({"images": _entry("F32", (10**12,), 0, 4 * 10**12)})
        ),
        "shape that overflows": _safetensors(
            json.dumps({"images": _entry("F32", (2**62, 2**62, 16), 0, 0)})
        ),
        "offsets that run backwards": _safetensors(
            json.dumps({"images": _entry("F32", (1,), 8, 4)}), bytes(16)
        ),
        "negative offset": _safetensors(json.dumps({"images": _entry("F32", (1,), -4, 0)})),
        "unknown dtype": _safetensors(json.dumps({"images": _entry("F7", (1,), 0, 4)}), bytes(4)),
        "tensors that overlap": _safetensors(
            json.dumps({"images": _entry("F32", (1,), 0, 4), "labels": _entry("F32", (1,), 0, 4)}),
            bytes(4),
        ),
        "bytes after the last tensor": _safetensors(
            json.dumps({"images": _entry("F32", (1,), 0, 4)}), bytes(400)
        ),
        "the same tensor twice": _safetensors(
            '{"images": %s, "images": %s}' % ((json.dumps(_entry("F32", (1,), 0, 4)),) * 2),
            bytes(4),
        ),
        "is a pickle": b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.",
        "is a zip": b"PK\x03\x04" + bytes(100),
    }.items():  # fmt: skip

        def raw_file(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            return ranked_by(written(folder / "p.safetensors", raw), good)

        yield Case(f"proxy: {name}", raw_file, "p.safetensors")
    images, labels = torch.zeros(6, 1, 8, 8), torch.arange(6) % 3
    for name, change, says in (
        ("images of float64", {"images": images.double()}, "float32 images"),
        ("images of float16", {"images": images.half()}, "float32 images"),
        ("images of uint8", {"images": images.byte()}, "float32 images"),
        ("images of three dimensions", {"images": images[:, 0]}, "float32 images"),
        ("no images", {"images": images[:0], "labels": labels[:0]}, "float32 images"),
        ("images of no pixels", {"images": images[..., :0]}, "images"),
        ("images of another size", {"images": torch.zeros(6, 1, 9, 8)}, "(1, 8, 8)"),
        ("images of another depth", {"images": images.repeat(1, 3, 1, 1)}, "mean"),
        ("one NaN", {"images": images.index_fill(0, torch.tensor([3]), math.nan)}, "NaN"),
        ("one infinity", {"images": images.index_fill(0, torch.tensor([3]), math.inf)}, "NaN"),
        ("labels too few", {"labels": labels[:5]}, "labels (6,)"),
        ("labels of int32", {"labels": labels.int()}, "int64 labels"),
        ("labels of float64", {"labels": labels.double()}, "int64 labels"),
        ("label of -1", {"labels": labels - 1}, "labels from 0 to 2"),
        ("label of 3", {"labels": labels + 1}, "labels from 0 to 2"),
        ("label of 2**62", {"labels": labels + 2**62}, "labels from 0 to 2"),
        ("soft labels that do not sum to 1", {"labels": torch.ones(6, 3)}, "sum to 1"),
        ("soft labels of NaN", {"labels": torch.full((6, 3), math.nan)}, "finite soft labels"),
        ("soft labels below 0", {"labels": torch.tensor([[2.0, -1.0, 0.0]] * 6)}, "sum to 1"),
        ("one tensor more", {"weights": torch.zeros(3)}, "not a proxy set"),
        ("format of another version", {"format": 2}, "proxy format 1, got 2"),
        ("format of another kind", {"format": [1]}, "proxy format 1"),
        ("method is a number", {"method": 7}, "method"),
        ("method is a list", {"method": ["dm"]}, "method"),
        ("options are a list", {"options": [1]}, "options"),
        ("dataset is a number", {"dataset": 7}, "dataset"),
        ("digest is a list", {"dataset_digest": ["x"]}, "dataset_digest"),
        ("digest of other data", {"dataset_digest": "0" * 16}, "condense"),
        ("mean is text", {"mean": "0.5"}, "numbers as mean"),
        ("mean is too long", {"mean": [0.5, 0.5]}, "numbers as mean"),
        ("mean is nested", {"mean": [[0.5]]}, "numbers as mean"),
        ("mean is true", {"mean": [True]}, "numbers as mean"),
        ("mean is NaN", {"mean": [math.nan]}, "numbers as mean"),
        ("mean beyond float", {"mean": [10**400]}, "numbers as mean"),
        ("std is infinite", {"std": [math.inf]}, "numbers as std"),
        ("std is zero", {"std": [0.0]}, "std above 0"),
        ("std is negative", {"std": [-1.0]}, "std above 0"),
        ("std is null", {"std": None}, "numbers as std"),
        ("class names are text", {"class_names": "abc"}, "class names"),
        ("class names are numbers", {"class_names": [0, 1, 2]}, "class names"),
        ("class names are lists", {"class_names": [[], [], []]}, "class names"),
        ("class names are an object", {"class_names": {"a": 0}}, "class names"),
        ("one class name", {"class_names": ["a"]}, "class names"),
        ("more class names than the data", {"class_names": list("abcdefgh")}, "classes"),
        ("seed is text", {"seed": "zero"}, "seed"),
        ("versions are a list", {"versions": []}, "versions"),
    ):  # fmt: skip

        def changed(folder: Path, good: Good, change: dict[str, Any] = change) -> Sequence[Any]:
            tensors, metadata = tensors_of(good.proxy)
            tensors = {"images": images, "labels": labels} if "images" in change else tensors
            for key, value in change.items():
                (tensors if isinstance(value, torch.Tensor) else metadata)[key] = value
            save_file(tensors, folder / "p.safetensors", {"nasproxy": json.dumps(metadata)})
            return ranked_by(folder / "p.safetensors", good)

        yield Case(f"proxy: {name}", changed, says)
    for key in ("format", "method", "dataset", "dataset_digest", "mean", "std", "class_names"):

        def lacking(folder: Path, good: Good, key: str = key) -> Sequence[Any]:
            tensors, metadata = tensors_of(good.proxy)
            del metadata[key]
            save_file(tensors, folder / "p.safetensors", {"nasproxy": json.dumps(metadata)})
            return ranked_by(folder / "p.safetensors", good)

        yield Case(f"proxy lacks {key}", lacking, key)
    for name, text in {
        "is not JSON": "{",
        "is empty": "",
        "is a list": "[1]",
        "is a number": "7",
        "is null": "null",
        "nests deeply": "[" * 100_000 + "]" * 100_000,
        "nests in one key": '{"format": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "has a number of 5,000 digits": '{"format": ' + "9" * 5_000 + "}",
    }.items():

        def metadata(folder: Path, good: Good, text: str = text) -> Sequence[Any]:
            save_file(tensors_of(good.proxy)[0], folder / "p.safetensors", {"nasproxy": text})
            return ranked_by(folder / "p.safetensors", good)

        yield Case(f"proxy metadata {name}", metadata, "p.safetensors")

    def foreign_keys(folder: Path, good: Good) -> Sequence[Any]:
        save_file(tensors_of(good.proxy)[0], folder / "p.safetensors", {"format": "pt"})
        return ranked_by(folder / "p.safetensors", good)

    yield Case("proxy metadata of another program", foreign_keys, "not a proxy set")

    def twice(folder: Path, good: Good) -> Sequence[Any]:
        tensors, about = tensors_of(good.proxy)
        text = json.dumps(about)[:-1] + ', "format": 1}'
        save_file(tensors, folder / "p.safetensors", {"nasproxy": text})
        return [*ranked_by(f"{folder / 'p.safetensors'}:epochs=1", good), "--json"]

    yield Case("proxy metadata has a key twice", twice, fine=lambda d: len(d["ranking"]) == 2)

    def unknown_key(folder: Path, good: Good) -> Sequence[Any]:
        tensors, about = tensors_of(good.proxy)
        save_file(tensors, folder / "p.safetensors", {"nasproxy": json.dumps({**about, "x": [1]})})
        return [*ranked_by(f"{folder / 'p.safetensors'}:epochs=1", good), "--json"]

    yield Case("proxy metadata has a key more", unknown_key, fine=lambda d: len(d["ranking"]) == 2)

    for name, cost in {
        "is binary": b"\xff\xfe\x00",
        "is a list": b"[]",
        "nests deeply": b"[" * 100_000,
        "has NaN": b'{"seconds": NaN, "digest": "DIGEST"}',
        "has text": b'{"seconds": "many", "digest": "DIGEST"}',
        "is negative": b'{"seconds": -5, "digest": "DIGEST"}',
    }.items():

        def beside(folder: Path, good: Good, cost: bytes = cost) -> Sequence[Any]:
            path = Path(shutil.copy(good.proxy, folder / "p.safetensors"))
            digest = nasproxy.ProxySet.load(path).digest
            path.with_suffix(".json").write_bytes(cost.replace(b"DIGEST", digest.encode()))
            return [*ranked_by(f"{path}:epochs=1", good), "--json"]

        yield Case(f"the cost beside a proxy {name}", beside, fine=lambda d: len(d["ranking"]) == 2)

    def folder_as_proxy(folder: Path, good: Good) -> Sequence[Any]:
        (folder / "p.safetensors").mkdir()
        return ranked_by(folder / "p.safetensors", good)

    yield Case("proxy is a folder", folder_as_proxy, "p.safetensors")

    def fifo(folder: Path, good: Good) -> Sequence[Any]:
        os.mkfifo(folder / "p.safetensors")
        return ranked_by(folder / "p.safetensors", good)

    yield Case("proxy is a pipe", fifo, "p.safetensors")

    def loop(folder: Path, good: Good) -> Sequence[Any]:
        (folder / "p.safetensors").symlink_to(folder / "p.safetensors")
        return ranked_by(folder / "p.safetensors", good)

    yield Case("proxy is a link to itself", loop, "p.safetensors")


def written(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


def _safetensors(header: str, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + body


def _entry(dtype: str, shape: tuple[int, ...], first: int, last: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


# Trained networks


def networks() -> Iterator[Case]:
    for percent in (0, 3, 30, 70, 99):

        def cut(folder: Path, good: Good, percent: int = percent) -> Callable[[], Any]:
            whole = good.network.read_bytes()
            path = written(folder / "n.safetensors", whole[: len(whole) * percent // 100])
            return lambda: nasproxy.load_network(path)

        yield Case(f"network cut at {percent}%", cut, "n.safetensors")
    for name, change, says in (
        ("space is a number", {"space": 3}, "space"),
        ("space is not there", {"space": "nowhere/at_all.py"}, "at_all.py"),
        ("space is unknown", {"space": "convnets"}, "did you mean"),
        ("digest is a list", {"space_sha256": []}, "has changed since"),
        ("params is a list", {"params": [1]}, "params"),
        ("params is null", {"params": None}, "params"),
        ("params lacks one", {"params": {"width": 8}}, "kind"),
        ("params has one more", {"params": {**PARAMS, "x": 1}}, "no such parameter: x"),
        ("params has another value", {"params": {**PARAMS, "width": 9}}, "width=9"),
        ("params has another kind of value", {"params": {**PARAMS, "width": {}}}, "width"),
        ("params can't be built", {"params": {"width": 2, "kind": "deep"}}, "too thin"),
        ("input shape is short", {"input_shape": [1, 8]}, "input_shape"),
        ("input shape is text", {"input_shape": "1x8"}, "input_shape"),
        ("input shape is negative", {"input_shape": [1, -8, 8]}, "input_shape"),
        ("input shape is another", {"input_shape": [1, 9, 9]}, "weights do not fit"),
        ("input shape is huge", {"input_shape": [3, 10**7, 10**7]}, "n.safetensors"),
        ("no classes", {"num_classes": None}, "num_classes"),
        ("classes below 0", {"num_classes": -3}, "num_classes"),
        ("classes are another number", {"num_classes": 4}, "weights do not fit"),
    ):

        def changed(folder: Path, good: Good, change: dict[str, Any] = change) -> Any:
            network = nasproxy.load_network(good.network)
            about = {**nasproxy.describe_network(good.network), **change}
            text = {"nasproxy": json.dumps(about)}
            save_file(dict(network.state_dict()), folder / "n.safetensors", text)
            return lambda: nasproxy.load_network(folder / "n.safetensors")

        yield Case(f"network: {name}", changed, says)
    for key in ("space", "space_sha256", "params", "input_shape", "num_classes"):

        def lacking(folder: Path, good: Good, key: str = key) -> Any:
            network = nasproxy.load_network(good.network)
            about = nasproxy.describe_network(good.network)
            del about[key]
            text = {"nasproxy": json.dumps(about)}
            save_file(dict(network.state_dict()), folder / "n.safetensors", text)
            return lambda: nasproxy.load_network(folder / "n.safetensors")

        yield Case(f"network lacks {key}", lacking, "n.safetensors")
    for name, text in {"nests deeply": "[" * 100_000, "is a list": "[]", "is text": "x"}.items():

        def metadata(folder: Path, good: Good, text: str = text) -> Any:
            save_file({"w": torch.zeros(1)}, folder / "n.safetensors", {"nasproxy": text})
            return lambda: nasproxy.load_network(folder / "n.safetensors")

        yield Case(f"network metadata {name}", metadata, "n.safetensors")

    def a_proxy(folder: Path, good: Good) -> Any:
        return lambda: nasproxy.load_network(good.proxy)

    yield Case("network is a proxy set", a_proxy, "not a trained network")
    for name, state in {
        "has no weights": {},
        "has other weights": {"1.weight": torch.zeros(8, 64, dtype=torch.float64)},
    }.items():

        def weights(folder: Path, good: Good, state: dict[str, Any] = state) -> Any:
            text = {"nasproxy": json.dumps(nasproxy.describe_network(good.network))}
            save_file(state, folder / "n.safetensors", text)
            return lambda: nasproxy.load_network(folder / "n.safetensors")

        yield Case(f"network {name}", weights, "weights do not fit")


# Proxy sets of other programs


def foreign() -> Iterator[Case]:
    images, labels = np.zeros((6, 1, 8, 8), np.float32), np.arange(6) % 3
    with_std = {"mean": np.array([0.5]), "std": np.array([0.25])}
    for name, arrays, says in (
        ("no labels", {"images": images}, "images and labels"),
        ("nothing", {}, "images and labels"),
        ("images of objects", {"images": np.array([None]), "labels": labels}, "plain arrays"),
        ("images of text", {"images": np.full((6, 1, 8, 8), "a"), "labels": labels}, "images"),
        ("images of complex numbers", {"images": images + 1j, "labels": labels}, "images"),
        ("images of int64", {"images": images.astype(int), "labels": labels}, "images"),
        ("images of dates", {"images": images.astype("M8[s]"), "labels": labels}, "images"),
        ("images of bool", {"images": images.astype(bool), "labels": labels}, "images"),
        ("a single number", {"images": np.float32(3), "labels": labels}, "four dimensions"),
        ("six dimensions", {"images": images[None, None], "labels": labels}, "four dimensions"),
        ("images of another size", {"images": images[..., :7], "labels": labels}, "(1, 8, 8)"),
        ("no images", {"images": images[:0], "labels": labels[:0]}, "images"),
        ("a stack of none", {"images": images[None][:0], "labels": labels}, "index"),
        ("labels of text", {"images": images, "labels": np.array(["a"] * 6)}, "labels"),
        ("labels of dates", {"images": images, "labels": labels.astype("M8[s]")}, "labels"),
        ("labels of complex", {"images": images, "labels": labels + 1j}, "labels"),
        ("labels of floats", {"images": images, "labels": labels + 0.5}, "labels"),
        ("labels too many", {"images": images, "labels": np.arange(7) % 3}, "labels"),
        ("labels below 0", {"images": images, "labels": labels - 1}, "labels from 0"),
        ("labels beyond", {"images": images, "labels": labels + 1}, "labels from 0"),
        ("labels of uint64 beyond", {"images": images, "labels": labels.astype("u8") + 2**63}, "labels"),
        ("a label alone", {"images": images, "labels": np.int64(1)}, "labels"),
        ("NaN", {"images": images * np.nan, "labels": labels}, "NaN"),
        ("infinity", {"images": images + np.inf, "labels": labels}, "NaN"),
        ("float64 beyond float32", {"images": images.astype(float) + 1e300, "labels": labels}, "NaN"),
        ("std of 0", {"images": images, "labels": labels, **with_std, "std": np.zeros(1)}, "std"),
        ("std of NaN", {"images": images, "labels": labels, **with_std, "std": np.full(1, np.nan)}, "std"),
        ("mean of text", {"images": images, "labels": labels, **with_std, "mean": np.array(["a"])}, "mean"),
        ("mean too long", {"images": images, "labels": labels, **with_std, "mean": np.zeros(3)}, "mean"),
        ("mean of objects", {"images": images, "labels": labels, **with_std, "mean": np.array([None])}, "plain arrays"),
    ):  # fmt: skip

        def spoilt(folder: Path, good: Good, arrays: dict[str, Any] = arrays) -> Sequence[Any]:
            np.savez(folder / "f.npz", **arrays)
            return ["import", folder / "f.npz", "--data", good.npz]

        yield Case(f"import: {name}", spoilt, says)
    for name, raw in {
        "is empty": b"",
        "is text": b"images",
        "header of 2**60": struct.pack("<Q", 2**60),
        "nests deeply": _safetensors("[" * 50_000),
    }.items():

        def raw_file(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            return ["import", written(folder / "f.safetensors", raw), "--data", good.npz]

        yield Case(f"import: .safetensors {name}", raw_file, "f.safetensors")
    for dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.bool):

        def odd(folder: Path, good: Good, dtype: torch.dtype = dtype) -> Sequence[Any]:
            tensors = {"images": torch.zeros(6, 1, 8, 8).to(dtype), "labels": torch.arange(6) % 3}
            save_file(tensors, folder / "f.safetensors")
            return ["import", folder / "f.safetensors", "--data", good.npz, "--json"]

        fine = (lambda d: d["images"] == 6) if dtype is not torch.bool else None
        yield Case(f"import: .safetensors of {dtype}", odd, "f.safetensors", fine)

    def pickled(folder: Path, good: Good) -> Sequence[Any]:
        torch.save({"images": torch.zeros(6, 1, 8, 8)}, folder / "f.pt")
        return ["import", folder / "f.pt", "--data", good.npz]

    yield Case("import: a file of torch.save", pickled, "f.pt")

    def float16(folder: Path, good: Good) -> Sequence[Any]:
        np.savez(folder / "f.npz", images=images.astype(np.float16), labels=labels.astype(np.uint8))
        return ["import", folder / "f.npz", "--data", good.npz, "--json"]

    yield Case("import: float16 and uint8", float16, fine=lambda d: d["images"] == 6)


# Arrays in .npz files


def arrays() -> Iterator[Case]:
    x, y = make_arrays(60)
    for name, change, says in (
        ("no x_train", {"x_train": None}, "x_train"),
        ("no y_train", {"y_train": None}, "y_train"),
        ("x_test alone", {"x_test": x}, "y_test"),
        ("y_test alone", {"y_test": y}, "x_test"),
        ("pickled images", {"x_train": np.array([x, None], object)}, "plain arrays"),
        ("pickled labels", {"y_train": y.astype(object)}, "plain arrays"),
        ("pickled class names", {"class_names": np.array(["a", "b", "c"], object)}, "plain arrays"),
        ("pickled array beside", {"notes": np.array([{}], object)}, "plain arrays"),
        ("images of float64", {"x_train": x / 255}, "uint8"),
        ("images of NaN", {"x_train": x * np.nan}, "uint8"),
        ("images of int64", {"x_train": x.astype(int)}, "uint8"),
        ("images of int8", {"x_train": x.astype(np.int8)}, "uint8"),
        ("images of bool", {"x_train": x > 99}, "uint8"),
        ("images of text", {"x_train": x.astype(str)}, "uint8"),
        ("images of records", {"x_train": np.zeros(60, "u1,u1")}, "uint8"),
        ("images of two dimensions", {"x_train": x[:, 0]}, "uint8"),
        ("images of five dimensions", {"x_train": x[..., None, None]}, "uint8"),
        ("an image alone", {"x_train": np.uint8(3)}, "uint8"),
        ("images of two channels", {"x_train": np.stack([x, x], -1)}, "channels"),
        ("images of no channels", {"x_train": np.zeros((60, 8, 8, 0), np.uint8)}, "channels"),
        ("channels first", {"x_train": np.stack([x] * 3, 1)}, "channels"),
        ("images of 3x3", {"x_train": x[:, :3, :3]}, "4x4"),
        ("images of no height", {"x_train": x[:, :0]}, "4x4"),
        ("no images", {"x_train": x[:0], "y_train": y[:0]}, "got none"),
        ("one image", {"x_train": x[:1], "y_train": y[:1]}, "classes"),
        ("labels too few", {"y_train": y[:59]}, "60 integer"),
        ("labels too many", {"y_train": np.r_[y, 0]}, "60 integer"),
        ("labels of floats", {"y_train": y.astype(float)}, "integer"),
        ("labels of NaN", {"y_train": y * np.nan}, "integer"),
        ("labels of text", {"y_train": y.astype(str)}, "integer"),
        ("labels of bool", {"y_train": y > 1}, "integer"),
        ("labels of complex numbers", {"y_train": y + 1j}, "integer"),
        ("labels of dates", {"y_train": y.astype("M8[s]")}, "integer"),
        ("labels of spans", {"y_train": y.astype("m8[s]")}, "integer"),
        ("labels one-hot", {"y_train": np.eye(3, dtype=int)[y]}, "integer"),
        ("labels below 0", {"y_train": y - 1}, "labels from 0"),
        ("label of 10**9", {"y_train": np.where(y == 2, 10**9, y)}, "labels from 0"),
        ("label of 10**18", {"y_train": np.where(y == 2, 10**18, y)}, "labels from 0"),
        ("labels of uint64 beyond", {"y_train": y.astype("u8") + 2**63}, "labels"),
        ("one class", {"y_train": y * 0}, "two classes"),
        ("a class of one", {"y_train": np.r_[y[:-1] % 2, 2]}, "class '2'"),
        ("a class of none", {"y_train": np.where(y == 1, 3, y)}, "class '1'"),
        ("class names too few", {"class_names": np.array(["a", "b"])}, "labels from 0 to 1"),
        ("class names too many", {"class_names": np.array(list("abcd"))}, "class 'd'"),
        ("no class names", {"class_names": np.array([], str)}, "labels"),
        ("a class name twice", {"class_names": np.array(["a", "b", "a"])}, "'a' is there twice"),
        ("test of another size", {"x_test": x[:, :7], "y_test": y}, "make them alike"),
        ("test labels beyond", {"x_test": x, "y_test": y + 1}, "labels from 0"),
        ("test of floats", {"x_test": x / 255, "y_test": y}, "uint8 test"),
        ("no test images", {"x_test": x[:0], "y_test": y[:0]}, "test"),
    ):

        def spoilt(folder: Path, good: Good, change: dict[str, Any] = change) -> Sequence[Any]:
            held = {"x_train": x, "y_train": y, **change}
            np.savez(folder / "d.npz", **{k: v for k, v in held.items() if v is not None})
            return condensed(folder / "d.npz")

        yield Case(f"npz: {name}", spoilt, says)
    for name, held in {
        "Fortran order": {"x_train": np.asfortranarray(x), "y_train": y},
        "big-endian labels": {"x_train": x, "y_train": y.astype(">i8")},
        "labels of uint8 in a column": {"x_train": x, "y_train": y.astype(np.uint8)[:, None]},
        "all images black": {"x_train": x * 0, "y_train": y},
        "class names of numbers": {"x_train": x, "y_train": y, "class_names": np.arange(3)},
        "class names of formulas": {
            "x_train": x, "y_train": y, "class_names": np.array(["$x$", "$\\frac$", "_^{"]),
        },
        "class names in other scripts": {
            "x_train": x, "y_train": y, "class_names": np.array(["chaîne", "Ελλ", "日本🐈"]),
        },
        "class names with control characters": {
            "x_train": x, "y_train": y, "class_names": np.array(["a\x1b[31m", "b\nb", "\x07"]),
        },
        "class names of 2,000 characters": {
            "x_train": x, "y_train": y, "class_names": np.array([c * 2000 for c in "abc"]),
        },
        "an array more": {"x_train": x, "y_train": y, "notes": np.array(["mine"])},
    }.items():  # fmt: skip

        def fine(folder: Path, good: Good, held: dict[str, Any] = held) -> Sequence[Any]:
            np.savez(folder / "d.npz", **held)
            return condensed(folder / "d.npz", "--json")

        yield Case(f"npz: {name}", fine, fine=lambda d: d["images"] == 3)


def npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


def npy_header(shape: Any, descr: str = "'|u1'", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text


def zips() -> Iterator[Case]:
    x, y = make_arrays(60)
    members = {"x_train.npy": npy(x), "y_train.npy": npy(y)}
    for percent in (0, 1, 30, 60, 90, 99):

        def cut(folder: Path, good: Good, percent: int = percent) -> Sequence[Any]:
            whole = good.npz.read_bytes()
            return condensed(written(folder / "d.npz", whole[: len(whole) * percent // 100]))

        yield Case(f"npz cut at {percent}%", cut, "d.npz")
    pickle = (
        b"\x93NUMPY\x01\x00" + npy_header("(1,)", "'|O'")[8:] + b"cos\nsystem\n(S'touch o'\ntR."
    )
    for name, change in {
        "raw bytes for images": {"x_train.npy": None, "x_train": b"not an array"},
        "raw bytes for labels": {"y_train.npy": None, "y_train": b"not an array"},
        "images without a header": {"x_train.npy": b""},
        "images with half a header": {"x_train.npy": npy(x)[:40]},
        "images cut": {"x_train.npy": npy(x)[:500]},
        "a pickle in the place of labels": {"y_train.npy": pickle},
        "header with code": {"x_train.npy": npy_header("(__import__('os').getpid(), 8, 8)")},
        "header that nests deeply": {"x_train.npy": npy_header("(" * 3000 + ")" * 3000)},
        "header of unknown version": {"x_train.npy": npy_header((60, 8, 8), version=b"\x09\x00")},
        "images declared to be 2 TB": {"x_train.npy": npy_header((2**35, 8, 8)) + bytes(64)},
        "images declared to be 8 EB": {"x_train.npy": npy_header((2**57, 8, 8)) + bytes(64)},
        "images declared beyond 64 bits": {"x_train.npy": npy_header((2**70, 8, 8)) + bytes(64)},
        "images of a negative number": {"x_train.npy": npy_header((-60, 8, 8)) + bytes(64 * 60)},
        "images of many and none": {"x_train.npy": npy_header((2**40, 0, 8))},
        "labels declared to be 8 TB": {"y_train.npy": npy_header((2**40,), "'<i8'") + bytes(8)},
        "a shape of floats": {"x_train.npy": npy_header((6.0, 8, 8)) + bytes(400)},
    }.items():

        def made(folder: Path, good: Good, change: dict[str, Any] = change) -> Sequence[Any]:
            with zipfile.ZipFile(folder / "d.npz", "w") as archive:
                for member, raw in {**members, **change}.items():
                    if raw is not None:
                        archive.writestr(member, raw)
            return condensed(folder / "d.npz")

        yield Case(f"npz: {name}", made, "d.npz")
        if "declared" in name:

            def packed(folder: Path, good: Good, change: dict[str, Any] = change) -> Sequence[Any]:
                with zipfile.ZipFile(folder / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
                    for member, raw in {**members, **change}.items():
                        archive.writestr(member, raw)
                return condensed(folder / "d.npz")

            yield Case(f"npz, compressed: {name}", packed, "d.npz")

    def bomb(folder: Path, good: Good) -> Sequence[Any]:
        with zipfile.ZipFile(folder / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("y_train.npy", npy(y))
            archive.writestr("x_train.npy", npy_header((3 * 2**14, 256, 256)) + bytes(2**20))
            archive.getinfo("x_train.npy").file_size = 3 * 2**30
        return condensed(folder / "d.npz")

    yield Case("npz: 3 GiB in 1 kB", bomb, "unpacks to 3221225472 bytes")

    def odd_names(folder: Path, good: Good) -> Sequence[Any]:
        with zipfile.ZipFile(folder / "d.npz", "w") as archive:
            for member, raw in members.items():
                archive.writestr(member, raw)
            for member in ("../../escaped.npy", "/tmp/escaped.npy", "..\\escaped.npy", "a\nb.npy"):
                archive.writestr(member, npy(y))
        return condensed(folder / "d.npz", "--json")

    yield Case("npz: members named for other folders", odd_names, fine=lambda d: d["images"] == 3)

    def only_odd_names(folder: Path, good: Good) -> Sequence[Any]:
        with zipfile.ZipFile(folder / "d.npz", "w") as archive:
            for member, raw in members.items():
                archive.writestr(f"../{member}", raw)
        return condensed(folder / "d.npz")

    yield Case("npz: all members are elsewhere", only_odd_names, "x_train")

    def encrypted(folder: Path, good: Good) -> Sequence[Any]:
        raw = bytearray(good.npz.read_bytes())
        at = raw.rfind(b"PK\x01\x02")
        raw[at + 8] |= 1
        raw[raw.find(b"PK\x03\x04") + 6] |= 1
        return condensed(written(folder / "d.npz", bytes(raw)))

    yield Case("npz: encrypted", encrypted, "d.npz")

    def wrong_sum(folder: Path, good: Good) -> Sequence[Any]:
        raw = bytearray(good.npz.read_bytes())
        raw[raw.find(b"\x93NUMPY") + 200] ^= 255
        return condensed(written(folder / "d.npz", bytes(raw)))

    yield Case("npz: a wrong checksum", wrong_sum, "d.npz")
    for name, raw in {
        "empty": b"", "text": b"text", "a lone array": npy(x), "no members": b"PK\x05\x06" + bytes(18),
    }.items():  # fmt: skip

        def raw_file(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            return condensed(written(folder / "d.npz", raw))

        yield Case(f"npz is {name}", raw_file, "d.npz")

    def a_folder(folder: Path, good: Good) -> Sequence[Any]:
        (folder / "d.npz").mkdir()
        return condensed(folder / "d.npz")

    yield Case("npz is a folder", a_folder, "d.npz")

    def pipe(folder: Path, good: Good) -> Sequence[Any]:
        os.mkfifo(folder / "d.npz")
        return condensed(folder / "d.npz")

    yield Case("npz is a pipe", pipe, "d.npz")


def npy_folders() -> Iterator[Case]:
    x, y = make_arrays(60)
    for name, change, says in (
        ("images cut", {"x_train": npy(x)[:500]}, "x_train.npy"),
        ("images empty", {"x_train": b""}, "x_train.npy"),
        ("labels cut", {"y_train": npy(y)[:200]}, "y_train.npy"),
        ("labels pickled", {"y_train": npy(y.astype(object))}, "y_train.npy"),
        ("labels a bare pickle", {"y_train": b"\x80\x04cos\nsystem\n."}, "y_train.npy"),
        ("labels missing", {"y_train": None}, "y_train"),
        ("images declared to be 2 TB", {"x_train": npy_header((2**35, 8, 8))}, ""),
        ("images and labels declared to be huge", {
            "x_train": npy_header((2**35, 8, 8)), "y_train": npy_header((2**35,), "'<i8'"),
        }, "train.npy"),
        ("images of 2 GiB that are not there", {
            "x_train": npy_header((60, 2**13, 2**12)) + bytes(100),
        }, "x_train.npy"),
        ("another file is spoilt", {"notes": b"\x93NUMPY\x01"}, "notes.npy"),
    ):  # fmt: skip

        def spoilt(folder: Path, good: Good, change: dict[str, Any] = change) -> Sequence[Any]:
            for stem, raw in {"x_train": npy(x), "y_train": npy(y), **change}.items():
                if raw is not None:
                    (folder / f"{stem}.npy").write_bytes(raw)
            return condensed(folder)

        yield Case(f"npy folder: {name}", spoilt, says)

    def pipe(folder: Path, good: Good) -> Sequence[Any]:
        (folder / "x_train.npy").write_bytes(npy(x))
        os.mkfifo(folder / "y_train.npy")
        return condensed(folder)

    yield Case("npy folder: labels are a pipe", pipe, "y_train.npy")


# Folders of images


def png(array: np.ndarray, **options: Any) -> bytes:
    return encoded(Image.fromarray(array), "PNG", **options)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, kind, **options)
    return held.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG that declares a size, and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )  # fmt: skip


def fill(folder: Path, classes: Iterable[str] = ("cat", "dog"), count: int = 6) -> None:
    """Colour images of 32x32, a folder a class."""
    generator = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            (folder / name / f"{number}.png").write_bytes(png(pixels))


def image_folders() -> Iterator[Case]:
    generator = np.random.default_rng(0)
    colour = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = Image.fromarray(colour)
    jpeg = encoded(image, "JPEG")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n(owned) print\n"
    for name, raw in {
        "no bytes": b"",
        "text": b"not a picture",
        "PNG cut at the header": png(colour)[:20],
        "PNG cut in half": png(colour)[: len(png(colour)) // 2],
        "PNG cut near the end": png(colour)[:-30],
        "PNG with a wrong checksum": png(colour).replace(b"IDAT", b"IDAT\x00", 1)[:-1],
        "PNG of 60,000x60,000": png_of(60_000, 60_000),
        "PNG of 2**31 x 2**31": png_of(2**31 - 1, 2**31 - 1),
        "PNG of 12,000x12,000": png_of(12_000, 12_000),
        "PNG of no width": png_of(0, 32),
        "JPEG cut in half": jpeg[: len(jpeg) // 2],
        "JPEG cut at the header": jpeg[:15],
        "GIF cut": encoded(image, "GIF")[:60],
        "BMP of negative size": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, -9, -9, 1, 24, 0, 16, 1, 1, 0, 0),
        "TIFF that points to itself": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
        "EPS, which is a program": eps,
        "a zip": b"PK\x03\x04" + bytes(64),
    }.items():  # fmt: skip

        def spoilt(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            fill(folder)
            (folder / "dog" / "3.png").write_bytes(raw)
            return condensed(folder)

        yield Case(f"images: {name} among good ones", spoilt, "3.png")

        def first(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            fill(folder)
            (folder / "cat" / "0.png").write_bytes(raw)
            return condensed(folder)

        yield Case(f"images: {name} before good ones", first, "0.png")
    grey = Image.fromarray(colour[..., 0])
    deep = Image.fromarray((np.arange(1024, dtype=np.uint16) * 60).reshape(32, 32))
    frames = [Image.fromarray(colour), Image.fromarray(255 - colour)]
    clear = image.quantize(8)
    for name, ending, raw in (
        ("grey", "png", encoded(grey, "PNG")),
        ("of one bit", "png", encoded(grey.convert("1"), "PNG")),
        ("of 16 bits", "png", encoded(deep, "PNG")),
        ("of floats", "tif", encoded(grey.convert("F"), "TIFF")),
        ("of 32 bits", "tif", encoded(grey.convert("I"), "TIFF")),
        ("with a palette", "png", encoded(clear, "PNG")),
        ("with a clear palette", "png", encoded(clear, "PNG", transparency=bytes(range(8)))),
        ("with a clear colour", "gif", encoded(clear, "GIF", transparency=2)),
        ("with opacity", "png", encoded(image.convert("RGBA"), "PNG")),
        ("grey with opacity", "png", encoded(grey.convert("LA"), "PNG")),
        ("in CMYK", "jpg", encoded(image.convert("CMYK"), "JPEG")),
        ("animated GIF", "gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])),
        ("animated PNG", "png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])),
        ("of another size", "png", encoded(image.resize((70, 9)), "PNG")),
        ("of one pixel", "png", encoded(image.resize((1, 1)), "PNG")),
        ("a JPEG with the wrong ending", "png", jpeg),
        ("with a capital ending", "PNG", png(colour)),
    ):

        def odd(folder: Path, good: Good, raw: bytes = raw, ending: str = ending) -> Sequence[Any]:
            fill(folder)
            (folder / "cat" / f"odd.{ending}").write_bytes(raw)
            return condensed(folder, "--json")

        yield Case(f"images: one {name}", odd, fine=lambda d: len(d["mean"]) == 3)

        def odd_first(
            folder: Path, good: Good, raw: bytes = raw, ending: str = ending
        ) -> Sequence[Any]:
            fill(folder)
            (folder / "cat" / f" first.{ending}").write_bytes(raw)
            return condensed(folder, "--json")

        yield Case(f"images: the first {name}", odd_first, fine=lambda d: len(d["mean"]) == 3)
    for name, inside in {
        "hidden files": (".hidden.png", "._0.png", ".DS_Store"),
        "other files": ("Thumbs.db", "notes.txt", "labels.csv"),
    }.items():

        def beside(folder: Path, good: Good, inside: Sequence[str] = inside) -> Sequence[Any]:
            fill(folder)
            for file in inside:
                (folder / "cat" / file).write_bytes(b"\x00\x05\x16\x07 not a picture")
                (folder / file).write_bytes(b"not a folder")
            (folder / ".git").mkdir()
            (folder / ".git" / "index").write_bytes(b"")
            return condensed(folder, "--json")

        yield Case(f"images: {name}", beside, fine=lambda d: d["class_names"] == ["cat", "dog"])
    odd_names = {
        "a line break": b"a\nb",
        "no UTF-8": b"a\xff\xfe",
        "a control character": b"a\x1b[31m",
        "a formula": b"$\\frac$",
        "spaces": b"  ",
        "200 characters": b"x" * 200,
    }
    for name, raw in odd_names.items():

        def named(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            fill(folder, ("cat", os.fsdecode(raw)))
            return condensed(folder, "--json")

        yield Case(f"images: class with {name}", named, fine=lambda d: d["images"] == 2)

        def broken(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            fill(folder)
            (folder / "cat" / f"{os.fsdecode(raw)}.png").write_bytes(b"")
            return condensed(folder)

        yield Case(f"images: broken file with {name}", broken, "not a readable image")

        def folder_named(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            fill(folder / os.fsdecode(raw))
            return condensed(folder / os.fsdecode(raw), "--json")

        yield Case(f"images: folder with {name}", folder_named, fine=lambda d: d["images"] == 2)

    def empty(folder: Path, good: Good) -> Sequence[Any]:
        return condensed(folder)

    yield Case("images: an empty folder", empty, "one folder of images a class")

    def empty_class(folder: Path, good: Good) -> Sequence[Any]:
        fill(folder)
        (folder / "owl").mkdir()
        return condensed(folder)

    yield Case("images: an empty class", empty_class, "owl: expected images, found none")

    def one_class(folder: Path, good: Good) -> Sequence[Any]:
        fill(folder, ("cat",))
        return condensed(folder)

    yield Case("images: one class", one_class, "two classes")

    def few(folder: Path, good: Good) -> Sequence[Any]:
        fill(folder, count=3)
        return condensed(folder)

    yield Case("images: three a class", few, "5 is the least")

    def flat(folder: Path, good: Good) -> Sequence[Any]:
        (folder / "0.png").write_bytes(png(colour))
        return condensed(folder)

    yield Case("images: no folder a class", flat, "one folder of images a class")

    def file_for_folder(folder: Path, good: Good) -> Sequence[Any]:
        return condensed(written(folder / "images", b"not a folder"))

    yield Case("images: a file in the place of the folder", file_for_folder, "images")

    def no_test_class(folder: Path, good: Good) -> Sequence[Any]:
        fill(folder / "train")
        fill(folder / "test", ("cat",))
        return condensed(folder)

    yield Case("images: a class without test images", no_test_class, "'dog'")

    def test_class_more(folder: Path, good: Good) -> Sequence[Any]:
        fill(folder / "train")
        fill(folder / "test", ("cat", "dog", "owl"))
        return condensed(folder)

    yield Case("images: a class of test images alone", test_class_more, "'owl'")

    def folder_as_image(folder: Path, good: Good) -> Sequence[Any]:
        fill(folder)
        (folder / "cat" / "more.png").mkdir()
        (folder / "cat" / "more.png" / "7.png").write_bytes(png(colour))
        return condensed(folder, "--json")

    yield Case("images: a folder named like one", folder_as_image, fine=lambda d: d["images"] == 2)

    def link(target: Callable[[Path], Path]) -> Callable[[Path, Good], Sequence[Any]]:
        def linked(folder: Path, good: Good) -> Sequence[Any]:
            fill(folder / "here")
            (folder / "elsewhere.png").write_bytes(png(colour))
            (folder / "here" / "cat" / "7.png").symlink_to(target(folder))
            return condensed(folder / "here", "--json")

        return linked

    outside = link(lambda folder: folder / "elsewhere.png")
    yield Case("images: a link out of the folder", outside, fine=lambda d: d["images"] == 2)
    nowhere = link(lambda folder: folder / "nowhere.png")
    yield Case("images: a link to nothing", nowhere, "7.png: not a readable image")
    itself = link(lambda folder: folder / "here" / "cat" / "7.png")
    yield Case("images: a link to itself", itself, "7.png: not a readable image")

    def loop(folder: Path, good: Good) -> Sequence[Any]:
        fill(folder)
        (folder / "cat" / "again").symlink_to(folder)
        (folder / "cat" / "up").symlink_to(folder / "cat")
        return condensed(folder, "--json")

    yield Case("images: links to folders above", loop, fine=lambda d: d["images"] == 2)

    def pipe(folder: Path, good: Good) -> Sequence[Any]:
        fill(folder)
        os.mkfifo(folder / "cat" / "7.png")
        return condensed(folder)

    yield Case("images: a pipe", pipe, "7.png: not a readable image")


# torchvision's own files


def torchvision_files() -> Iterator[Case]:
    def idx(array: np.ndarray) -> bytes:
        head = struct.pack(">HBB", 0, 8, array.ndim)
        return head + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()

    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
    sound = {
        f"{stem}-{what}": idx(array)
        for stem in ("train", "t10k")
        for what, array in (
            ("images-idx3-ubyte", images),
            ("labels-idx1-ubyte", np.arange(60, dtype=np.uint8) % 10),
        )
    }
    first, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    for name, change in {
        "images cut": {first: sound[first][:5000]},
        "images empty": {first: b""},
        "images cut in the header": {first: sound[first][:6]},
        "images declared to be 4 GB": {first: sound[first][:4] + b"\x00\xff\xff\xff" + sound[first][8:]},
        "images of another number": {first: idx(images[:50])},
        "images of one dimension": {first: sound[labels]},
        "images are text": {first: b"no numbers here"},
        "images of an unknown kind": {first: b"\x00\x00\x07\x03" + sound[first][4:]},
        "labels cut": {labels: sound[labels][:30]},
        "labels beyond": {labels: idx(np.full(60, 200, np.uint8))},
    }.items():  # fmt: skip

        def spoilt(folder: Path, good: Good, change: dict[str, bytes] = change) -> Sequence[Any]:
            raw = folder / "MNIST" / "raw"
            raw.mkdir(parents=True)
            for file, content in {**sound, **change}.items():
                (raw / file).write_bytes(content)
            return condensed("mnist", "--root", folder)

        yield Case(f"mnist: {name}", spoilt, "mnist")
    for name, content in {
        "pickle that runs code": b"cos\nsystem\n(S'touch owned'\ntR.",
        "batch cut": b"\x80\x04\x95",
        "batch empty": b"",
    }.items():

        def cifar(folder: Path, good: Good, content: bytes = content) -> Sequence[Any]:
            batches = folder / "cifar-10-batches-py"
            batches.mkdir()
            for file in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"):
                (batches / file).write_bytes(content)
            return condensed("cifar10", "--root", folder)

        yield Case(f"cifar10: {name}", cifar, "CIFAR10")

    def spoilt_npz(folder: Path, good: Good) -> Sequence[Any]:
        return condensed("cifar10", "--root", written(folder / "cifar10.npz", b"PK").parent)

    yield Case("cifar10: a spoilt .npz", spoilt_npz, "cifar10.npz")

    def root_is_a_file(folder: Path, good: Good) -> Sequence[Any]:
        return condensed("cifar10", "--root", written(folder / "root", b""))

    yield Case("cifar10: the root is a file", root_is_a_file, "root")


# Tables


def tables() -> Iterator[Case]:
    rows = "".join(f"a{n},{n / 10},{n % 3}\n" for n in range(6))
    sound = "arch,acc,other\n" + rows
    packed = gzip.compress(sound.encode())
    for name, raw, says in (
        ("empty", b"", "'acc'"),
        ("a header alone", b"arch,acc,other\n", "holds no numbers"),
        ("blank lines", b"\n\n\n", "'acc'"),
        ("binary", bytes(range(256)) * 4, "t.csv"),
        ("random", np.random.default_rng(0).bytes(4000), "t.csv"),
        ("in UTF-16", sound.encode("utf-16"), "UTF-8"),
        ("in latin-1", sound.replace("a0", "é").encode("latin-1"), "UTF-8"),
        ("NUL in a field", sound.replace("a3", "a\0").encode(), "NUL"),
        ("no such column", sound.replace("acc", "accs").encode(), "did you mean 'accs'"),
        ("no architectures", sound.replace("arch", "name").encode(), "arch or architecture"),
        ("the column twice", sound.replace("other", "acc").encode(), "'acc' twice"),
        ("the architecture twice", (sound + "a3,1,1\n").encode(), "a3 twice"),
        ("a row without an architecture", (sound + ",1,1\n").encode(), "arch"),
        ("rows of one field", ("arch,acc\n" + "a\n" * 3).encode(), "a twice"),
        ("no numbers", sound.replace("0.", "x").replace("a0,x0", "a0,x").encode(), "no numbers"),
        ("all NaN", ("arch,acc,other\n" + "".join(f"a{n},nan,1\n" for n in range(6))).encode(), "no numbers"),
        ("all missing", ("arch,acc,other\n" + "".join(f"a{n},,1\n" for n in range(6))).encode(), "no numbers"),
        ("a quote that never ends", sound.replace("a3", '"a3').encode(), "t.csv"),
        ("a field of 1 MB", sound.replace("a3", "a" * 10**6).encode(), "field"),
        ("separated by semicolons", sound.replace(",", ";").encode(), "'acc'"),
        ("separated by tabs", sound.replace(",", "\t").encode(), "'acc'"),
        ("gzip cut", packed[:-10], "t.csv"),
        ("gzip cut at the header", packed[:5], "t.csv"),
        ("gzip with spoilt data", packed[:20] + b"\xff" * 20 + packed[40:], "t.csv"),
        ("gzip with a wrong checksum", packed[:-8] + bytes(8), "t.csv"),
        ("gzip of 300 MB of zeros", gzip.compress(bytes(2**20)) * 300, "t.csv"),
        ("gzip of binary", gzip.compress(bytes(range(256))), "UTF-8"),
    ):  # fmt: skip

        def spoilt(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            path = written(folder / "t.csv", raw)
            return compared(f"table:{path}:acc", f"table:{path}:other")

        yield Case(f"table: {name}", spoilt, says)
    for name, raw, n in (
        ("with a byte order mark", b"\xef\xbb\xbf" + sound.encode(), 6),
        ("with Windows line ends", sound.replace("\n", "\r\n").encode(), 6),
        ("with blank lines", sound.replace("a3", "\n\na3").encode(), 6),
        ("with some missing", sound.replace("0.3", "").encode(), 5),
        ("with some text", sound.replace("0.3", "failed").encode(), 5),
        ("with short rows", (sound + "b\n").encode(), 6),
        ("with long rows", (sound + "b,0.5,1,7,8\n").encode(), 7),
        ("with no line end", sound.rstrip().encode(), 6),
        ("with quoted commas", sound.replace("a3", '"a,3"').encode(), 6),
        ("with formulas", sound.replace("a3", "=cmd|' /C calc'!A0").encode(), 6),
        ("in other scripts", sound.replace("a3", "日本🐈").encode(), 6),
        ("gzipped", packed, 6),
        ("gzipped in two parts", gzip.compress(b"arch,acc,other\n") + gzip.compress(rows.encode()), 6),
    ):  # fmt: skip

        def sound_table(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            path = written(folder / "t.csv", raw)
            return [*compared(f"table:{path}:acc", f"table:{path}:other"), "--json"]

        yield Case(f"table {name}", sound_table, fine=lambda d, n=n: d["n"] == n)
    for name, given, says in (
        ("is not there", "table:nowhere.csv:acc", "nowhere.csv"),
        ("is a folder", "table:FOLDER:acc", "no such table"),
        ("has no name", "table::acc", "table"),
        ("has no column", "table:TABLE", "table"),
        ("has an empty column", "table:TABLE:", "column ''"),
        ("alone", "table:", "table"),
    ):

        def elsewhere(folder: Path, good: Good, given: str = given) -> Sequence[Any]:
            given = given.replace("FOLDER", str(folder)).replace("TABLE", str(good.table))
            return compared(given, f"table:{good.table}:other")

        yield Case(f"table {name}", elsewhere, says)


# YAML


def configs() -> Iterator[Case]:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi")
    )
    for name, text, says in (
        ("unknown key", "ipcs: 3\n", "ipcs"),
        ("unknown key inside", "proxy: {epoch: 3}\n", "epoch"),
        ("text for a number", "ipc: many\n", "ipc"),
        ("a list for a number", "ipc: [1]\n", "ipc"),
        ("an object for a number", "ipc: {a: 1}\n", "ipc"),
        ("null for a number", "ipc: null\n", "ipc"),
        ("null for a number in a recipe", "proxy: {lr: null}\n", "c.yaml"),
        ("NaN for a number", "ipc: .nan\n", "ipc"),
        ("a date for a number", "ipc: 2026-01-01\n", "ipc"),
        ("a number for a flag", "quiet: 7\n", "trials"),
        ("a list for text", "data: [a]\n", "data"),
        ("an object for text", "data: {a: 1}\n", "data"),
        ("text for a recipe", "proxy: quick\n", "proxy"),
        ("a list for a recipe", "proxy: [1]\n", "proxy"),
        ("an unknown schedule", "proxy: {schedule: cosin}\n", "schedule"),
        ("out of range", "proxy: {epochs: 0}\n", "epochs"),
        ("not YAML", "a: [\n", "c.yaml"),
        ("bad indentation", "data: x\n  ipc: 3\n ipc: 4\n", "c.yaml"),
        ("tabs", "proxy:\n\tepochs: 3\n", "c.yaml"),
        ("a list", "- 1\n- 2\n", "c.yaml"),
        ("a text", "just words\n", "c.yaml"),
        ("a number", "7\n", "c.yaml"),
        ("two documents", "ipc: 3\n---\nipc: 4\n", "c.yaml"),
        ("an unknown anchor", "ipc: *x\n", "c.yaml"),
        ("a key twice", "ipc: 3\nipc: 4\n", "ipc"),
        ("a list as a key", "[a]: 3\n", "c.yaml"),
        ("python object", "data: !!python/object:os.system {}\n", "c.yaml"),
        ("python call", "data: !!python/object/apply:os.system ['touch owned']\n", "c.yaml"),
        ("python name", "data: !!python/name:os.system\n", "c.yaml"),
        ("python module", "data: !!python/module:antigravity\n", "c.yaml"),
        ("unknown tag", "data: !mine x\n", "c.yaml"),
        ("contains itself", "proxy: &a [*a]\n", "proxy"),
        ("contains itself as text", "data: &a [*a]\n", "*a"),
        ("an alias bomb", bomb + "data: *i\n", "c.yaml"),
        ("an alias bomb for a number", bomb.replace("i: &i", "ipc:"), "c.yaml"),
        ("deep nesting", "data: " + "[" * 5000 + "]" * 5000 + "\n", "c.yaml"),
        ("a long number", "ipc: " + "9" * 10_000 + "\n", "c.yaml"),
        ("NUL in the text", 'data: "a\\0b"\n', "data"),
        ("a config in a config", "config: other.yaml\n", "config"),
        ("print_config", "print_config: true\n", "print_config"),
        ("the class of a recipe", "proxy: {class_path: os.system, init_args: {}}\n", "proxy"),
    ):

        def spoilt(folder: Path, good: Good, text: str = text) -> Sequence[Any]:
            path = written(folder / "c.yaml", text.encode())
            return ["run", "--config", path, "--trials", 0]  # no run, if it should be taken

        yield Case(f"config: {name}", spoilt, says)
    for name, raw in {
        "binary": bytes(range(256)),
        "in UTF-16": "ipc: 3\n".encode("utf-16"),
        "in latin-1": "data: é\n".encode("latin-1"),
        "NUL": b"ipc: 3\0\n",
        "empty": b"",
        "a comment": b"# nothing\n",
    }.items():

        def raw_config(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            return ["run", "--config", written(folder / "c.yaml", raw)]

        yield Case(f"config is {name}", raw_config, "c.yaml")
    for name, raw in {"with a mark": b"\xef\xbb\xbfwhat: methods\n"}.items():

        def empty(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            path = written(folder / "c.yaml", raw)
            return ["list", "--config", path, "methods", "--json"]

        yield Case(f"config is {name}", empty, fine=lambda d: "dm" in d["methods"])
    for name, path in {
        "is not there": "nowhere.yaml",
        "is a folder": ".",
        "is no name": "",
    }.items():

        def nowhere(folder: Path, good: Good, path: str = path) -> Sequence[Any]:
            return ["run", "--config", path]

        yield Case(f"config {name}", nowhere, "config")


# Storages


# a writer may touch the file before it comes to these
_FOUND_WHEN_READ = {
    "columns of another name": "ALTER TABLE trials RENAME COLUMN state TO status",
    "states unheard of": "UPDATE trials SET state = 'LOST'",
}


def storages() -> Iterator[Case]:
    def rank_into(path: Path, good: Good) -> list[Any]:
        common = ("--data", good.npz, "--space", good.space, "--jobs", 1, "--quiet")
        return ["rank", "--by", "params", "--trials", 2, *common, "--storage", f"sqlite:///{path}"]

    def read_from(path: Path, good: Good) -> list[Any]:
        return [*compared("params", "flops"), "--storage", f"sqlite:///{path}"]

    for how, use in (("read", read_from), ("written", rank_into)):
        for percent in (1, 10, 40, 70, 95):

            def cut(
                folder: Path, good: Good, percent: int = percent, use: Any = use
            ) -> Sequence[Any]:
                whole = good.storage.read_bytes()
                return use(written(folder / "s.db", whole[: len(whole) * percent // 100]), good)

            yield Case(f"storage, {how}: cut at {percent}%", cut, "s.db")
        for name, raw in {
            "text": b"no database at all\n" * 500,
            "a header alone": b"SQLite format 3\0",
            "a header and zeros": b"SQLite format 3\0" + bytes(4000),
            "random": np.random.default_rng(0).bytes(8192),
        }.items():

            def raw_file(folder: Path, good: Good, raw: bytes = raw, use: Any = use) -> Any:
                return use(written(folder / "s.db", raw), good)

            yield Case(f"storage, {how}: {name}", raw_file, "s.db")

        def a_folder(folder: Path, good: Good, use: Any = use) -> Sequence[Any]:
            (folder / "s.db").mkdir()
            return use(folder / "s.db", good)

        yield Case(f"storage, {how}: a folder", a_folder, "s.db")

        def pipe(folder: Path, good: Good, use: Any = use) -> Sequence[Any]:
            os.mkfifo(folder / "s.db")
            return use(folder / "s.db", good)

        yield Case(f"storage, {how}: a pipe", pipe, "s.db")

        def other_program(folder: Path, good: Good, use: Any = use) -> Sequence[Any]:
            with sqlite3.connect(folder / "s.db") as connection:
                connection.execute("CREATE TABLE bookmarks (url TEXT)")
            connection.close()
            return use(folder / "s.db", good)

        yield Case(f"storage, {how}: of another program", other_program, "s.db")
        for name, statement in {
            "a newer schema": "UPDATE alembic_version SET version_num = 'v99.0.0.a'",
            "an older schema": "UPDATE alembic_version SET version_num = 'v0.9.0.a'",
            **({} if how == "written" else _FOUND_WHEN_READ),
        }.items():

            def altered(
                folder: Path, good: Good, statement: str = statement, use: Any = use
            ) -> Sequence[Any]:
                return use(alter(good, folder / "s.db", statement), good)

            yield Case(f"storage, {how}: {name}", altered, "")

    def empty_read(folder: Path, good: Good) -> Sequence[Any]:
        return read_from(written(folder / "s.db", b""), good)

    yield Case("storage, read: an empty file", empty_read, "s.db")
    for name, url, says in (
        ("no URL", "storage", "storage"),
        ("no scheme", "://x", "storage"),
        ("an unknown scheme", "nonsense://x", "nonsense"),
        ("a driver that is not there", "oracle://u:secret@h/d", "oracle"),
        ("no file", "sqlite://", "file"),
        ("in memory", "sqlite:///:memory:", "file"),
        ("a folder that can't be", "sqlite:////proc/nowhere/s.db", "/proc/nowhere"),
        ("empty", "", "storage"),
    ):

        def address(folder: Path, good: Good, url: str = url) -> Sequence[Any]:
            return [*rank_into(folder, good)[:-1], url]

        yield Case(f"storage is {name}", address, says)
    broken = "UPDATE trial_user_attributes SET value_json = '{}' WHERE key = '{}'"
    lost = "DELETE FROM trial_user_attributes WHERE key = '{}'"
    for name, statement in {
        "no architectures": lost.format("architecture"),
        "architectures that are numbers": broken.format("7", "architecture"),
        "architectures that are lists": broken.format("[1]", "architecture"),
        "no draws": lost.format("drawn"),
        "draws that are lists": broken.format("[1]", "drawn"),
        "attributes that are no JSON": broken.format("{", "drawn"),
        "sizes that are text": broken.format('"many"', "params"),
        "seconds that are lists": broken.format("[1]", "seconds"),
        "no attributes of the study": "DELETE FROM study_user_attributes",
        "studies of no JSON": "UPDATE study_system_attributes SET value_json = '{'",
        "studies of nothing": "UPDATE study_system_attributes SET value_json = NULL",
        "seeds that are text": "UPDATE study_user_attributes SET value_json = '\"x\"' WHERE key = 'seeds'",
        "a cost that is text": "UPDATE study_user_attributes SET value_json = '\"x\"' WHERE key = 'cost'",
        "no parameters": "DELETE FROM trial_params",
        "parameters of another range": "UPDATE trial_params SET param_value = 77",
        "distributions that are no JSON": "UPDATE trial_params SET distribution_json = '{'",
        "no scores": "DELETE FROM trial_values",
        "scores of two objectives": "INSERT INTO study_directions (direction, study_id, objective) SELECT 'MAXIMIZE', study_id, 1 FROM studies",
        "scores to be minimised": "UPDATE study_directions SET direction = 'MINIMIZE'",
    }.items():  # fmt: skip
        for how in ("compared", "like", "gone on with"):
            if (name, how) == ("no parameters", "like"):
                continue  # the new study records, architecture by architecture, what it lacks

            def spoilt(
                folder: Path, good: Good, statement: str = statement, how: str = how
            ) -> Sequence[Any]:
                path = alter(good, folder / "s.db", statement)
                if how == "compared":
                    return [*read_from(path, good), "--json"]
                more = (
                    ("--like", "params", "--study", "new")
                    if how == "like"
                    else ("--study", "params", "--trials", 5)
                )
                return [*rank_into(path, good), *more, "--json"]  # fmt: skip

            yield Case(f"study, {how}: {name}", spoilt, EITHER)

    def identity(folder: Path, good: Good) -> Sequence[Any]:
        path = Path(shutil.copy(good.storage, folder / "s.db"))
        return [*rank_into(path, good), "--study", "flops"]

    yield Case("study of another estimator", identity, "'flops'")

    def not_ours(folder: Path, good: Good) -> Sequence[Any]:
        path = Path(shutil.copy(good.storage, folder / "s.db"))
        storage = open_storage(f"sqlite:///{path}")
        study = optuna.create_study(study_name="theirs", storage=storage)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 3)
        storage.engine.dispose()
        return [*rank_into(path, good), "--study", "theirs"]

    yield Case("study of another program, gone on with", not_ours, "'theirs'")

    def not_ours_like(folder: Path, good: Good) -> Sequence[Any]:
        return [*not_ours(folder, good)[:-2], "--like", "theirs", "--study", "new"]

    yield Case("study of another program, like", not_ours_like, "'theirs'")

    def not_ours_compared(folder: Path, good: Good) -> Sequence[Any]:
        not_ours(folder, good)
        return [*compared("params", "theirs"), "--storage", f"sqlite:///{folder / 's.db'}"]

    yield Case("study of another program, compared", not_ours_compared, "theirs")


def alter(good: Good, path: Path, statement: str) -> Path:
    shutil.copy(good.storage, path)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


# Search spaces


def spaces() -> Iterator[Case]:
    start = "from torch import nn\n\ndef build(trial, input_shape, num_classes):\n"
    suggest = "    trial.suggest_int('a', 1, 9)\n"
    for name, text, says in (
        ("empty", "", "has no function build"),
        ("syntax error", "def build(:\n", "SyntaxError"),
        ("bad indentation", "def build(trial):\nreturn\n", "IndentationError"),
        ("no build", "x = 1\n", "has no function build"),
        ("build is a number", "build = 3\n", "has no function build"),
        ("import that fails", "import no_such_module\n", "no_such_module"),
        ("import that raises", "raise RuntimeError('no')\n", "RuntimeError: no"),
        ("import that exits", "import sys\nsys.exit(0)\n", "SystemExit"),
        ("import that recurses", "def f(): f()\nf()\n", "RecursionError"),
        ("build without arguments", "def build():\n    pass\n", "build"),
        ("build of one argument", "def build(trial):\n    pass\n", "build"),
        ("build raises", start + suggest + "    raise ValueError('never')\n", "never"),
        ("build exits", start + suggest + "    import sys; sys.exit(3)\n", "SystemExit"),
        ("build returns nothing", start + suggest, "NoneType"),
        ("build returns a class", start + suggest + "    return nn.Linear\n", "nn.Module"),
        ("build recurses", start + "    return build(trial, input_shape, num_classes)\n", "Recursion"),
        ("build suggests nonsense", start + "    trial.suggest_int('a', 9, 1)\n", "space.py"),
        ("build suggests no choices", start + "    trial.suggest_categorical('a', [])\n", "space.py"),
        ("build asks for what isn't", start + "    trial.suggest_colour('a')\n", "suggest_colour"),
        ("build suggests objects", start + "    trial.suggest_categorical('a', [nn.ReLU, nn.Tanh])\n    return nn.Linear(1, 1)\n", "a"),
        ("describe raises", TINY_SPACE + "\ndef describe(params):\n    raise KeyError('x')\n", "describe"),
        ("describe gives nothing", TINY_SPACE + "\ndef describe(params):\n    return None\n", "describe"),
        ("describe is a number", TINY_SPACE + "\ndescribe = 3\n", "describe"),
        ("describe gives one name for all", TINY_SPACE + "\ndef describe(params):\n    return 'net'\n", EITHER),
        ("NUL", "x = 1\0\n", "space.py"),
    ):  # fmt: skip

        def spoilt(folder: Path, good: Good, text: str = text) -> Sequence[Any]:
            (folder / "space.py").write_text(text)
            return [*ranked_by("params", good), "--space", folder / "space.py"]

        yield Case(f"space: {name}", spoilt, says)
    for name, raw in {
        "binary": bytes(range(256)), "in UTF-16": TINY_SPACE.encode("utf-16"),
    }.items():  # fmt: skip

        def raw_space(folder: Path, good: Good, raw: bytes = raw) -> Sequence[Any]:
            return [*ranked_by("params", good), "--space", written(folder / "space.py", raw)]

        yield Case(f"space: {name}", raw_space, "space.py")
    for name, given, says in (
        ("not there", "./nowhere.py", "nowhere.py"),
        ("a folder", "FOLDER/", "no such search space file"),
        ("a near miss", "convnet_smal", "did you mean 'convnet_small'"),
        ("a module that isn't", "no_such.module", "unknown search space"),
        ("a module that is none", "os.path", "has no function build"),
        ("a module without a file", "sys", "unknown search space"),
        ("a relative module", "..x", "unknown search space"),
        ("empty", "", "unknown search space"),
        ("an unknown option", "SPACE:width=3", "has no option 'width'"),
        ("an option without a value", "SPACE:width", "option=value"),
    ):

        def named(folder: Path, good: Good, given: str = given) -> Sequence[Any]:
            given = given.replace("FOLDER", str(folder)).replace("SPACE", str(good.space))
            return [*ranked_by("params", good), "--space", given]

        yield Case(f"space is {name}", named, says)

    def continuous(folder: Path, good: Good) -> Sequence[Any]:
        text = start + "    trial.suggest_float('a', 0, 1)\n    return nn.Linear(1, 1)\n"
        (folder / "space.py").write_text(text)
        return [*ranked_by("params", good), "--space", folder / "space.py", "--sampler", "all"]

    yield Case("space: continuous, and all of it", continuous, "continuous")

    def copied_over(folder: Path, good: Good) -> Sequence[Any]:
        return ["copy", "convnet", written(folder / "mine.py", b"mine")]

    yield Case("copy over a file", copied_over, "mine.py")

    def copied_nowhere(folder: Path, good: Good) -> Sequence[Any]:
        return ["copy", "convnet", written(folder / "file", b"") / "mine.py"]

    yield Case("copy into a file", copied_nowhere, "mine.py")


# Values of options

WHOLE = ("0", "-1", "nan", "1.5", "", "x", "[1]", "{}")  # none is a number of images
NUMBER = ("-1", "nan", "", "x", "[1]", "{}")
SEED = ("-1", "nan", "1.5", "", "x", "9" * 30, "9" * 400)


def options() -> Iterator[Case]:
    npz, by, none = ("--data", "NPZ"), ("--by", "params"), ()
    random = ("--method", "random", *npz)
    tables_ = ("--truth", "table:TABLE:acc", "--study", "table:TABLE:other")
    for command, given, option, values in (
        ("condense", random, "ipc", (*WHOLE, "100000", "9" * 400)),
        ("condense", npz, "steps", WHOLE),
        ("condense", npz, "real_batch", WHOLE),
        ("condense", npz, "width", ("0", "-1", "nan", "x")),
        ("condense", npz, "depth", ("0", "-1", "nan", "x", "99")),
        ("condense", npz, "image_lr", ("0", *NUMBER, "inf", "1e400")),
        ("condense", npz, "momentum", ("1", *NUMBER, "inf")),
        ("condense", npz, "augment", ("twirl", "crop-flip")),
        ("condense", npz, "precision", ("", "float64", "bfloat")),
        ("condense", ("--method", "herding", *npz), "epochs", ("-1", "nan", "x")),
        ("condense", random, "seed", SEED),
        ("condense", npz, "seed", SEED),
        ("condense", ("--method", "dm-space", *npz), "space", ("convnets", "./no.py", "")),
        ("condense", npz, "method", ("", "dmm", "DM", "dm-")),
        ("condense", random, "device", ("", "gpu", "cuda:99", "meta", "mkldnn")),
        ("condense", random, "out", ("", "p", "p.npz", "/proc/nowhere/p.safetensors", "NPZ/p.safetensors")),
        ("condense", random, "data", ("", "cifar", "./no", "no.npz", "\x1b[31m")),
        ("condense", random, "steps", ("3",)),
        ("evaluate", ("PROXY", *npz), "networks", WHOLE),
        ("evaluate", ("PROXY", *npz), "width", ("0", "-1", "nan", "x")),
        ("evaluate", ("PROXY", *npz), "seed", SEED),
        ("evaluate", ("PROXY", *npz), "jobs", ("0", "-1", "nan", "x", "99999999")),
        ("evaluate", ("PROXY", *npz), "device", ("gpu", "cuda:99")),
        ("evaluate", ("PROXY", *npz), "recipe.epochs", WHOLE),
        ("evaluate", ("PROXY", *npz), "recipe.steps", ("0", "-1", "x")),
        ("evaluate", ("PROXY", *npz), "recipe.batch_size", ("0", "-1", "x")),
        ("evaluate", ("PROXY", *npz), "recipe.lr", ("0", *NUMBER, "inf")),
        ("evaluate", ("PROXY", *npz), "recipe.momentum", ("1", *NUMBER)),
        ("evaluate", ("PROXY", *npz), "recipe.weight_decay", (*NUMBER, "inf")),
        ("evaluate", ("PROXY", *npz), "recipe.schedule", ("", "cosin")),
        ("evaluate", ("PROXY", *npz), "recipe.read", ("", "acuracy")),
        ("evaluate", ("PROXY", *npz), "recipe.augment", ("twirl",)),
        ("rank", (*by, *npz), "trials", WHOLE),
        ("rank", (*by, *npz), "seeds", WHOLE),
        ("rank", (*by, *npz), "seed", SEED),
        ("rank", (*by, *npz), "jobs", ("0", "-1", "nan", "x", "99999999")),
        ("rank", (*by, *npz), "sampler", ("", "tpo", "Random")),
        ("rank", (*by, *npz), "trial_timeout", ("0", *NUMBER, "inf", "1e400")),
        ("rank", (*by, *npz), "max_params", ("0", *NUMBER)),
        ("rank", (*by, *npz), "max_flops", ("0", *NUMBER)),
        ("rank", (*by, *npz), "like", ("no such study",)),
        ("rank", (*by, *npz), "device", ("gpu", "cuda:99")),
        ("rank", ("--by", "full:epochs=9", *npz), "pruner", (
            "", "halvin", "halving:reduction_factor=1", "halving:reduction_factor=nan",
            "halving:reduction_factor=x", "halving:x=1", "percentile",
            "percentile:percentile=200", "successive_halving:min_resource=0", "median:n_startup_trials=-1",
        )),
        ("rank", ("--by", "full:epochs=9", "--pruner", "halving", *npz), "rungs", ("0", "-1", "9", "99", "x")),
        ("rank", npz, "by", (
            "", "fulll", "full:epochs=0", "full:epochs=-1", "full:epochs=1.5", "full:epochs=two",
            "full:epochs=true", "full:epoch=2", "full:lr=nan", "full:lr=NaN", "full:lr=Infinity", "full:lr=1e999",
            "full:lr=0", "full:momentum=2", "full:read=loss2", "full:steps=0", "full:batch_size=0",
            "full:precision=half", "full:image_size=0", "full:image_size=x", "full:image_size=9999", "full:=", "full:epochs=[", "full:augment=7", "full:nesterov=1",
            "params:x=1", "flops:x", "naswot:batch_size=1", "naswot:batch_size=9999999", "naswot:batch_size=x",
            "naswot:batch=3", "zico:batch_size=-1", "nothing.safetensors", ".safetensors", "table:TABLE:nothing",
            "PROXY:epochs=0", "PROXY:x=1", "PROXYx", "params,flops",
        )),
        ("correlate", tables_, "seed", SEED),
        ("correlate", tables_, "combination", ("", "logg", "max")),
        ("correlate", tables_, "combine", ("", "other", "other,other", "other,nothing", ",")),
        ("correlate", tables_, "out", ("/proc/nowhere", "NPZ", "NPZ/x")),
        ("correlate", tables_, "study", ("table:TABLE:other", "table:TABLE:none")),
        ("correlate", ("--truth", "params"), "study", ("flop", "", "flops@", "flops@nothing", "@", "params@loss")),
        ("calibrate", tables_, "seed", SEED),
        ("calibrate", tables_[:2], "study", ("table:TABLE:none", "")),
        ("import", ("PROXY", *npz), "index", ("nan", "x", "1.5")),
        ("import", ("PROXY", *npz), "out", ("p", "p.npz", "/proc/nowhere/p.safetensors")),
        ("import", ("PROXY",), "data", ("cifar", "no.npz")),
        ("run", npz, "trials", (*WHOLE, "2")),
        ("run", npz, "search", NUMBER),
        ("run", npz, "confirm", WHOLE),
        ("run", npz, "seeds", WHOLE),
        ("run", npz, "seed", SEED),
        ("run", npz, "ipc", WHOLE),
        ("run", npz, "steps", ("0", "-1", "x")),
        ("run", npz, "jobs", ("0", "-1", "x", "99999999")),
        ("run", npz, "trial_timeout", ("0", *NUMBER, "inf")),
        ("run", npz, "max_params", ("0", *NUMBER)),
        ("run", npz, "max_flops", ("0", *NUMBER)),
        ("run", npz, "method", ("", "dmm")),
        ("run", npz, "device", ("gpu",)),
        ("run", npz, "space", ("convnets", "")),
        ("run", npz, "out", ("/proc/nowhere", "NPZ")),
        ("run", npz, "proxy.epochs", ("0", "-1", "x")),
        ("run", npz, "full.lr", ("0", *NUMBER)),
        ("run", npz, "full.nothing", ("1",)),
    ):  # fmt: skip
        for value in values:

            def chosen(
                folder: Path,
                good: Good,
                command: str = command,
                given: Sequence[str] = given,
                option: str = option,
                value: str = value,
            ) -> Sequence[Any]:
                shutil.copy(good.storage, folder / "s.db")
                filled = [_fill(text, good) for text in (*given, f"--{option}={value}")]
                storage = ("--storage", f"sqlite:///{folder / 's.db'}")
                return [command, *filled, *(storage if command in ("rank", "correlate") else none)]

            short = value if len(value) < 40 else f"{len(value)} digits"
            name = f"{command} {' '.join(given[:2])}: --{option}={short}"
            yield Case(name, chosen, "")
    for words in (
        ("rnak",), (), ("run", "--trails", "3"), ("run", "extra"), ("rank",), ("correlate", "--truth", "t"),
        ("calibrate",), ("evaluate",), ("import",), ("list",), ("list", "space"), ("list", ""), ("copy", "convnet"),
        ("copy", "convnets", "x.py"), ("copy", "convnet", ""), ("--",), ("-",), ("run", "--quiet=7"), ("run", "--data"),
        ("--version=1",), ("run", "--proxy", "{"), ("run", "--proxy", "[1]"), ("run", "--proxy.epochs"),
    ):  # fmt: skip
        yield Case(f"command {' '.join(words)!r}", lambda folder, good, words=words: words, "")


def _fill(text: str, good: Good) -> str:
    for name, path in (("NPZ", good.npz), ("PROXY", good.proxy), ("TABLE", good.table)):
        text = text.replace(name, str(path))
    return text


def digest(folder: Path) -> dict[str, str]:
    """Everything in a folder, by name: what each is, and a digest of its bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = f"{path.stat().st_mode} {zlib.crc32(path.read_bytes())}"
        else:
            found[name] = str(path.stat().st_mode)
    return found
