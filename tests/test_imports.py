"""Imports between rooms point one way, and nowhere in a circle."""

import ast
import importlib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import nasproxy

ROOT = Path(nasproxy.__file__).parent.parent
ROOMS = (  # each imports those above it, and modules of its own
    "errors",
    "system",
    "drawing",
    "data",
    "workers",
    "spaces",
    "training",
    "proxies",
    "estimators",
    "studies",
    "searches",
    "report",
    "pipeline",
    "cli",
)


def _modules() -> dict[str, Path]:
    """Every module but the two doors, nasproxy itself and __main__, by its dotted name."""
    files = (ROOT / "nasproxy").rglob("*.py")
    named = {".".join(f.relative_to(ROOT / "nasproxy").with_suffix("").parts): f for f in files}
    named = {name.removesuffix(".__init__"): path for name, path in named.items()}
    return {k: path for k, path in named.items() if k not in ("__init__", "__main__")}


def _imported(path: Path) -> Iterator[str]:
    """What a file imports anywhere in it, in functions and for type hints too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _arrows() -> dict[str, set[str]]:
    """Modules that each module imports, by dotted names without ``nasproxy.``."""
    modules = _modules()
    arrows: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = (i.removeprefix("nasproxy.") for i in _imported(path) if i.startswith("nasproxy."))
        arrows[name] = {i if i in modules else i.rpartition(".")[0] for i in found} - {name}
    return arrows


def test_imports_point_one_way() -> None:
    for name, imported in _arrows().items():
        room = ROOMS.index(name.partition(".")[0])
        for other in imported:
            assert ROOMS.index(other.partition(".")[0]) <= room, f"{name} imports {other}"


def test_there_is_no_circle() -> None:
    TopologicalSorter(_arrows()).prepare()  # CycleError names the circle


def test_no_room_has_the_name_of_a_public_function() -> None:
    assert not set(ROOMS) & set(nasproxy.__all__)
    for room in set(ROOMS) - {"errors"}:
        assert importlib.import_module(f"nasproxy.{room}") is getattr(nasproxy, room)


def test_search_spaces_know_nothing_of_nasproxy() -> None:
    allowed = {"torch", "torchvision", "optuna", "collections", "typing", "search_spaces", "math"}
    for path in (ROOT / "search_spaces").glob("*.py"):
        assert {module.partition(".")[0] for module in _imported(path)} <= allowed, path


def test_public_names_have_docstrings() -> None:
    for name in nasproxy.__all__:
        assert getattr(nasproxy, name).__doc__, name
