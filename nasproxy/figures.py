"""Figures of a report, as PNGs: readable on paper and by the colour-blind."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from nasproxy.series import COLOURS, chance_regret, choice_effects, regret_curve, truth_label

if TYPE_CHECKING:
    from nasproxy.report import Report

_BLUE, _ORANGE, *_ = COLOURS
_GREY = "#666666"
_MARKERS = "osD^*hpX"


@contextlib.contextmanager
def plain_text() -> Iterator[None]:
    """Draw names as they are: a dollar begins no formula, and a character may lack a glyph."""
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def draw_spearman(report: "Report") -> Figure:
    """Spearman of every ranking with its 95% interval."""
    shown = [r for r in report.rankings if r.spearman is not None][::-1]
    figure, axis = _one((7, 1.2 + 0.45 * len(shown)))
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
    return figure


def _log(axis: Any) -> None:
    """A logarithmic axis of x; its usual numbers are formulas, which `plain_text` leaves alone."""
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def draw_scatter(report: "Report") -> Figure:
    """Score against truth, a panel a ranking; the best fifth by truth stands out."""
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
        axis.set_title(f"{ranking.study}: Spearman {rho}", fontsize=10, wrap=True)
        axis.set(xlabel=f"score by {ranking.study}", ylabel=truth_label(report))
        if np.nanmin(score) > 0 and np.nanmax(score) > 50 * np.nanmin(score):
            _log(axis)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in panels[len(report.rankings) :]:
        axis.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False)
    return figure


def draw_cost(report: "Report") -> Figure | None:
    """Spearman against seconds per architecture; None where no seconds are known."""
    shown = [r for r in report.rankings if r.spearman is not None and r.seconds_per_architecture]
    if not shown:
        return None
    figure, axis = _one((7, 4))
    for k, r in enumerate(shown):
        seconds, (low, high) = r.seconds_per_architecture, r.spearman_ci
        look = {"color": COLOURS[k % 8], "marker": _MARKERS[(k + k // 8) % 8]}
        if low is not None and high is not None:
            axis.plot([seconds, seconds], [low, high], color=_GREY, linewidth=1.5, zorder=1)
        axis.plot(seconds, r.spearman, linestyle="none", markersize=9, label=r.study, **look)
    if report.truth_seconds_per_architecture:
        axis.axvline(
            report.truth_seconds_per_architecture, color=_GREY, linestyle=":", label="the truth"
        )
    axis.set(xlabel="seconds per architecture", ylabel=f"Spearman with {report.truth}")
    _log(axis)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def draw_choices(report: "Report") -> Figure | None:
    """Mean place of the architectures with each option, by truth and by the first ranking."""
    found = choice_effects(report)
    if not found:
        return None
    name = report.rankings[0].study
    figure, axis = _one((7, 1.3 + 0.24 * len(found)))
    for row, e in enumerate(found[::-1]):
        axis.plot([e.truth, e.scores[name]], [row, row], color="#cccccc", linewidth=3, zorder=1)
        first = row == 0
        axis.plot(
            e.scores[name], row, "o", mfc="white", mec=_BLUE, mew=2, label=first * f"by {name}"
        )
        axis.plot(e.truth, row, "D", color=_ORANGE, label=first * "by truth")
    axis.set_yticks(range(len(found)), [f"{e.choice} = {e.option}" for e in found[::-1]])
    axis.set(xlim=(0, 100), xlabel="mean place in percent, 0 last, 100 first")
    figure.legend(loc="outside upper right", frameon=False, ncols=2)
    return figure


def draw_regret(report: "Report") -> Figure:
    """What training the first k in full loses to the best, against k, and by blind draws."""
    figure, axis = _one((7, 4))
    for k, r in enumerate(report.rankings):
        curve = regret_curve(report, r.study)
        known = [np.nan if value is None else value for value in curve]
        axis.step(
            range(1, len(curve) + 1),
            known,
            where="post",
            color=COLOURS[k % 8],
            linestyle=("-", (0, (5, 1)))[k // 8 % 2],
            label=r.study,
        )
    blind = chance_regret(report)
    axis.plot(range(1, len(blind) + 1), blind, "--", color=_GREY, label="blind draws")
    axis.set(xlabel="first k trained in full", ylabel=f"regret ({report.metric})")
    _log(axis)
    axis.set_ylim(bottom=0)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


FIGURES: dict[str, Callable[["Report"], Figure | None]] = {
    "spearman.png": draw_spearman,
    "scores.png": draw_scatter,
    "cost.png": draw_cost,
    "choices.png": draw_choices,
    "regret.png": draw_regret,
}


def _one(size: tuple[float, float]) -> tuple[Figure, Any]:
    """A figure with one pair of axes."""
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis
