"""Where benchmarks leave what they found: a JSON file and a Markdown table, with provenance."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasproxy.files import write_json, write_text
from nasproxy.runtime import hardware, pick_device, versions

FOLDER = Path(__file__).parent / "results"


def save(name: str, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
    """Write ``results/<name>.json`` and ``.md``; `rows` have the same keys."""
    provenance = {
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(pick_device()),
        "versions": versions(),
        **about,
    }
    write_json(FOLDER / f"{name}.json", {**provenance, "rows": list(rows)})
    lines = [f"# {name}", "", table(rows), ""]
    lines += [f"- {key}: {value}" for key, value in provenance.items()]
    write_text(FOLDER / f"{name}.md", "\n".join(lines) + "\n")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table."""
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(str(value) for value in row.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
