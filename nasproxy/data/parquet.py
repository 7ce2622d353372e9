"""Parquet files of encoded images and labels, as Hugging Face keeps data sets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasproxy.data.arrays import Arrays, Part
from nasproxy.data.decoding import Encoded, read_image, survey
from nasproxy.data.layout import split_named
from nasproxy.errors import UserError

_LABELS = ("label", "labels", "fine_label", "target", "class")


def has_parquet(folder: Path) -> bool:
    """Whether a folder, or ``data`` in it, holds Parquet files."""
    return bool(_files(folder))


def read_parquet(path: Path, side: int | None) -> Arrays:
    """The set in a Parquet file, or in those of a folder, whose names say which split they are.

    Images are a column of encoded files (bytes, or a record with ``bytes``), labels one of whole
    numbers or names; which are which is in the file's schema, or in the columns' names.

    Args:
        path: the file or folder.
        side: see `load_dataset`.

    Raises:
        UserError: pyarrow isn't there, or a file or column.
    """
    if side is not None and side < 1:
        raise UserError(f"expected image_size of 1 or more, got {side}")
    by_split: dict[str, list[Path]] = {}
    for file in _files(path) if path.is_dir() else [path]:
        said = split_named(file.stem.partition("-")[0]) or split_named(file.stem)
        by_split.setdefault(said[0] if said else "train", []).append(file)
    if "train" not in by_split:
        raise UserError(f"{path}: expected a file of training images, got {', '.join(by_split)}")
    tables = {kind: [_read(file) for file in files] for kind, files in by_split.items()}
    texts = sorted({str(v) for rows in tables.values() for r in rows for v in r[1] if _text(v)})
    names = tables["train"][0][2] or (tuple(texts) or None)
    images = {kind: [i for rows in these for i in rows[0]] for kind, these in tables.items()}
    labels = {k: [v for rows in these for v in rows[1]] for k, these in tables.items()}
    rest = [image for kind, found in images.items() if kind != "train" for image in found]
    if not images["train"]:
        raise UserError(f"{path}: expected training images, got none")
    shape, levels = survey(images["train"], rest, side)

    def part(kind: str) -> Part | None:
        if kind not in images:
            return None
        pixels = np.stack([read_image(image, shape, levels) for image in images[kind]])
        given = [texts.index(v) if _text(v) else v for v in labels[kind]]
        return pixels, np.array(given)

    train = part("train")
    assert train is not None
    return Arrays(train, part("test"), names, validation=part("validation"), levels=levels)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))


def _read(file: Path) -> tuple[Sequence[Encoded], list[Any], tuple[str, ...] | None]:
    """The images of a file, their labels, and the classes' names if it says them.

    Raises:
        UserError: it can't be read, or has no column of images or of labels.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(
            f"{file}: Parquet files need pyarrow: pip install 'nasproxy[parquet]'"
        ) from None
    try:
        if not file.is_file():
            raise OSError("no such file")
        table = ParquetFile(file).read()
    except (ArrowException, OSError) as error:
        raise UserError(f"{file}: not a readable Parquet file ({error})") from None
    about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    features = about.get("info", {}).get("features", {})
    types = {field.name: str(field.type) for field in table.schema}
    kinds = {name: (features.get(name) or {}).get("_type") for name in types}
    is_image = [n for n in types if kinds[n] == "Image"] or [
        n for n, t in types.items() if "binary" in t
    ]
    classes = [n for n in types if kinds[n] == "ClassLabel"]
    is_label = [n for n in _LABELS if n in types] or classes
    if len(is_image) != 1 or not is_label:
        raise UserError(
            f"{file}: expected one column of encoded images and a column 'label', got "
            f"{', '.join(f'{name} ({kind})' for name, kind in types.items())}"
        )
    names = (features.get(is_label[0]) or {}).get("names")
    rows = table.column(is_image[0]).to_pylist()
    encoded = [
        Encoded(
            f"{file}, row {number}", (row.get("bytes") if isinstance(row, dict) else row) or b""
        )
        for number, row in enumerate(rows)
    ]
    labels = table.column(is_label[0]).to_pylist()
    return encoded, labels, tuple(map(str, names)) if names else None
