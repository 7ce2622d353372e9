"""A space's code: where it lies, the files that it is made of, and running it among its own."""

import ast
import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from nasproxy.errors import UserError, nearest, reason
from nasproxy.spaces.meaning import meaning_of
from nasproxy.system.files import expanded

ENTRY_POINTS = "nasproxy.spaces"  # group in which an installed package offers spaces
_BY_PATH = "nasproxy_space_"  # begins the names of modules that are loaded by their file's path
_OURS = Path(__file__).resolve().parents[2] / "search_spaces"
_LIBRARIES = {*sys.stdlib_module_names, "nasproxy", "torch", "torchvision", "optuna", "numpy"}
_BEGAN = time.time()  # what was imported of files older than this is what they hold
_ran: dict[Path, str] = {}  # files of spaces, and the digest of what was imported of them
_IMPORTERS = ("import_module", "__import__")  # take a module's name
_RUNNERS = ("spec_from_file_location", "run_path", "SourceFileLoader")  # take a file's


@dataclass(frozen=True)
class Home:
    """What a space's code finds when it imports: its folder first, and modules of its own.

    Two spaces may each have a ``blocks.py`` beside them, and each is to get its own.

    Attributes:
        folder: goes first on the path; None for an installed package's.
        files: of the modules that are its own, by name.
        modules: those of them that have been imported.
    """

    folder: Path | None = None
    files: dict[str, Path] = field(default_factory=dict)
    modules: dict[str, ModuleType] = field(default_factory=dict)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Run code of the space in the block; what others have imported is put back behind it."""
        theirs = self._swap()
        written = sys.dont_write_bytecode
        sys.dont_write_bytecode = True  # the folder isn't ours, and its cache goes by the second
        try:
            with _first(self.folder):
                yield
        finally:
            sys.dont_write_bytecode = written
            self.modules.update({n: m for n, m in sys.modules.items() if n in self.files})
            if theirs:
                _remove(self._tops)
                sys.modules.update(theirs)

    @property
    def _tops(self) -> set[str]:
        return {name.partition(".")[0] for name in self.files}

    def _swap(self) -> dict[str, ModuleType]:
        """Put its modules in the place of others of these names; those."""
        if all(sys.modules.get(name) is self.modules.get(name) for name in self.files):
            return {}
        theirs = _remove(self._tops)
        sys.modules.update(self.modules)
        return theirs


def _remove(tops: set[str]) -> dict[str, ModuleType]:
    """Take packages of these names, and all in them, out of the modules that Python knows."""
    gone = [name for name in sys.modules if name.partition(".")[0] in tops]
    return {name: sys.modules.pop(name) for name in gone}


@dataclass(frozen=True)
class Sources:
    """The files that a space is made of.

    Attributes:
        files: of its own that may be run, by module.
        sha256: digest of the file and, in order of name, of the others that are its own, so that
            no old score stands for new code: see `_Reader`; 16 hex digits.
        code_sha256: the same of what of them builds networks: see `meaning_of`.
    """

    files: dict[str, Path]
    sha256: str
    code_sha256: str


@dataclass(frozen=True)
class Code:
    """A space's module, its file, the files that it is made of, and its home."""

    module: ModuleType
    path: Path
    sources: Sources
    home: Home


