"""Folders of images, one folder a class."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nasproxy.data.arrays import Arrays
from nasproxy.data.decoding import Levels, read_image, suffixes, survey
from nasproxy.data.layout import find_splits, folders, walk
from nasproxy.data.named import DEFAULT_ROOT
from nasproxy.data.on_disk import StoredImages, fit_in_memory, stored_in_npy
from nasproxy.errors import UserError
from nasproxy.system.files import expanded, make_folder, write_atomically

_DECODER = "2"  # a file of decoded images that an earlier one made is not read


def read_image_folder(path: Path, side: int | None, splits: bool) -> Arrays:
    """One folder a class; the classes are the sorted folder names.

    Args:
        path: the folder, or one with such folders for training, validation and test.
        side: in pixels, to which images are brought; None: see `survey`.
        splits: whether folders named like ``train``, ``val`` and ``test`` are no classes.

    Raises:
        UserError: a folder or an image is missing or unreadable, or the side is not above 0.
    """
    if side is not None and side < 1:
        raise UserError(f"expected image_size of 1 or more, got {side}")
    found, notes = find_splits(path, suffixes(), splits)
    class_names = folders(found["train"])
    if not class_names:
        raise UserError(f"{path}: expected one folder of images a class, found no folder")
    for part in found.values():
        for more in set(folders(part)) - set(class_names):
            raise UserError(f"{part}: has a class {more!r}, which {found['train']} has not")
    files = {kind: _files_by_class(part, class_names) for kind, part in found.items()}
    rest = [file for kind in files if kind != "train" for file in files[kind][0]]
    shape, levels = survey(files["train"][0], rest, side)
    parts = {
        kind: (_decoded(found[kind], these, shape, levels), labels)
        for kind, (these, labels) in files.items()
    }
    test, validation = parts.get("test"), parts.get("validation")
    return Arrays(
        parts["train"],
        test,
        class_names,
        validation=validation,
        notes=tuple(notes),
        levels=levels,
    )


def _files_by_class(path: Path, class_names: tuple[str, ...]) -> tuple[list[Path], np.ndarray]:
    """The image files of each class's folder in turn, and their labels (N,)."""
    endings = suffixes()
    files: list[Path] = []
    labels: list[int] = []
    for label, class_name in enumerate(class_names):
        folder = path / class_name
        if not folder.is_dir():
            raise UserError(f"{path}: expected a folder {class_name!r}, as there is for training")
        found = sorted(walk(folder, endings))
        if not found:
            raise UserError(f"{folder}: expected images, found none")
        files += found
        labels += [label] * len(found)
    return files, np.array(labels)


def _decoded(
    path: Path, files: Sequence[Path], shape: tuple[int, int, int], levels: Levels
) -> np.ndarray | StoredImages:
    """The images of a folder's files, brought to `shape` (H, W, C): (N, H, W, C) uint8."""
    if not fit_in_memory((len(files), *shape)):
        return _decoded_beside(path, files, shape, levels)
    images = np.empty((len(files), *shape), np.uint8)
    for number, file in enumerate(files):
        images[number] = read_image(file, shape, levels)
    return images


def _decoded_beside(
    path: Path, files: Sequence[Path], shape: tuple[int, ...], levels: Levels
) -> StoredImages:
    """A large folder's images, decoded once into an ``.npy`` file beside the folder.

    Where nothing can be written there, it is among the data sets that are kept. Its name has a
    digest of the files' names, sizes and times: a folder that changes gets another.
    """
    stamp = hashlib.sha256(f"{_DECODER} {levels}\n".encode())
    for file in files:
        status = file.stat()
        stamp.update(f"{file.relative_to(path)} {status.st_size} {status.st_mtime_ns}\n".encode())
    size = "x".join(map(str, shape))
    beside = path.with_name(f"{path.name}-{size}-{stamp.hexdigest()[:12]}.npy")
    stamp.update(str(path.resolve()).encode())
    kept = expanded(DEFAULT_ROOT) / f"{path.name}-{size}-{stamp.hexdigest()[:12]}.npy"
    decoded = next((file for file in (beside, kept) if file.is_file()), None)
    if decoded is None:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), *shape)}

        def write(temporary: Path) -> None:
            with temporary.open("wb") as out:
                np.lib.format.write_array_header_1_0(out, header)
                for file in files:
                    out.write(read_image(file, shape, levels).tobytes())

        decoded = beside if _can_write(beside.parent) else kept
        write_atomically(decoded, write)
    stored = stored_in_npy(decoded)
    if stored is None or stored.stored != (len(files), *shape):
        raise UserError(f"{decoded}: not the decoded images of {path}; remove it")
    return stored


def _can_write(folder: Path) -> bool:
    try:
        make_folder(folder)
    except UserError:
        return False
    return True
