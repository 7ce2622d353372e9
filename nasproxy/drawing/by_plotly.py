"""Figures to look into, by Plotly: for the page and for optuna-dashboard.

Backgrounds are transparent and text is grey, so that they are legible in light and in dark.
"""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from nasproxy.drawing.figure import GREY, Figure, Marks

_GRID = "rgba(128,128,128,0.25)"
_LINES = {"solid": {}, "dash": {"dash": "dash"}, "step": {"shape": "hv"}}
_ROW = 26  # pixels
_TICKS = [m * 10.0**e for e in range(-9, 10) for m in (1, 2, 5)]  # of a logarithmic axis


def draw(figure: Figure) -> go.Figure:
    """A figure with a menu of its panels."""
    drawn = go.Figure([_trace(marks) for marks in figure.marks])
    first, title = figure.panels[0], figure.title
    if len(figure.panels) > 1:
        drawn.update_layout(updatemenus=[_menu(figure)], margin_t=95)  # a title, the menu under it
    elif first.name:
        title += f": {first.name}"
    _style(drawn, title)
    drawn.update_xaxes(title=first.x_label, range=figure.x_range, **_scale(first.log_x))
    drawn.update_yaxes(title=figure.y_label, range=figure.y_range)
    for x, name in figure.rules:
        drawn.add_vline(x=x, line={"color": GREY, "width": 1, "dash": "dot" if name else "solid"})
        drawn.add_annotation(  # of which a logarithmic axis wants the logarithm
            x=math.log10(x) if first.log_x else x, xanchor="right", yref="paper", y=1,
            yanchor="bottom", text=name, showarrow=False, font={"color": GREY},
        )  # fmt: skip
    if figure.rows:
        legend = any(marks.label for marks in figure.marks)
        drawn.update_layout(height=(215 if legend else 150) + _ROW * len(figure.rows))
        drawn.update_yaxes(
            type="category", categoryorder="array", categoryarray=figure.rows, dtick=1,
            range=[-0.6, len(figure.rows) - 0.3], tickfont={"size": 11},
        )  # fmt: skip
        if not legend:
            drawn.update_layout(margin_b=60)
    return drawn


def _trace(marks: Marks) -> go.Scatter:
    parts = {"lines": marks.line, "markers": marks.symbol, "text": marks.text}
    thick = {"width": 2} if marks.symbol.endswith("-open") else {}
    in_rows = any(isinstance(y, str) for y in marks.y)
    look: dict[str, Any] = {} if marks.label else {"hoverinfo": "skip"}
    if marks.about:
        at = "%{xaxis.title.text}: %{x:.4g}<br>%{yaxis.title.text}: %{y:.4g}"
        at = "%{y}: %{x:.3g}" if in_rows else at
        whose = "%{fullData.name}" if marks.label else ""
        look = {"hovertext": marks.about}
        look["hovertemplate"] = f"%{{hovertext}}<br>{at}<extra>{whose}</extra>"
    if marks.bars:
        look["error_x" if in_rows else "error_y"] = _bars(marks.x if in_rows else marks.y, marks)
    return go.Scatter(
        x=marks.x,
        y=marks.y,
        name=marks.label,
        showlegend=bool(marks.label),
        visible=marks.panel in (None, 0),
        mode="+".join(part for part, there in parts.items() if there),
        marker={"color": marks.colour, "size": marks.size, "symbol": marks.symbol, "line": thick}
        if marks.symbol
        else None,
        line={"color": marks.colour, **_LINES.get(marks.line, {})},
        opacity=marks.opacity,
        text=marks.text or None,
        textposition="top center",
        **look,
    )


def _bars(middles: Sequence[Any], marks: Marks) -> dict[str, Any]:
    ends = list(zip(middles, marks.bars, strict=True))
    up = [0.0 if high is None else max(high - at, 0.0) for at, (_, high) in ends]
    down = [0.0 if low is None else max(at - low, 0.0) for at, (low, _) in ends]
    return {"type": "data", "array": up, "arrayminus": down, "color": GREY, "thickness": 2}


def _scale(log: bool) -> dict[str, Any]:
    ticks = {"tickvals": _TICKS, "ticktext": [f"{tick:g}" for tick in _TICKS]} if log else {}
    return {"type": "log" if log else "linear", "tickmode": "array" if log else "auto", **ticks}


def _menu(figure: Figure) -> dict[str, Any]:
    buttons = [
        {
            "label": panel.name,
            "method": "update",
            "args": [
                {"visible": [marks.panel in (None, number) for marks in figure.marks]},
                {f"xaxis.{key}": value for key, value in _scale(panel.log_x).items()}
                | {"xaxis.title.text": panel.x_label},
            ],
        }
        for number, panel in enumerate(figure.panels)
    ]
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
    margins = {"l": 20, "r": 20, "t": figure.layout.margin.t or 70, "b": 110}
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
        margin=margins,
    )
    axes = {"gridcolor": _GRID, "zeroline": False, "automargin": True, "linecolor": _GRID}
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