@contextlib.contextmanager
def importing(what: str) -> Iterator[None]:
    """Say in one line what code raises that is imported in the block.

    Raises:
        UserError: it raised something.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{what} fails to import: {reason(error)}") from error


def load_code(name: str) -> Code:
    """Import a space's module by a name or path, as `load_space` takes it, without options.

    Raises:
        UserError: there is nothing of that name, or it has no file.
        Exception: whatever its code raises.
    """
    importlib.invalidate_caches()  # a file may be younger than what Python remembers of its folder
    if is_path(name):
        return _load_file(expanded(name))
    if name in builtin_spaces():
        return _load_module(f"search_spaces.{name}", _OURS.parent)
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name == name:
            return _load_module(entry.module, None)
    if "." in name and _locate(name) is not None:
        return _load_module(name, None)
    raise UserError(
        f"unknown search space {name!r}{nearest(name, space_names())}, "
        "a file path ending in .py or a module path"
    )


def load_copied(folder: Path, main: str) -> Code:
    """Import a space's module from a folder that holds a copy of all its code.

    Args:
        folder: goes first on the path.
        main: the space's file there, or its module's name.

    Raises:
        Exception: whatever its code raises.
    """
    importlib.invalidate_caches()
    return _load_file(folder / main) if main.endswith(".py") else _load_module(main, folder)


def digest_of_copied(folder: Path, main: str) -> str | None:
    """The digest that `load_copied` would find, without running anything; None without a file."""
    importlib.invalidate_caches()
    path: Path | None = folder / main
    if not main.endswith(".py"):
        with _first(folder):
            spec = _locate(main)
        path = Path(spec.origin) if spec and spec.origin else None
    if path is None or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return None
    return read_code(_called(path) if main.endswith(".py") else main, path, folder).sha256


def is_path(name: str) -> bool:
    """Whether a space's name is a file's path."""
    return name.endswith(".py") or os.sep in name


def builtin_spaces() -> list[str]:
    """Names of the files in our `search_spaces`, whatever folder of that name a user has."""
    return sorted(p.stem for p in _OURS.glob("*.py") if not p.stem.startswith("_"))


def space_names() -> list[str]:
    """Names that `load_space` takes, those of installed packages too."""
    entries = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return sorted({*builtin_spaces(), *(entry.name for entry in entries)})


def space_summaries() -> dict[str, str]:
    """The first line of each one's docstring, by name; nothing of theirs runs."""
    entries = importlib.metadata.entry_points(group=ENTRY_POINTS)
    modules = {**{e.name: e.module for e in entries}, **dict.fromkeys(builtin_spaces(), "")}
    found = {}
    for name, module in sorted(modules.items()):
        spec = _locate(module) if module else None
        path = Path(spec.origin or "") if spec else _OURS / f"{name}.py"
        text = ""
        with contextlib.suppress(OSError, SyntaxError, ValueError):
            text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
        found[name] = text.partition("\n")[0]
    return found


