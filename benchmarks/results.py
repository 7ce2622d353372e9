"""What benchmarks find, and where they leave it: JSON and a Markdown table, with provenance."""

import csv
import io
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nasproxy.system.files import write_json, write_text
from nasproxy.system.machine import hardware, pick_device, versions

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """A measured figure beside what it should be.

    Attributes:
        name: of the benchmark.
        figure: median of the rounds; None when the benchmark was skipped.
        target: what it should be.
        unit: of both, in words.
        better: whether it should be the target or ``less``, or the target or ``more``.
        n: rounds, or whatever `unit` is counted over.
        spread: largest minus smallest over the rounds; None for a single one.
        note: what a reader must know: the parts, the floor, or why it was skipped.
    """

    name: str
    figure: float | None
    target: float
    unit: str
    better: Literal["less", "more"]
    n: int
    spread: float | None
    note: str

    @property
    def met(self) -> bool | None:
        if self.figure is None:
            return None
        return self.figure <= self.target if self.better == "less" else self.figure >= self.target

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with figures to three digits."""
        short = {
            key: None if value is None else float(f"{value:.3g}")
            for key, value in (("figure", self.figure), ("spread", self.spread))
        }
        return {
            "name": self.name,
            "figure": short["figure"],
            "target": self.target,
            "unit": self.unit,
            "met": self.met,
            "n": self.n,
            "spread": short["spread"],
            "note": self.note,
        }


def of_rounds(values: Sequence[float]) -> tuple[float, int, float | None]:
    """Median, how many, and largest minus smallest."""
    spread = max(values) - min(values) if len(values) > 1 else None
    return statistics.median(values), len(values), spread


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


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Write a table with a header; what a row lacks is left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read(names: Sequence[str]) -> list[dict[str, Any]]:
    """The figures that `save` wrote under these names; those that are not there are left out."""
    files = [FOLDER / f"{name}.json" for name in names]
    return [json.loads(file.read_text())["rows"][0] for file in files if file.is_file()]


def summary(figures: Sequence[Mapping[str, Any]]) -> str:
    """Figures in short, as a Markdown table."""
    words = {True: "yes", False: "no", None: "-"}
    return table(
        [
            {
                "benchmark": figure["name"],
                "figure": figure["figure"],
                "spread": "-" if figure["spread"] is None else figure["spread"],
                "target": figure["target"],
                "unit": figure["unit"],
                "n": f"{figure['n']:,}",
                "met": words[figure["met"]],
            }
            for figure in figures
        ]
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table."""
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(str(value) for value in row.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
