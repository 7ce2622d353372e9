"""Figures of a report, as PNGs: readable on paper and by the colour-blind."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nasproxy.report import Report

_BLUE, _GREY, _ORANGE = "#0072B2", "#666666", "#D55E00"  # Okabe and Ito


@contextlib.contextmanager
def plain_text() -> Iterator[None]:
    """Draw names as they are: a dollar begins no formula, and a character may lack a glyph."""
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def draw_spearman(report: "Report") -> "Figure":
    """Spearman of every ranking with its 95% interval."""
    from matplotlib.figure import Figure

    shown = [r for r in report.rankings if r.spearman is not None][::-1]
    figure = Figure(figsize=(7, 1.2 + 0.45 * len(shown)), dpi=120, layout="constrained")
    axis = figure.subplots()
    for row, r in enumerate(shown):
        low, high = r.spearman_ci
        if low is not None and high is not None:
            axis.plot([low, high], [row, row], color=_GREY, linewidth=3, solid_capstyle="butt")
        assert r.spearman is not None
        axis.plot(r.spearman, row, "o", color=_BLUE, markersize=8)
        axis.annotate(
            f"{r.spearman:.2f}", (r.spearman, row), (0, 8), textcoords="offset points", ha="center"
        )
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(shown)), [r.study for r in shown])
    lowest = min([0.0, *(r.spearman_ci[0] or 0.0 for r in shown)])
    axis.set(xlim=(lowest - 0.05, 1.03), ylim=(-0.6, len(shown) - 0.3))
    axis.set_xlabel(f"Spearman with {report.truth}, n = {report.n}, 95% bootstrap interval")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def draw_scatter(report: "Report") -> "Figure":
    """Score against truth, a panel a ranking; the best fifth by truth stands out."""
    from matplotlib.figure import Figure

    points = [p for p in report.points if p["truth"] is not None]
    truth = np.array([p["truth"] for p in points])
    edge = np.quantile(truth, 0.8)
    columns = min(3, len(report.rankings))
    rows = -(-len(report.rankings) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.4 * rows), dpi=120, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, ranking in zip(panels, report.rankings, strict=False):
        score = np.array([np.nan if p[ranking.study] is None else p[ranking.study] for p in points])
        for best, colour, marker in ((False, _BLUE, "o"), (True, _ORANGE, "D")):
            chosen = (truth >= edge) == best
            label = "best 20% by truth" if best else None
            axis.scatter(
                score[chosen], truth[chosen], s=22, c=colour, marker=marker, label=label, alpha=0.8
            )
        rho = "undefined" if ranking.spearman is None else f"{ranking.spearman:.2f}"
        axis.set_title(f"{ranking.study}: Spearman {rho}", fontsize=10)
        axis.set(xlabel=f"score by {ranking.study}", ylabel=f"{report.truth}: {report.metric}")
        if np.nanmin(score) > 0 and np.nanmax(score) > 50 * np.nanmin(score):
            axis.set_xscale("log")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in panels[len(report.rankings) :]:
        axis.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False)
    return figure