def _load_file(path: Path) -> Code:
    if not path.is_file():
        raise UserError(f"no such search space file: {path}")
    folder, name = path.resolve().parent, _called(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    home, sources = _home(name, Path(str(module.__file__)), folder)
    sys.modules[name] = module  # classes defined there can be pickled
    with home.entered():
        exec(compile(path.read_bytes(), str(module.__file__), "exec"), vars(module))
    return Code(module, path, sources, home)


def _called(path: Path) -> str:
    """The name of a module that is loaded by its file's path."""
    return f"{_BY_PATH}{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"


def _load_module(name: str, folder: Path | None) -> Code:
    with _first(folder):
        spec = _locate(name)
    path = Path(str(spec and spec.origin))
    if not path.is_file():
        raise UserError(f"search space {name!r} has no file")
    home, sources = _home(name, path, folder)
    with home.entered():
        module = importlib.import_module(name)
    return Code(module, path, sources, home)


def _home(name: str, path: Path, folder: Path | None) -> tuple[Home, Sources]:
    """The home of a space's module, with what is imported of it already, and its files."""
    sources = read_code(name, path, folder)
    files = sources.files
    current = all(_is_current(n, file) for n, file in files.items())
    found = {n: sys.modules[n] for n in files if n in sys.modules} if current else {}
    _ran.update({file: _digest(file) for file in files.values() if file.is_file()})
    return Home(folder, files, found), sources


def read_code(name: str, path: Path, folder: Path | None) -> Sources:
    """The files that a space's module is made of, found without running any."""
    with _first(folder):
        reader = _Reader(name, path)
        reader.read(name, path)
    own = path.read_bytes()
    bytes_, code = hashlib.sha256(own), hashlib.sha256(meaning_of(own, True))
    for other, file in sorted(reader.counted.items()):
        content = file.read_bytes()
        if file.resolve().parent != path.resolve().parent:  # beside it: as in earlier versions
            bytes_.update(other.encode())
            code.update(other.encode())
        bytes_.update(content)
        code.update(meaning_of(content, False))
    return Sources(reader.files, bytes_.hexdigest()[:16], code.hexdigest()[:16])


def _is_current(name: str, file: Path) -> bool:
    """Whether a module of this name is not imported yet, or is what its file now holds."""
    module = sys.modules.get(name)
    if module is None or not file.is_file():  # a folder of modules has no code of its own
        return True
    if Path(str(getattr(module, "__file__", None))).resolve() != file.resolve():
        return False
    ran = _ran.get(file)
    return file.stat().st_mtime < _BEGAN if ran is None else ran == _digest(file)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


class _Reader:
    """Finds the files of somebody's own that a space's module imports, those that these import, ...

    They are found by reading, not by running: what is imported inside a function counts, and
    what happens to be imported already changes nothing. Where a name is computed, all files
    beside and one folder deeper count. Python's and installed packages are not followed, nor
    are torch and ourselves.

    Attributes:
        files: all that may be run, by module.
        counted: those that the networks depend on: not what only happens to be run on the way,
            the ``__init__.py`` of packages that the space is in.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._path = name, path
        self.files: dict[str, Path] = {} if name.startswith(_BY_PATH) else {name: path}
        self.counted: dict[str, Path] = {}
        parents = name.split(".")[:-1]
        for count in range(1, len(parents) + 1):
            self._add(".".join(parents[:count]), counts=False)

    def read(self, name: str, path: Path, is_package: bool = False) -> None:
        """Find what a file imports."""
        if path.suffix != ".py":
            return
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # it will say so when it runs
            return
        package = name if is_package else name.rpartition(".")[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._add(alias.name)
            elif isinstance(node, ast.ImportFrom):
                self._add_from(node, package)
            elif isinstance(node, ast.Call):
                self._add_called(node, package, path)

    def _add_from(self, node: ast.ImportFrom, package: str) -> None:
        try:
            name = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        except ImportError:
            return
        if name.partition(".")[0] in _LIBRARIES:
            return
        modules = [f"{name}.{a.name}" for a in node.names if _locate(f"{name}.{a.name}")]
        for module in modules:
            self._add(module)
        if len(modules) < len(node.names):
            self._add(name)

    def _add_called(self, node: ast.Call, package: str, path: Path) -> None:
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given: Any = getattr(node.args[0], "value", None) if node.args else None
        if called in _IMPORTERS and isinstance(given, str):
            with contextlib.suppress(ImportError):
                self._add(importlib.util.resolve_name(given, package))
        elif called in (*_IMPORTERS, *_RUNNERS):
            for file in [*path.parent.glob("*.py"), *path.parent.glob("[!.]*/*.py")]:
                self._add(".".join(file.relative_to(path.parent).with_suffix("").parts))

    def _add(self, name: str, counts: bool = True) -> None:
        """A module, and the packages that it is in."""
        if not name or name == self._name or name.partition(".")[0] in _LIBRARIES:
            return
        if "." in name:
            parent = name.rpartition(".")[0]
            self._add(parent, counts=counts and not f"{self._name}.".startswith(f"{parent}."))
        spec = _locate(name)
        if spec is None or not self._is_own(name, spec):
            return
        file = Path(spec.origin or next(iter(spec.submodule_search_locations or ()), ""))
        self.files[name] = file
        itself = file.resolve() == self._path.resolve()  # by another name
        if counts and name not in self.counted and file.is_file() and not itself:
            self.counted[name] = file
            self.read(name, file, spec.submodule_search_locations is not None)

    def _is_own(self, name: str, spec: ModuleSpec) -> bool:
        if name.partition(".")[0] == self._name.partition(".")[0]:
            return True
        folders = list(spec.submodule_search_locations or ())
        if not spec.has_location and not folders:  # built into Python
            return False
        file = Path(spec.origin if spec.has_location and spec.origin else folders[0]).resolve()
        return file.parent == self._path.resolve().parent or not _is_library(file)


def _is_library(file: Path) -> bool:
    places = [Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib")]
    installed = {"site-packages", "dist-packages"} & {*file.parts}
    return bool(installed) or any(file.is_relative_to(p) for p in (*places, _OURS))


@contextlib.contextmanager
def _first(folder: Path | None) -> Iterator[None]:
    """Have a folder first on the path in the block."""
    path = list(sys.path)
    sys.path[:0] = [str(folder)] if folder else []
    try:
        yield
    finally:
        sys.path[:] = path


def _locate(name: str) -> ModuleSpec | None:
    """Where a module is, found without running the packages that it is in; None if nowhere."""
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        inside = None
        if count > 1:
            inside = list(spec.submodule_search_locations or ()) if spec else []
            if not inside:
                return None
        spec = _locate_in(".".join(parts[:count]), inside)
    return spec


def _locate_in(name: str, folders: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find: Any = getattr(finder, "find_spec", None)
        with contextlib.suppress(ImportError, ValueError):
            try:
                spec = find and find(name, folders)
            except KeyError:  # a folder of modules in a package that isn't imported yet
                spec = ModuleSpec(name, None, is_package=True)
            if isinstance(spec, ModuleSpec):
                return spec if spec.has_location else _as_folder(spec, folders)
    return None


def _as_folder(spec: ModuleSpec, folders: list[str] | None) -> ModuleSpec:
    """A package without a file, whose places Python says only once what it is in is imported."""
    if spec.submodule_search_locations is None:
        return spec
    last = spec.name.rpartition(".")[2]
    places = [Path(folder or ".", last) for folder in folders or sys.path]
    found = ModuleSpec(spec.name, None, is_package=True)
    found.submodule_search_locations = [str(place) for place in places if place.is_dir()]
    return found
