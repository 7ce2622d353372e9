"""A space's own code kept beside a network, so that a folder is enough to build it again."""

import contextlib
import re
from pathlib import Path
from typing import Any

from nasproxy.errors import UserError, reason
from nasproxy.spaces.code import digest_of_copied, load_copied, read_code
from nasproxy.spaces.space import Space, made_of
from nasproxy.system.files import write_atomically
from nasproxy.system.progress import say

_PLAIN = re.compile(r"\w[\w.-]*")  # of a file or folder, and no way out of where it lies


def keep_copy(space: Space, folder: Path) -> dict[str, str] | None:
    """Copy a space's file, and the files of its author that it imports, into a folder of their own.

    Its name has the space's digest: networks of one space share it, and no copy is changed.

    Args:
        space: loaded from a file or module.
        folder: in which the folder is made.

    Returns:
        What `load_copy` needs; None if the files have changed since the space was loaded, which
        is said.

    Raises:
        UserError: it can't be written.
    """
    name = space.module.__name__
    by_module = name in space.home.files
    main = name if by_module else space.path.name
    copied = f"{space.path.stem}-{space.sha256}"
    digest = ""
    with contextlib.suppress(OSError):
        sources = read_code(name, space.path, space.home.folder)
        contents = {_place(n, f): f.read_bytes() for n, f in sources.files.items() if f.is_file()}
        if not by_module:
            contents[Path(main)] = space.path.read_bytes()
        digest = sources.sha256
    if digest != space.sha256:
        say(f"{space.name}: its files have changed since it was loaded, and are not kept")
        return None
    for place, content in contents.items():
        _write(folder / copied / place, content)
    own = digest_of_copied(folder / copied, main)
    return None if own is None else {"folder": copied, "main": main, "sha256": own}


def _place(module: str, file: Path) -> Path:
    """Where a module's file lies in a folder that is first on the path."""
    parts = module.split(".")
    return Path(*(parts if file.stem == "__init__" else parts[:-1]), file.name)


def _write(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, lambda temporary: temporary.write_bytes(content))


def load_copy(folder: Path, about: Any, spec: str) -> Space | None:
    """The space whose code `keep_copy` has left in a folder. It is code, and runs.

    Args:
        folder: in which its folder is.
        about: what `keep_copy` gave.
        spec: name of the space, with options.

    Returns:
        The space; None if there is no such copy, or it is another by now: it is not run then.

    Raises:
        UserError: it can't be loaded.
    """
    keys = ("folder", "main", "sha256")
    if not isinstance(about, dict) or not all(isinstance(about.get(k), str) for k in keys):
        return None
    copied, main, sha256 = (about[key] for key in keys)
    if not _PLAIN.fullmatch(copied) or not _PLAIN.fullmatch(main):
        return None
    if digest_of_copied(folder / copied, main) != sha256:
        return None
    try:
        code = load_copied(folder / copied, main)
    except (Exception, SystemExit) as error:
        raise UserError(f"{folder / copied}: fails to import: {reason(error)}") from error
    return made_of(code, spec)
