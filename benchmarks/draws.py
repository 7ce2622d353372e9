"""All draws that rankings were judged on, in one table, from what `fidelity` kept of each."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import FOLDER, table
from nasproxy.drawing.by_matplotlib import write
from nasproxy.drawing.figure import COLOURS, SYMBOLS, Figure, Marks, Panel

DRAWS = {  # a draw that no choice was made on, and how its trainings are best read
    "nasbench201-cifar10-seed2026": "fit_loss",
    "nasbench201-cifar10-seed2027": "fit_loss",
    "nasbench201-cifar10-seed2029": "fit_loss",
    "nasbench201-cifar10-seed2030": "fit_loss",
    "nasbench201-cifar10-seed2033": "fit_loss",
    "convnet-cifar10-seed2031": "both",
    "convnet-fashion_mnist-seed2032": "both",
}

SHOWN = ("best free score", "random images", "random images + 3 free", "one more full training")
_CELL = r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]"


def all_draws() -> str:
    """Spearman and its 95% interval, a row a draw, as it stands in the README; Markdown."""
    return table([_row(name, reading) for name, reading in DRAWS.items()])


def figure() -> Figure:
    """The same, drawn: a row a draw, best free score, proxies, and both together."""
    rows = [_row(name, reading) for name, reading in DRAWS.items()][::-1]
    marks = []
    for number, column in enumerate(SHOWN):
        points = [(row["draw"], re.search(_CELL, row[column])) for row in rows]
        found = [(draw, *map(float, cell.groups())) for draw, cell in points if cell]
        marks.append(
            Marks(
                x=[rho for _, rho, _, _ in found],
                y=[draw for draw, *_ in found],
                bars=[(low, high) for _, _, low, high in found],
                label=column,
                colour=COLOURS[number],
                symbol=SYMBOLS[number],
            )
        )
    panel = Panel("", "Spearman correlation with the truth, and its 95% interval")
    names = tuple(row["draw"] for row in rows)
    title = "Who ranks as a full training does?"
    return Figure(title, "", tuple(marks), (panel,), rows=names, x_range=(0, 1))


def main() -> None:
    """Write ``docs/fidelity.png``."""
    write({"fidelity": figure()}, Path("docs"), endings=("png",))


def _row(name: str, reading: str) -> dict[str, str]:
    kept = json.loads((FOLDER / f"fidelity-{name}.json").read_text())
    rows = {row["ranking"]: row for row in kept["rows"]}
    space, data, seed = name.split("-")
    trainings = _option(kept["command"], "seeds") or "1"
    read = "" if reading == kept["read by"] else f"@{reading}"
    free = _best([row for row in kept["rows"] if row["kind"] == "free"])
    early = [row for ranking, row in rows.items() if re.match("early stopping(@|$)", ranking)]
    return {
        "draw": f"{space}, {data}, {seed.removeprefix('seed')}",
        "n": rows["params"]["n"],
        "updates": f"{trainings} x {_option(kept['command'], 'steps')}",
        "best free score": f"{free['ranking']} {_cell(free)}",
        "random images": _cell(rows[f"random{read}"]),
        "`dm-space`": _cell(rows.get(f"dm-space{read}")),
        "early stopping, best reading": _cell(_best(early) if early else None),
        "random images + 3 free": _cell(rows["random+az_nas+logsynflow+naswot"]),
        "one more full training": _cell(rows["one training"]),
    }


def _best(rows: Sequence[dict[str, str]]) -> dict[str, str]:
    return max(rows, key=lambda row: float(row["Spearman"]))


def _cell(row: dict[str, str] | None) -> str:
    return "-" if row is None else f"{row['Spearman']} {row['95% interval']}"


def _option(command: str, name: str) -> str | None:
    found = re.search(rf"--{name} (\S+)", command)
    return found and found[1]


if __name__ == "__main__":
    main()
