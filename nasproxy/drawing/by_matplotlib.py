"""Figures on paper, by matplotlib: readable in print and by the colour-blind."""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from nasproxy.drawing.figure import GREY, Figure, Marks
from nasproxy.drawing.text import plain_text
from nasproxy.system.files import write_atomically

ENDINGS: dict[str, Any] = {"png": None, "pdf": {"CreationDate": None}}  # and no clock in them
_LEGEND = 8  # letters an inch, of names in one line
_MARKERS = {
    **{"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "star": "*"},
    **{"hexagon": "h", "pentagon": "p", "bowtie": "X", "circle-open": "o", "x-thin-open": "x"},
}


def write(
    figures: Mapping[str, Figure], folder: Path, endings: Collection[str] = tuple(ENDINGS)
) -> None:
    """Write ``NAME.png`` of each figure, and ``NAME.pdf`` for a paper: the same each time."""
    with plain_text():
        for name, figure in figures.items():
            drawn = draw(figure)
            for ending in endings:
                save = partial(drawn.savefig, format=ending, metadata=ENDINGS[ending])
                write_atomically(folder / f"{name}.{ending}", save)


def draw(figure: Figure) -> matplotlib.figure.Figure:
    """A figure with its panels side by side; of one with rows, the first panel."""
    panels = figure.panels[:1] if figure.rows else figure.panels
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    size = (7.0, 1.4 + 0.3 * len(figure.rows) if figure.rows else 4.0)
    if len(panels) > 1:
        size = 3.6 * columns, 3.4 * lines + 0.6
    drawn = matplotlib.figure.Figure(figsize=size, dpi=120, layout="constrained")
    drawn.suptitle(figure.title, fontsize=11)
    axes = list(drawn.subplots(lines, columns, squeeze=False).flat)
    for number, (axis, panel) in enumerate(zip(axes, panels, strict=False)):
        for marks in figure.marks:
            if marks.panel in (None, number):
                _mark(axis, marks, figure.rows)
        _frame(axis, figure)
        axis.set_xlabel(panel.x_label)
        if len(panels) > 1:
            axis.set_title(panel.name, fontsize=9, wrap=True)
        if panel.log_x:
            _make_log(axis)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    if figure.rows or len(panels) > 1:
        fit = 4 if sum(map(len, labels)) < _LEGEND * size[0] else 2
        drawn.legend(handles, labels, loc="outside lower center", frameon=False, ncols=fit)
    else:
        drawn.legend(handles, labels, loc="outside right upper", frameon=False)
    return drawn


def _mark(axis: Any, marks: Marks, rows: tuple[str, ...]) -> None:
    place = {name: row for row, name in enumerate(rows)}
    x = np.array(marks.x, float)  # None is NaN: there is nothing
    y = np.array([place[at] if isinstance(at, str) else at for at in marks.y], float)
    if marks.bars:
        middles = x if rows else y
        lengths = np.abs(np.array(marks.bars, float) - middles[:, None]).T  # (2, n)
        along = {"xerr" if rows else "yerr": lengths}
        axis.errorbar(x, y, fmt="none", ecolor=GREY, elinewidth=2, zorder=1, **along)
    hollow = marks.symbol.endswith("-open")
    axis.plot(
        x,
        y,
        label=marks.label or None,
        color=marks.colour,
        alpha=marks.opacity,
        linestyle={"": "none", "dash": "--"}.get(marks.line, "-"),
        drawstyle="steps-post" if marks.line == "step" else "default",
        marker=_MARKERS.get(marks.symbol),
        markersize=marks.size * 0.7,
        markerfacecolor="none" if hollow else marks.colour,
        markeredgewidth=1.5 if hollow else 0,
        zorder=2 if marks.symbol else 1,
    )
    for at, text in enumerate(marks.text):
        axis.annotate(text, (x[at], y[at]), (0, 6), textcoords="offset points", ha="center")


def _frame(axis: Any, figure: Figure) -> None:
    """Everything about the marks."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_ylabel(figure.y_label)
    for x, name in figure.rules:
        axis.axvline(x, color=GREY, linewidth=1, linestyle=":" if name else "-", label=name or None)
    if figure.x_range:
        axis.set_xlim(*figure.x_range)
    if figure.y_range:
        axis.set_ylim(*figure.y_range)
    if figure.rows:
        axis.set_yticks(range(len(figure.rows)), figure.rows)
        axis.set_ylim(-0.6, len(figure.rows) - 0.3)


def _make_log(axis: Any) -> None:
    """A logarithmic axis of x; its usual numbers are formulas, which `plain_text` leaves alone."""
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
