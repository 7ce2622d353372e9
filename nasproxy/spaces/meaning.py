"""What of a space's source builds networks, as text: the code without what only people read."""

import ast
from functools import lru_cache
from typing import Any

_RECIPE = "proxy_recipe"  # says how networks are trained, which a study's recipe has


@lru_cache(maxsize=256)  # each candidate that a worker is given loads its space anew
def meaning_of(source: bytes, is_space: bool) -> bytes:
    """The syntax tree of a Python file, without places, comments and constants that stand alone.

    Docstrings are such constants; they stay where something asks for ``__doc__``. It is the same
    text in all versions of Python, as far as their trees are.

    Args:
        source: the file's bytes; where they are no Python, they are the meaning.
        is_space: whether it is a space's own file, whose `proxy_recipe` is left out, unless
            the file itself reads it.
    """
    try:
        tree = ast.parse(source)
        if b"__doc__" not in source:
            _drop_constants(tree)
        if is_space and not any(_reads_recipe(node) for node in ast.walk(tree)):
            tree.body = [node for node in tree.body if not _sets_recipe(node)]
        parts: list[str] = []
        _write(tree, parts)
        return "".join(parts).encode()
    except (SyntaxError, ValueError, RecursionError):  # it will say so when it runs
        return source


def _drop_constants(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(node, name, [one for one in value if not _stands_alone(one)])


def _stands_alone(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _reads_recipe(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == _RECIPE and isinstance(node.ctx, ast.Load)


def _sets_recipe(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        return getattr(node.targets[0], "id", None) == _RECIPE
    return isinstance(node, ast.AnnAssign) and getattr(node.target, "id", None) == _RECIPE


def _write(node: Any, parts: list[str]) -> None:
    """As `ast.dump`, which shows fields without a value in some versions of Python only."""
    if isinstance(node, ast.AST):
        parts.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != []:
                parts.append(f"{name}=")
                _write(value, parts)
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for one in node:
            _write(one, parts)
        parts.append("]")
    else:
        parts.append(f"{node!r},")
