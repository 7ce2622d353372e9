"""Folders of images."""

# ruff: noqa: E501 - a case a line reads best

import functools
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.case import Case, Good, all_refused, condensed, images, odd_file, rows, written


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, kind, **options)
    return held.getvalue()


def _png_of(width: int, height: int) -> bytes:
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
            (folder / name / f"{number}.png").write_bytes(encoded(Image.fromarray(pixels)))


COLOUR = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
IMAGE = Image.fromarray(COLOUR)
PNG, JPEG = encoded(IMAGE), encoded(IMAGE, "JPEG")
BROKEN = {
    "no bytes": b"",
    "text": b"not a picture",
    "PNG cut at the header": PNG[:20],
    "PNG cut near the end": PNG[:-30],
    "PNG with a wrong checksum": PNG.replace(b"IDAT", b"IDAT\x00", 1)[:-1],
    "PNG of 60,000x60,000": _png_of(60_000, 60_000),
    "PNG of 2**31 x 2**31": _png_of(2**31 - 1, 2**31 - 1),
    "PNG of 12,000x12,000": _png_of(12_000, 12_000),
    "PNG of no width": _png_of(0, 32),
    "JPEG cut in half": JPEG[: len(JPEG) // 2],
    "GIF cut": encoded(IMAGE, "GIF")[:60],
    "BMP of negative size": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, -9, -9, 1, 24, 0, 16, 1, 1, 0, 0),
    "TIFF that points to itself": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
    "EPS, which is a program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n(owned) print\n",
}  # fmt: skip
GREY, CLEAR = Image.fromarray(COLOUR[..., 0]), IMAGE.quantize(8)
DEEP = Image.fromarray((np.arange(1024, dtype=np.uint16) * 60).reshape(32, 32))
FRAMES = {"save_all": True, "append_images": [Image.fromarray(255 - COLOUR)]}
ODD = {
    "grey": ("png", encoded(GREY)),
    "of one bit": ("png", encoded(GREY.convert("1"))),
    "of 16 bits": ("png", encoded(DEEP)),
    "of floats": ("tif", encoded(GREY.convert("F"), "TIFF")),
    "of 32 bits": ("tif", encoded(GREY.convert("I"), "TIFF")),
    "with a palette": ("png", encoded(CLEAR)),
    "with a clear palette": ("png", encoded(CLEAR, transparency=bytes(range(8)))),
    "with a clear colour": ("gif", encoded(CLEAR, "GIF", transparency=2)),
    "with opacity": ("png", encoded(IMAGE.convert("RGBA"))),
    "grey with opacity": ("png", encoded(GREY.convert("LA"))),
    "in CMYK": ("jpg", encoded(IMAGE.convert("CMYK"), "JPEG")),
    "animated GIF": ("gif", encoded(IMAGE, "GIF", **FRAMES)),
    "animated PNG": ("png", encoded(IMAGE, "PNG", **FRAMES)),
    "of another size": ("png", encoded(IMAGE.resize((70, 9)))),
    "of one pixel": ("png", encoded(IMAGE.resize((1, 1)))),
    "a JPEG with the wrong ending": ("png", JPEG),
    "with a capital ending": ("PNG", PNG),
}
NAMES = {
    "a line break": b"a\nb",
    "no UTF-8": b"a\xff\xfe",
    "a control character": b"a\x1b[31m",
    "a formula": b"$\\frac$",
    "spaces": b"  ",
    "200 characters": b"x" * 200,
}
# Class by class; test images, where there are some, in folders of their own.
TREES = (
    ("an empty folder", {}, "one folder of images a class"),
    ("an empty class", {"": ("cat", "dog"), "owl": ()}, "owl: expected images, found none"),
    ("one class", {"": ("cat",)}, "two classes"),
    ("a class without test images", {"train": ("cat", "dog"), "test": ("cat",)}, "'dog'"),
    ("a class of test images alone", {"train": ("cat", "dog"), "test": ("cat", "dog", "owl")}, "'owl'"),
)  # fmt: skip
UNREADABLE = "7.png: not a readable image"


