"""Arrays: .npz files, folders of .npy files, and the files that torchvision keeps."""

# ruff: noqa: E501 - a case a line reads best

import functools
import io
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import make_arrays
from tests.hostile.case import (
    Case,
    Good,
    all_refused,
    condensed,
    cut,
    images,
    odd_file,
    rows,
    written,
)

X, Y = make_arrays(60)
ARRAYS = (
    ("no x_train", {"x_train": None}, "x_train"),
    ("no y_train", {"y_train": None}, "y_train"),
    ("x_test alone", {"x_test": X}, "y_test"),
    ("y_test alone", {"y_test": Y}, "x_test"),
    ("pickled images", {"x_train": np.array([X, None], object)}, "plain arrays"),
    ("pickled labels", {"y_train": Y.astype(object)}, "plain arrays"),
    ("pickled class names", {"class_names": np.array(["a", "b", "c"], object)}, "plain arrays"),
    ("pickled array beside", {"notes": np.array([{}], object)}, "plain arrays"),
    ("images of floats", {"x_train": X / 255}, images(3)),
    ("images of int8", {"x_train": X.astype(np.int8)}, "pixels"),
    ("images of text", {"x_train": X.astype(str)}, "pixels"),
    ("images of records", {"x_train": np.zeros(60, "u1,u1")}, "pixels"),
    ("images of two dimensions", {"x_train": X[:, 0]}, "pixels"),
    ("images of five dimensions", {"x_train": X[..., None, None]}, "pixels"),
    ("an image alone", {"x_train": np.uint8(3)}, "pixels"),
    ("images of two channels", {"x_train": np.stack([X, X], -1)}, "channels"),
    ("images of no channels", {"x_train": np.zeros((60, 8, 8, 0), np.uint8)}, "channels"),
    ("channels first", {"x_train": np.stack([X] * 3, 1)}, images(3)),
    ("images of 3x3", {"x_train": X[:, :3, :3]}, "4x4"),
    ("images of no height", {"x_train": X[:, :0]}, "4x4"),
    ("no images", {"x_train": X[:0], "y_train": Y[:0]}, "got none"),
    ("one image", {"x_train": X[:1], "y_train": Y[:1]}, "classes"),
    ("labels too few", {"y_train": Y[:59]}, "60 integer"),
    ("labels of floats", {"y_train": Y.astype(float)}, "integer"),
    ("labels of text", {"y_train": Y.astype(str)}, images(3)),
    ("labels of bool", {"y_train": Y > 1}, images(2)),
    ("labels of spans", {"y_train": Y.astype("m8[s]")}, "integer"),
    ("labels one-hot", {"y_train": np.eye(3, dtype=int)[Y]}, images(3)),
    ("labels below 0", {"y_train": Y - 1}, "labels from 0"),
    ("label of 10**18", {"y_train": np.where(Y == 2, 10**18, Y)}, "labels from 0"),
    ("labels of uint64 beyond", {"y_train": Y.astype("u8") + 2**63}, "labels"),
    ("one class", {"y_train": Y * 0}, "two classes"),
    ("a class of one", {"y_train": np.r_[Y[:-1] % 2, 2]}, "class '2'"),
    ("a class of none", {"y_train": np.where(Y == 1, 3, Y)}, "class '1'"),
    ("class names too few", {"class_names": np.array(["a", "b"])}, "labels from 0 to 1"),
    ("class names too many", {"class_names": np.array(list("abcd"))}, "class 'd'"),
    ("no class names", {"class_names": np.array([], str)}, "labels"),
    ("a class name twice", {"class_names": np.array(["a", "b", "a"])}, "'a' is there twice"),
    ("test of another size", {"x_test": X[:, :7], "y_test": Y}, "make them alike"),
    ("test labels beyond", {"x_test": X, "y_test": Y + 1}, "labels from 0"),
    ("test of floats", {"x_test": X / 255, "y_test": Y}, images(3)),
    ("floats up to 1 and up to 255", {"x_train": X / 255, "x_test": X / 1.0, "y_test": Y}, "make them alike"),
    ("no test images", {"x_test": X[:0], "y_test": Y[:0]}, "test"),
    ("Fortran order", {"x_train": np.asfortranarray(X)}, images(3)),
    ("big-endian labels", {"y_train": Y.astype(">i8")}, images(3)),
    ("labels of uint8 in a column", {"y_train": Y.astype(np.uint8)[:, None]}, images(3)),
    ("all images black", {"x_train": X * 0}, "alike"),
    ("class names of numbers", {"class_names": np.arange(3)}, images(3)),
    ("class names of formulas", {"class_names": np.array(["$x$", "$\\frac$", "_^{"])}, images(3)),
    ("class names in other scripts", {"class_names": np.array(["chaîne", "Ελλ", "日本🐈"])}, images(3)),
    ("class names with control characters", {"class_names": np.array(["a\x1b[31m", "b\nb", "\x07"])}, images(3)),
    ("class names of 2,000 characters", {"class_names": np.array([c * 2000 for c in "abc"])}, images(3)),
    ("an array more", {"notes": np.array(["mine"])}, images(3)),
)  # fmt: skip


