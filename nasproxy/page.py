"""The report as one page of HTML that needs nothing else, not even a network."""

import base64
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import plotly.io
import plotly.offline

from nasproxy import tables
from nasproxy.correlation import best_first
from nasproxy.plots import PLOTS
from nasproxy.series import column
from nasproxy.spaces import drawing
from nasproxy.words import advice, findings, headline

if TYPE_CHECKING:
    from nasproxy.report import Report

CAPTIONS = {
    "spearman": "How well each ranking agrees with the truth. The bars are 95% bootstrap intervals "
    "over architectures; rankings whose bars overlap may differ: see the sentences above.",
    "scores": "A point an architecture; hover for its name. Rings are the best by truth, crosses "
    "the best by score: where they coincide, the ranking finds the best.",
    "cost": "What the correlation costs; the time spent once, such as condensing, is in the table.",
    "choices": "Whether a ranking likes what the truth likes: the mean place of all architectures "
    "with an option. A long line is a choice that the ranking misjudges.",
    "regret": "What is lost to the best architecture if only the first k of a ranking are trained "
    "in full. Below the dashed line the ranking is better than training k at random.",
}
_SHOWN = 3  # of the best architectures
_PLACES = 5  # of the rankings, those by which an architecture's place is shown


def to_html(report: "Report", pictures: Mapping[str, bytes], command: str | None) -> str:
    """The page.

    Args:
        report: what to show.
        pictures: PNGs by caption.
        command: what makes the report again; None leaves it out.
    """
    plots = {}
    for name, draw in PLOTS.items():
        figure = draw(report)
        if figure is not None:
            plots[name] = plotly.io.to_html(
                figure,
                full_html=False,
                include_plotlyjs=False,
                config={"displaylogo": False, "responsive": True},
            )
    return _template().render(
        report=report,
        headline=headline(report),
        advice=advice(report),
        findings=findings(report),
        rankings=tables.rankings(report),
        details=tables.details(report),
        plots=plots,
        captions=CAPTIONS,
        best=_best(report),
        pictures={
            caption: base64.b64encode(png).decode("ascii") for caption, png in pictures.items()
        },
        command=command,
        plotly=plotly.offline.get_plotlyjs(),
    )


def _best(report: "Report") -> list[dict[str, Any]]:
    """The best by truth and each ranking's first, and where each stands by the best rankings."""
    orders = {"truth": best_first(column(report, "truth")).tolist()}
    near = sorted(report.rankings, key=lambda r: -(r.spearman or 0))[:_PLACES]
    shown = {"truth", *(r.study for r in near)}
    orders |= {r.study: best_first(column(report, r.study)).tolist() for r in report.rankings}
    made_with = [report.provenance, *(r.provenance for r in report.rankings)]
    space = next((found for one in made_with if (found := one.get("space"))), None)
    index = dict.fromkeys([*orders["truth"][:_SHOWN], *(order[0] for order in orders.values())])
    return [
        {
            "architecture": report.points[i]["architecture"],
            "truth": report.points[i]["truth"],
            "places": {
                name: order.index(i) + 1
                for name, order in orders.items()
                if name in shown or order[0] == i
            },
            "drawing": drawing(space, report.architectures[i]["choices"]),
            **report.architectures[i],
        }
        for i in list(index)[: 2 * _SHOWN]
    ]


@lru_cache
def _template() -> jinja2.Template:
    text = (Path(__file__).parent / "report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text)