def image_folders() -> Iterator[Case]:
    def one(given: tuple[str, bytes], folder: Path, good: Good) -> Any:
        fill(folder)
        written(folder / given[0], given[1])
        return condensed(folder)

    def beside(names: tuple[str, ...], folder: Path, good: Good) -> Any:
        fill(folder)
        for name in names:
            written(folder / "cat" / name, b"\x00\x05\x16\x07 not a picture")
            written(folder / name, b"not a folder")
        (folder / ".git").mkdir()
        written(folder / ".git" / "index", b"")
        return condensed(folder)

    def named(raw: bytes, folder: Path, good: Good, where: str) -> Any:
        name = os.fsdecode(raw)
        if where == "class":
            fill(folder, ("cat", name))
            return condensed(folder)
        fill(folder / name)
        if where == "broken file":
            written(folder / name / "cat" / f"{name}.png", b"")
        return condensed(folder / name)

    def tree(classes: dict[str, tuple[str, ...]], folder: Path, good: Good) -> Any:
        for name, inside in classes.items():
            fill(folder / name, inside)
            (folder / name).mkdir(exist_ok=True)
        return condensed(folder)

    def few(count: int, folder: Path, good: Good) -> Any:
        fill(folder, count=count)
        return condensed(folder)

    def a_file(name: str, folder: Path, good: Good) -> Any:
        path = written(folder / name, PNG)
        return condensed(folder if path.suffix else path)

    def link(target: Callable[[Path], Path], folder: Path, good: Good) -> Any:
        fill(folder / "here")
        written(folder / "elsewhere.png", PNG)
        (folder / "here" / "cat" / "7.png").symlink_to(target(folder))
        return condensed(folder / "here")

    def links_above(_: None, folder: Path, good: Good) -> Any:
        fill(folder)
        (folder / "cat" / "again").symlink_to(folder)
        (folder / "cat" / "up").symlink_to(folder / "cat")
        return condensed(folder)

    def odd(kind: str, folder: Path, good: Good) -> Any:
        fill(folder)
        path = odd_file(kind, folder / "cat" / "7.png")
        if path.is_dir():
            written(path / "7.png", PNG)
        return condensed(folder)

    def colour(document: Any) -> bool:
        return len(document["mean"]) == 3

    def cats_and_dogs(document: Any) -> bool:
        return document["class_names"] == ["cat", "dog"]

    # each is either the first file that is read, or one among others
    places = ("cat/0.png", "dog/3.png")
    broken = [
        (name, (places[n % 2], raw), places[n % 2][4:])
        for n, (name, raw) in enumerate(BROKEN.items())
    ]
    yield from rows("images", one, broken)
    taken = [
        (name, (f"cat/{(' first', 'odd')[n % 2]}.{end}", raw), colour)
        for n, (name, (end, raw)) in enumerate(ODD.items())
    ]
    yield from rows("images: one", one, taken)
    others = (
        ("hidden files", (".hidden.png", "._0.png", ".DS_Store"), cats_and_dogs),
        ("other files", ("Thumbs.db", "notes.txt", "labels.csv"), cats_and_dogs),
    )
    yield from rows("images", beside, others)
    for where, expected in (
        ("class", images(2)),
        ("folder", images(2)),
        ("broken file", "not a readable image"),
    ):
        table = [(name, raw, expected) for name, raw in NAMES.items()]
        yield from rows(f"images: {where} with", functools.partial(named, where=where), table)
    yield from rows("images", tree, TREES)
    yield from rows("images", few, [("three a class", 3, "5 is the least")])
    flat = [
        ("no folder a class", "0.png", "one folder of images a class"),
        ("a file in the place of the folder", "images", "images"),
    ]
    yield from rows("images", a_file, flat)
    targets = (
        ("out of the folder", lambda folder: folder / "elsewhere.png", images(2)),
        ("to nothing", lambda folder: folder / "nowhere.png", UNREADABLE),
    )
    yield from rows("images: a link", link, targets)
    yield from rows("images", links_above, [("links to folders above", None, images(2))])
    files = all_refused({k: k for k in ("a pipe", "a link to itself")}, UNREADABLE)
    yield from rows("images", odd, [*files, ("a folder named like one", "a folder", images(2))])
