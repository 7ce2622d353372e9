"""The studies of a storage: listed, shown, renamed, deleted, looked into."""

import sys
from collections.abc import Sequence
from typing import Any

import optuna

from nasproxy.cli.answer import Answer
from nasproxy.errors import UserError
from nasproxy.studies.catalogue import (
    delete_study,
    open_studies,
    rename_study,
    require_studies,
    summaries,
    summary_of,
)
from nasproxy.studies.dashboard import serve
from nasproxy.studies.identity import load_study
from nasproxy.studies.note import describe_study
from nasproxy.studies.storage import DEFAULT_STORAGE


def on_studies(
    action: str = "list",
    names: Sequence[str] = (),
    storage: str = DEFAULT_STORAGE,
    yes: bool = False,
) -> Answer:
    """List the studies of a storage, show one, rename one or delete some.

    Args:
        action: list, show, rename (OLD NEW) or delete.
        names: of studies.
        storage: URL of the Optuna storage, or the folder of a run or search.
        yes: delete without asking.
    """
    counts = {"list": (0, 0), "show": (1, 1), "rename": (2, 2), "delete": (1, None)}
    if action not in counts:
        raise UserError(f"expected {', '.join(counts)}, got {action!r}")
    least, most = counts[action]
    if len(names) < least or (most is not None and len(names) > most):
        wanted = {"show": "NAME", "rename": "OLD NEW", "delete": "NAME ..."}.get(action, "no name")
        raise UserError(f"expected {wanted} after {action}, got {' '.join(names) or 'nothing'}")
    opened = open_studies(storage)
    if action == "list":
        return _list(summaries(opened))
    require_studies(names[:1] if action == "rename" else names, opened)
    if action == "show":
        return _show(names[0], opened)
    if action == "rename":
        rename_study(names[0], names[1], opened)
        return Answer({"study": names[1], "was": names[0]}, f"{names[0]} is now {names[1]}")
    chosen = list(dict.fromkeys(names))
    if not yes:
        _confirm([summary_of(name, opened) for name in chosen])
    for name in chosen:
        delete_study(name, opened)
    return Answer({"deleted": chosen}, f"deleted {', '.join(chosen)}")


def _confirm(rows: Sequence[dict[str, Any]]) -> None:
    """Ask whether studies are to be deleted.

    Raises:
        UserError: they are not, or there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UserError("expected --yes: there is no terminal on which to ask before deleting")
    for row in rows:
        open_ones = row["endings"].get("unfinished", 0)
        at_work = f", {open_ones} of them unfinished" if open_ones else ""
        print(f"{row['study']}: {sum(row['endings'].values())} trials{at_work}", file=sys.stderr)
    print("Delete for good? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError("nothing was deleted")


def on_dashboard(**given: Any) -> Answer:
    """Look into studies in a browser, with optuna-dashboard."""
    serve(**given)
    return Answer({}, "")  # never: it is interrupted


def _list(rows: Sequence[dict[str, Any]]) -> Answer:
    """The studies of a storage, a line each."""
    head = ("study", "scored", "estimator", "data", "space", "begun", "last")
    table = [
        head,
        *(tuple(str(row[k] if row[k] is not None else "-") for k in head) for row in rows),
    ]
    widths = [max(len(cells[k]) for cells in table) for k in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(cells, widths)).rstrip() for cells in table]
    lines += [f"{row['study']}: {row['note']}" for row in rows if row["note"]]
    return Answer({"studies": list(rows)}, "\n".join(lines) if rows else "no studies")


def _show(name: str, storage: optuna.storages.BaseStorage) -> Answer:
    """What a study is, as the dashboard's note has it."""
    study = load_study(name, storage)
    row = {**summary_of(name, storage), "made_with": study.user_attrs}
    counts = ", ".join(f"{count} {ending}" for ending, count in row["endings"].items())
    dates = f"Trials: {counts or 'none'}; from {row['begun'] or '-'} to {row['last'] or '-'}."
    return Answer(row, f"{describe_study(study, {})}\n{dates}")
