"""Which folders, files and arrays of a data set are its training, validation and test images."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from nasproxy.errors import UserError

_SPELLINGS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing", "eval"),
}
_KINDS = {word: kind for kind, words in _SPELLINGS.items() for word in words}
_LEFT_OUT = ("__MACOSX", "__pycache__", "lost+found")  # put there by other programs


def split_named(name: str) -> tuple[str, int] | None:
    """Which split a folder's or file's name says, and how plainly; None if none, or several.

    0 is as the split itself is called, 1 is another word for it, 2 has more words, as `seg_train`.
    """
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    kinds = {_KINDS[word] for word in words if word in _KINDS}
    if len(kinds) != 1:
        return None
    plain = min(words, key=len) if len(words) == 1 else ""
    level = 2 if not plain else int(name not in ("train", "val", "test"))
    return kinds.pop(), level


def folders(path: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted, without hidden ones and what programs leave."""
    found = (p.name for p in path.iterdir() if p.is_dir())
    return tuple(sorted(name for name in found if name[0] != "." and name not in _LEFT_OUT))


def walk(folder: Path, suffixes: set[str]) -> Iterator[Path]:
    """The files of these endings in a folder and in its folders, links to folders too.

    Hidden ones are left out, and links to a folder that they are in, which would have no end.

    Raises:
        OSError: a folder may not be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    for parent, inner, names in os.walk(folder, onerror=refuse, followlinks=True):
        above = Path(parent).resolve()

        def leads_down(name: str, parent: str = parent, above: Path = above) -> bool:
            path = Path(parent, name)
            return not path.is_symlink() or not above.is_relative_to(path.resolve())

        inner[:] = [n for n in inner if n[0] != "." and n not in _LEFT_OUT and leads_down(n)]
        for name in names:
            if name[0] != "." and Path(name).suffix.lower() in suffixes:
                yield Path(parent, name)


def find_splits(path: Path, suffixes: set[str], splits: bool) -> tuple[dict[str, Path], list[str]]:
    """The folders whose folders are the classes, by split, and what has to be said of them.

    Args:
        path: of a data set.
        suffixes: endings of images.
        splits: whether folders that are named like splits are splits; otherwise they are classes.

    Returns:
        Folders of ``train`` and, where there are any, ``validation`` and ``test``.

    Raises:
        UserError: it can't be told which folders are splits and which are classes.
    """
    path = _within(path, suffixes)
    names = folders(path)
    said = {name: split_named(name) for name in names} if splits else {}
    classed = {name for name, kind in said.items() if kind and _has_classes(path / name, suffixes)}
    if not any((said[name] or ("",))[0] == "train" for name in classed):
        _refuse_classes_like_splits(path, said)
        return {"train": path}, []
    found = {}
    for kind in _SPELLINGS:
        if name := _plainest(path, kind, {n: said[n] for n in classed}):
            found[kind] = _within(path / name, suffixes)
    others = [n for n in names if n not in classed and _has_images(path / n, suffixes)]
    notes = [
        f"{path / name}: left out, it has no folder of images a class"
        for name in others
        if said[name]
    ]
    if len(found) == 1 and any(not said[name] for name in others):
        other = next(name for name in others if not said[name])
        raise UserError(
            f"{path}: is {next(iter(classed))!r} a split of the set or a class, as {other!r}? Give "
            "the folder of the training images alone, or --splits false if it is a class"
        )
    return found, notes


def _plainest(path: Path, kind: str, said: dict[str, tuple[str, int] | None]) -> str | None:
    """The folder that is most plainly named like a split.

    Raises:
        UserError: two are so equally.
    """
    levels = {n: given[1] for n, given in said.items() if given and given[0] == kind}
    best = sorted(name for name, level in levels.items() if level == min(levels.values()))
    if len(best) > 1:
        raise UserError(f"{path}: expected one folder of {kind} images, got {', '.join(best)}")
    return best[0] if best else None


def _refuse_classes_like_splits(path: Path, said: dict[str, tuple[str, int] | None]) -> None:
    plain = [name for name, kind in said.items() if kind and kind[1] < 2]
    alike = plain or (list(said) if said and len(said) > 1 and all(said.values()) else [])
    if alike:
        raise UserError(
            f"{path}: {', '.join(alike)}: named like training, validation or test images, but "
            "expected 'train' with one folder of images a class; give --splits false if these are "
            "classes"
        )


def _within(path: Path, suffixes: set[str]) -> Path:
    """The folder itself, or the only one in it, as archives are unpacked to ``images/images``."""
    while True:
        names = [name for name in folders(path) if _has_images(path / name, suffixes)]
        if len(names) != 1 or not _has_classes(path / names[0], suffixes):
            return path
        path = path / names[0]


def _has_images(folder: Path, suffixes: set[str]) -> bool:
    return next(walk(folder, suffixes), None) is not None


def _has_classes(folder: Path, suffixes: set[str]) -> bool:
    """Whether a folder's images are in its folders, none beside them."""
    if any(p.suffix.lower() in suffixes and p.name[0] != "." for p in folder.iterdir()):
        return False
    return any(_has_images(folder / name, suffixes) for name in folders(folder))
