"""Figures of a report to look into, by Plotly: for the page and for optuna-dashboard.

Backgrounds are transparent and text is grey, so that they are legible in light and in dark.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from nasproxy.series import (
    COLOURS,
    MARKED,
    chance_regret,
    choice_effects,
    chosen,
    column,
    options_of,
    regret_curve,
    some_points,
    telling_choice,
    truth_label,
)

if TYPE_CHECKING:
    from nasproxy.comparison import Ranking
    from nasproxy.report import Report

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon", "pentagon", "bowtie")
GREY, GRID = "#808080", "rgba(128,128,128,0.25)"
POINTS = 800  # that a figure shows at most: more are slow to store and to draw
_TOP_WITH_MENU = 95  # pixels: a title, and a menu under it
_ROWS, _ROWS_OF_A_CARD = 40, 14  # of choices


def scatter(report: "Report", names: Sequence[str] | None = None) -> go.Figure:
    """Score against truth, coloured by the choice that explains the most of the truth.

    Args:
        report: with its points.
        names: rankings to choose from in a menu; all by default.
    """
    rankings = [r for r in report.rankings if names is None or r.study in names]
    index = some_points(report, POINTS)
    choice = telling_choice(report)
    groups: dict[str | None, list[int]] = {None: index}
    if choice is not None:
        has = chosen(report, choice)
        groups = {
            option: [i for i in index if has[i] == option] for option in options_of(report, choice)
        }
    truth = column(report, "truth")
    figure = go.Figure()
    per_ranking = len(groups) + 2
    for number, ranking in enumerate(rankings):
        score, shown = column(report, ranking.study), number == 0
        for k, (option, members) in enumerate(groups.items()):
            name = "architectures" if option is None else f"{choice} = {option}"
            marker = {"size": 8, "color": COLOURS[k % 8], "symbol": SYMBOLS[k % 8], "opacity": 0.8}
            figure.add_scatter(
                **_points(report, members, score, truth), name=name, marker=marker, visible=shown
            )
        for of, name, symbol in (
            (truth, f"best {MARKED} by truth", "circle-open"),
            (score, f"best {MARKED} by score", "x-thin-open"),
        ):
            best = sorted(index, key=lambda i: -of[i])[:MARKED]
            marker = {"size": 15, "color": GREY, "symbol": symbol, "line": {"width": 2}}
            figure.add_scatter(
                **_points(report, best, score, truth), name=name, marker=marker, visible=shown
            )
    buttons = [
        {
            "label": f"{r.study}: {_rho(r)}",
            "method": "update",
            "args": [
                {"visible": [i // per_ranking == n for i in range(len(figure.data))]},
                {"xaxis.title.text": f"score by {r.study}"},
            ],
        }
        for n, r in enumerate(rankings)
    ]
    some = f" ({len(index)} of {report.n} shown)" if len(index) < report.n else ""
    _style(figure, f"Score against truth{some}")
    figure.update_xaxes(title=f"score by {rankings[0].study}")
    figure.update_yaxes(title=truth_label(report))
    if len(buttons) > 1:
        figure.update_layout(updatemenus=[_menu(buttons)], margin_t=_TOP_WITH_MENU)
    else:
        figure.update_layout(title_text=f"Score against truth: {buttons[0]['label']}{some}")
    return figure


def intervals(report: "Report") -> go.Figure:
    """Spearman of every ranking with its interval, and what one more truth training shows."""
    rankings = [r for r in report.rankings if r.spearman is not None][::-1]
    figure = go.Figure()
    figure.add_scatter(
        x=[r.spearman for r in rankings],
        y=[r.study for r in rankings],
        mode="markers",
        marker={"size": 10, "color": COLOURS[0]},
        error_x=_bars(rankings),
        text=[f"{_rho(r)}<br>{r.estimator}" for r in rankings],
        hovertemplate="%{y}<br>%{text}<extra></extra>",
        showlegend=False,
    )
    _style(figure, f"Spearman with {report.truth}, n = {report.n}, 95% intervals")
    figure.update_layout(height=110 + 34 * len(rankings), margin_b=30)  # it has no legend
    if report.ceiling and report.ceiling["spearman"] is not None:
        figure.add_vline(
            x=report.ceiling["spearman"],
            line={"color": COLOURS[1], "dash": "dot"},
            annotation={"text": "one training of the truth", "font": {"color": GREY}},
            annotation_position="top left",
        )
    figure.update_xaxes(zeroline=True, zerolinecolor=GREY)
    return figure


def cost(report: "Report") -> go.Figure | None:
    """Spearman against seconds per architecture; None where no seconds are known."""
    rankings = [r for r in report.rankings if r.spearman is not None and r.seconds_per_architecture]
    if not rankings:
        return None
    figure = go.Figure()
    for k, r in enumerate(rankings):
        figure.add_scatter(
            x=[r.seconds_per_architecture],
            y=[r.spearman],
            error_y=_bars([r]),
            mode="markers",
            name=r.study,
            marker={
                "size": 11,
                "color": COLOURS[k % 8],
                "symbol": SYMBOLS[(k + k // 8) % 8],
            },
            hovertemplate=f"%{{x:.3g}} s an architecture<br>{_rho(r)}<extra>%{{fullData.name}}"
            "</extra>",
        )
    _style(figure, "Correlation against cost")
    if report.truth_seconds_per_architecture:
        seconds = report.truth_seconds_per_architecture
        figure.add_vline(x=seconds, line={"color": GREY, "dash": "dot"})
        figure.add_annotation(  # of which a logarithmic axis wants the logarithm
            x=math.log10(seconds), y=1, yref="paper", yanchor="bottom", text="truth",
            showarrow=False, font={"color": GREY},
        )  # fmt: skip
    figure.update_xaxes(type="log", title="seconds per architecture")
    figure.update_yaxes(title=f"Spearman with {report.truth}")
    return figure


def effects(
    report: "Report", names: Sequence[str] | None = None, most: int = _ROWS
) -> go.Figure | None:
    """Mean place of the architectures with each option, by score and truth side by side.

    Of many options those are shown that matter the most to the truth, in their order.
    """
    known = choice_effects(report)
    telling = sorted(known, key=lambda e: -abs(e.truth - 50))[:most]
    found = [e for e in known if e in telling]
    if not found:
        return None
    found = found[::-1]
    rows = [f"{e.choice} = {e.option}" for e in found]
    rankings = [r for r in report.rankings if names is None or r.study in names]
    figure = go.Figure()
    for k, r in enumerate(rankings):
        between: list[Any] = []
        for e, row in zip(found, rows, strict=True):
            between += [(e.truth, row), (e.scores[r.study], row), (None, None)]
        figure.add_scatter(
            x=[x for x, _ in between],
            y=[y for _, y in between],
            mode="lines",
            line={"color": GRID, "width": 3},
            hoverinfo="skip",
            showlegend=False,
            visible=k == 0,
        )
        figure.add_scatter(
            x=[e.scores[r.study] for e in found],
            y=rows,
            mode="markers",
            name=f"by {r.study}",
            marker={"size": 10, "color": COLOURS[0], "symbol": "circle-open", "line": {"width": 2}},
            visible=k == 0,
        )
    figure.add_scatter(
        x=[e.truth for e in found],
        y=rows,
        mode="markers",
        name="by truth",
        marker={"size": 10, "color": COLOURS[1], "symbol": "diamond"},
        text=[f"n = {e.n}" for e in found],
        hovertemplate="%{y}: %{x:.0f}<br>%{text}<extra>by truth</extra>",
    )
    some = "" if len(found) == len(known) else f": the most telling {len(found)} of {len(known)}"
    _style(figure, f"What each choice does{some}")  # a card of the dashboard is narrow
    figure.update_layout(height=215 + 21 * len(rows))
    figure.update_xaxes(title="mean place in percent, 0 last, 100 first", range=[0, 100])
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=rows, dtick=1, tickfont={"size": 10}
    )
    if len(rankings) > 1:
        buttons = [
            {
                "label": r.study,
                "method": "update",
                "args": [{"visible": [i // 2 == k for i in range(2 * len(rankings))] + [True]}],
            }
            for k, r in enumerate(rankings)
        ]
        figure.update_layout(updatemenus=[_menu(buttons)], margin_t=_TOP_WITH_MENU)
    return figure


def regrets(report: "Report") -> go.Figure:
    """What training the first k in full loses to the best, against k, and by blind draws."""
    figure = go.Figure()
    lines = {r.study: regret_curve(report, r.study) for r in report.rankings}
    for k, (name, curve) in enumerate(lines.items()):
        shown = _corners(curve)
        figure.add_scatter(
            x=[i + 1 for i in shown],
            y=[curve[i] for i in shown],
            name=name,
            mode="lines+markers",
            marker={"size": 7, "symbol": SYMBOLS[k % 8]},
            line={"color": COLOURS[k % 8], "shape": "hv"},
        )
    blind = chance_regret(report)
    steps = sorted({round(1.15**i) for i in range(200) if round(1.15**i) <= len(blind)})
    figure.add_scatter(
        x=steps,
        y=[blind[k - 1] for k in steps],
        name="blind draws",
        mode="lines",
        line={"color": GREY, "dash": "dash"},
    )
    _style(figure, "Regret against architectures confirmed")
    marks = [m * 10**e for e in range(6) for m in (1, 2, 5)]
    figure.update_xaxes(type="log", title="first k trained in full", tickvals=marks)
    figure.update_yaxes(title=f"regret ({report.metric})", rangemode="tozero")
    return figure


PLOTS: dict[str, Callable[["Report"], go.Figure | None]] = {
    "spearman": intervals,
    "scores": scatter,
    "cost": cost,
    "choices": effects,
    "regret": regrets,
}


# those that show chosen rankings, no taller than the dashboard's cards
OF_RANKINGS: dict[str, Callable[["Report", Sequence[str] | None], go.Figure | None]] = {
    "scores": scatter,
    "choices": partial(effects, most=_ROWS_OF_A_CARD),
}


def _points(report: "Report", members: Sequence[int], score: Any, truth: Any) -> dict[str, Any]:
    """Arguments of a scatter of some architectures; those without a score are left out."""
    members = [i for i in members if np.isfinite(score[i]) and np.isfinite(truth[i])]
    return {
        "x": [float(score[i]) for i in members],
        "y": [float(truth[i]) for i in members],
        "text": [report.points[i]["architecture"] for i in members],
        "mode": "markers",
        "hovertemplate": "%{text}<br>score %{x:.4g}, truth %{y:.4g}<extra></extra>",
    }


def _bars(rankings: Sequence["Ranking"]) -> dict[str, Any]:
    """Error bars of 95% intervals."""
    up, down = [], []
    for r in rankings:
        low, high = r.spearman_ci
        rho = r.spearman or 0.0
        up.append(0.0 if high is None else max(high - rho, 0.0))
        down.append(0.0 if low is None else max(rho - low, 0.0))
    return {"type": "data", "array": up, "arrayminus": down, "color": GREY, "thickness": 2}


def _corners(curve: Sequence[float | None]) -> list[int]:
    """Indices at which a falling curve changes, and its end."""
    changes = [i for i in range(1, len(curve)) if curve[i] != curve[i - 1]]
    return sorted({0, *changes, len(curve) - 1})


def _rho(r: "Ranking") -> str:
    if r.spearman is None:
        return "Spearman undefined"
    low, high = r.spearman_ci
    interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"Spearman {r.spearman:.2f}{interval}"


def _menu(buttons: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "buttons": buttons,
        "x": 0,  # under the title, which may be as wide as the figure
        "xanchor": "left",
        "y": 1.02,
        "yanchor": "bottom",
        "font": {"color": "#222222"},
        "bgcolor": "#e8e8e8",  # light in the dark, too
    }


def _style(figure: go.Figure, title: str) -> None:
    figure.update_layout(
        title={
            **{"text": title, "font": {"size": 15}, "x": 0, "xanchor": "left"},
            **{"yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 20}},
        },
        template="none",
        font={"color": GREY},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"align": "left"},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        margin={"l": 20, "r": 20, "t": 70, "b": 110},
    )
    axes = {"gridcolor": GRID, "zeroline": False, "automargin": True, "linecolor": GRID}
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
