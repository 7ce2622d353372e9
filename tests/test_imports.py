"""The import arrows of docs/design: a module imports only what stands above it."""

import ast
from pathlib import Path

import nasproxy

ROOT = Path(nasproxy.__file__).parent.parent
ORDER = [
    "errors",
    "process",
    "files",
    "runtime",
    "progress",
    "layout",
    "stored",
    "data",
    "augment",
    "convnet",
    "proxy",
    "foreign",
    "size",
    "spec",
    "spaces",
    "network",
    "train",
    "condense.kept",
    "condense.random",
    "condense.coreset",
    "condense.dm",
    "condense.dm_space",
    "condense",
    "zerocost.shared",
    "zerocost.az_nas",
    "zerocost.fisher",
    "zerocost.grad_norm",
    "zerocost.grasp",
    "zerocost.jacob_cov",
    "zerocost.naswot",
    "zerocost.snip",
    "zerocost.synflow",
    "zerocost.zico",
    "zerocost",
    "estimators.base",
    "estimators.size",
    "estimators.table",
    "estimators.training",
    "estimators.training_free",
    "estimators",
    "halving",
    "workers",
    "cluster",
    "spread",
    "evaluate",
    "storage",
    "dashboard",
    "note",
    "drivers",
    "study",
    "correlation",
    "comparison",
    "calibration",
    "words",
    "tables",
    "series",
    "figures",
    "plots",
    "page",
    "report",
    "attach",
    "run",
    "cli",
    "__main__",
]


def _modules(path: Path) -> list[str]:
    """Modules that a file imports when it is loaded: type hints and functions don't count."""
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT / "nasproxy").with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def test_imports_point_up() -> None:
    files = {_name(path): path for path in (ROOT / "nasproxy").rglob("*.py")}
    files.pop("__init__")
    assert sorted(files) == sorted(ORDER)
    for name, path in files.items():
        for imported in _modules(path):
            if imported.startswith("nasproxy."):
                above = imported.removeprefix("nasproxy.")
                assert ORDER.index(above) < ORDER.index(name), f"{name} imports {above}"


def test_search_spaces_know_nothing_of_nasproxy() -> None:
    allowed = {"torch", "torchvision", "optuna", "collections", "typing", "search_spaces", "math"}
    for path in (ROOT / "search_spaces").glob("*.py"):
        assert {module.partition(".")[0] for module in _modules(path)} <= allowed, path


def test_public_names_have_docstrings() -> None:
    for name in nasproxy.__all__:
        assert getattr(nasproxy, name).__doc__, name