def arrays() -> Iterator[Case]:
    def changed(change: dict[str, Any], folder: Path, good: Good) -> Any:
        held = {"x_train": X, "y_train": Y, **change}
        np.savez(folder / "d.npz", **{k: v for k, v in held.items() if v is not None})
        return condensed(folder / "d.npz")

    yield from rows("npz", changed, ARRAYS)


def _npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


def _declared(shape: Any, descr: str = "'|u1'", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text


PICKLE = b"cos\nsystem\n(S'touch owned'\ntR."
MEMBERS = {"x_train.npy": _npy(X), "y_train.npy": _npy(Y)}
DECLARED = {
    "images of 2 TB": {"x_train.npy": _declared((2**35, 8, 8)) + bytes(64)},
    "images of 8 EB": {"x_train.npy": _declared((2**57, 8, 8)) + bytes(64)},
    "images beyond 64 bits": {"x_train.npy": _declared((2**70, 8, 8)) + bytes(64)},
    "labels of 8 TB": {"y_train.npy": _declared((2**40,), "'<i8'") + bytes(8)},
}
SPOILT_MEMBERS = {
    "raw bytes for images": {"x_train.npy": None, "x_train": b"not an array"},
    "raw bytes for labels": {"y_train.npy": None, "y_train": b"not an array"},
    "images without a header": {"x_train.npy": b""},
    "images with half a header": {"x_train.npy": _npy(X)[:40]},
    "images cut": {"x_train.npy": _npy(X)[:500]},
    "a pickle in the place of labels": {"y_train.npy": _declared("(1,)", "'|O'") + PICKLE},
    "header with code": {"x_train.npy": _declared("(__import__('os').getpid(), 8, 8)")},
    "header that nests deeply": {"x_train.npy": _declared("(" * 3000 + ")" * 3000)},
    "header of unknown version": {"x_train.npy": _declared((60, 8, 8), version=b"\x09\x00")},
    "images of a negative number": {"x_train.npy": _declared((-60, 8, 8)) + bytes(64 * 60)},
    "images of many and none": {"x_train.npy": _declared((2**40, 0, 8))},
    "a shape of floats": {"x_train.npy": _declared((6.0, 8, 8)) + bytes(400)},
}


def zips() -> Iterator[Case]:
    def packed(
        change: dict[str, bytes | None], folder: Path, good: Good, method: int = zipfile.ZIP_STORED
    ) -> Any:
        with zipfile.ZipFile(folder / "d.npz", "w", method) as archive:
            for member, raw in {**MEMBERS, **change}.items():
                if raw is not None:
                    archive.writestr(member, raw)
        return condensed(folder / "d.npz")

    def bomb(_: None, folder: Path, good: Good) -> Any:
        with zipfile.ZipFile(folder / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("y_train.npy", _npy(Y))
            archive.writestr("x_train.npy", _declared((3 * 2**14, 256, 256)) + bytes(2**20))
            archive.getinfo("x_train.npy").file_size = 3 * 2**30
        return condensed(folder / "d.npz")

    def encrypted(_: None, folder: Path, good: Good) -> Any:
        raw = bytearray(good.npz.read_bytes())
        raw[raw.rfind(b"PK\x01\x02") + 8] |= 1
        raw[raw.find(b"PK\x03\x04") + 6] |= 1
        return condensed(written(folder / "d.npz", bytes(raw)))

    def wrong_sum(_: None, folder: Path, good: Good) -> Any:
        raw = bytearray(good.npz.read_bytes())
        raw[raw.find(b"\x93NUMPY") + 200] ^= 255
        return condensed(written(folder / "d.npz", bytes(raw)))

    def shortened(percent: int, folder: Path, good: Good) -> Any:
        return condensed(cut(good.npz, percent, folder / "d.npz"))

    def raw(content: bytes, folder: Path, good: Good) -> Any:
        return condensed(written(folder / "d.npz", content))

    def odd(kind: str, folder: Path, good: Good) -> Any:
        return condensed(odd_file(kind, folder / "d.npz"))

    deflated = functools.partial(packed, method=zipfile.ZIP_DEFLATED)
    file = functools.partial(all_refused, says="d.npz")
    yield from rows("npz cut", shortened, file({f"{n}%": n for n in (0, 30, 90, 99)}))
    yield from rows("npz", packed, file(SPOILT_MEMBERS))
    yield from rows("npz declares", packed, file(DECLARED))
    yield from rows("npz, compressed, declares", deflated, file(DECLARED))
    yield from rows("npz", bomb, [("3 GiB in 1 kB", None, "unpacks to 3221225472 bytes")])
    outside = ("../../escaped.npy", "/tmp/escaped.npy", "..\\escaped.npy", "a\nb.npy")
    more = dict.fromkeys(outside, _npy(Y))
    yield from rows("npz", packed, [("members named for other folders", more, images(3))])
    moved = dict.fromkeys(MEMBERS) | {f"../{k}": v for k, v in MEMBERS.items()}
    yield from rows("npz", packed, [("all members are elsewhere", moved, "x_train")])
    yield from rows("npz", encrypted, file({"encrypted": None}))
    yield from rows("npz", wrong_sum, file({"a wrong checksum": None}))
    raws = {"text": b"text", "a lone array": _npy(X), "no members": b"PK\x05\x06" + bytes(18)}
    yield from rows("npz is", raw, file(raws))
    yield from rows("npz is", odd, file({k: k for k in ("a folder", "a pipe")}))


PIPE = object()
NPY = (
    ("images cut", {"x_train": _npy(X)[:500]}, "x_train.npy"),
    ("images empty", {"x_train": b""}, "x_train.npy"),
    ("labels pickled", {"y_train": _npy(Y.astype(object))}, "y_train.npy"),
    ("labels a bare pickle", {"y_train": b"\x80\x04" + PICKLE}, "y_train.npy"),
    ("labels missing", {"y_train": None}, "y_train"),
    ("labels a pipe", {"y_train": PIPE}, "y_train.npy"),
    ("images declared to be 2 TB", {"x_train": _declared((2**35, 8, 8))}, ""),
    ("both declared to be huge", {"x_train": _declared((2**35, 8, 8)), "y_train": _declared((2**35,), "'<i8'")}, "train.npy"),
    ("images of 2 GiB that are not there", {"x_train": _declared((60, 2**13, 2**12)) + bytes(100)}, "x_train.npy"),
    ("another file is spoilt", {"notes": b"\x93NUMPY\x01"}, "notes.npy"),
)  # fmt: skip


def npy_folders() -> Iterator[Case]:
    def changed(change: dict[str, Any], folder: Path, good: Good) -> Any:
        for stem, raw in {"x_train": _npy(X), "y_train": _npy(Y), **change}.items():
            if raw is PIPE:
                os.mkfifo(folder / f"{stem}.npy")
            elif raw is not None:
                (folder / f"{stem}.npy").write_bytes(raw)
        return condensed(folder)

    yield from rows("npy folder", changed, NPY)


def _idx(array: np.ndarray) -> bytes:
    head = struct.pack(">HBB", 0, 8, array.ndim)
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def torchvision_files() -> Iterator[Case]:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
    classes = np.arange(60, dtype=np.uint8) % 10
    sound = {
        f"{stem}-{end}": _idx(array)
        for stem in ("train", "t10k")
        for end, array in (("images-idx3-ubyte", pixels), ("labels-idx1-ubyte", classes))
    }
    first, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    mnists = {
        "images cut": {first: sound[first][:5000]},
        "images empty": {first: b""},
        "images declared to be 4 GB": {first: sound[first][:4] + b"\x00\xff\xff\xff" + sound[first][8:]},
        "images of another number": {first: _idx(pixels[:50])},
        "images of one dimension": {first: sound[labels]},
        "images are text": {first: b"no numbers here"},
        "images of an unknown kind": {first: b"\x00\x00\x07\x03" + sound[first][4:]},
        "labels beyond": {labels: _idx(np.full(60, 200, np.uint8))},
    }  # fmt: skip

    def mnist(change: dict[str, bytes], folder: Path, good: Good) -> Any:
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for file, content in {**sound, **change}.items():
            (raw / file).write_bytes(content)
        return condensed("mnist", "--root", folder)

    def cifar(content: bytes, folder: Path, good: Good) -> Any:
        batches = folder / "cifar-10-batches-py"
        batches.mkdir()
        for file in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"):
            (batches / file).write_bytes(content)
        return condensed("cifar10", "--root", folder)

    def beside(name: str, folder: Path, good: Good) -> Any:
        path = written(folder / name, b"PK")
        return condensed("cifar10", "--root", path if name == "root" else folder)

    yield from rows("mnist", mnist, all_refused(mnists, "mnist"))
    batches = {"pickle that runs code": PICKLE, "batch cut": b"\x80\x04\x95"}
    yield from rows("cifar10", cifar, all_refused(batches, "CIFAR10"))
    others = [("a spoilt .npz", "cifar10.npz", "cifar10.npz"), ("root is a file", "root", "root")]
    yield from rows("cifar10", beside, others)
