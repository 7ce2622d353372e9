"""Architectures given by their names, one a line of a file, found again in a space."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import optuna

from nasproxy.errors import UserError
from nasproxy.spaces.draw import named_trial
from nasproxy.spaces.same import digests_of, is_same_space
from nasproxy.spaces.space import Architecture, Space
from nasproxy.studies.identity import load_study, study_names
from nasproxy.studies.record import read_records

_LOOKED_AT = 50_000  # architectures of a space, at most, among which names are looked for
_SHOWN = 3


def read_names(path: Path) -> list[str]:
    """The names in a file, one a line, each once.

    Raises:
        UserError: it can't be read, or has none.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable text of names, one a line ({error})") from None
    names = list(dict.fromkeys(filter(None, map(str.strip, lines))))
    if not names:
        raise UserError(f"{path}: expected names of architectures, one a line, got none")
    return names


def find_named(
    path: Path,
    space: Space,
    input_shape: tuple[int, int, int],
    num_classes: int,
    storage: optuna.storages.BaseStorage | None,
) -> list[Architecture]:
    """The architectures that a file names, in its order, given by hand.

    A name without a `describe` says its own parameters; others are looked for among the
    architectures of this space's studies, and then in the space, in order.

    Args:
        path: of the file.
        space: whose architectures these are.
        input_shape, num_classes: what they are built for.
        storage: in which there may be studies of the space; None if there are none.

    Raises:
        UserError: a name can't be found.
    """
    names = read_names(path)
    found: dict[str, Architecture] = {}
    for name in names:
        read = _read(name, space, input_shape, num_classes)
        if read is not None:
            found[name] = read
    _take(found, names, () if storage is None else _of_studies(space, storage))
    told = ""
    if len(found) < len(names):
        try:
            every = space.enumerate(input_shape, num_classes)
            _take(found, names, itertools.islice(every, _LOOKED_AT))
            told = f" nor among the first {_LOOKED_AT:,} of the space"
        except UserError as error:
            told = f", and {error}"
    missing = [name for name in names if name not in found]
    if missing:
        shown = ", ".join(map(repr, missing[:_SHOWN]))
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise UserError(
            f"{path}: {space.name} has no {shown}{more} among its studies in the storage{told}"
        )
    return [replace(found[name], drawn="given") for name in names]


def _take(
    found: dict[str, Architecture], names: list[str], candidates: Iterable[Architecture]
) -> None:
    """Take those of the names that are still missing, until none is."""
    left = set(names) - found.keys()
    if not left:
        return
    for architecture in candidates:
        if architecture.key in left:
            found[architecture.key] = architecture
            left.remove(architecture.key)
            if not left:
                return


def _read(
    name: str, space: Space, input_shape: tuple[int, int, int], num_classes: int
) -> Architecture | None:
    """The architecture that a name spells out, as ``depth=3 width=64``; None if it doesn't."""
    try:
        made = space.trace(named_trial(name), input_shape, num_classes)
    except UserError:
        return None
    return made if made.key == name else None


def _of_studies(space: Space, storage: optuna.storages.BaseStorage) -> Iterable[Architecture]:
    """Architectures in the studies of a space, as long as it calls them the same."""
    for name in study_names(storage):
        try:
            study = load_study(name, storage)
            same = is_same_space(study.user_attrs, digests_of(space))
            records = [r for r in read_records(study) if r.key and r.drawn] if same else []
        except UserError:  # somebody else's
            continue
        for record in records:
            architecture = record.architecture()
            if architecture.error is not None or architecture.key == space.key(
                architecture.choices, architecture.distributions
            ):
                yield architecture
