"""The report as one page of HTML that needs nothing else, not even a network."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nasproxy.drawing.page import plots, render
from nasproxy.report import tables
from nasproxy.report.document import Document
from nasproxy.report.figures import make_figures
from nasproxy.report.wording import advice, findings, headline
from nasproxy.spaces.space import drawing
from nasproxy.studies.statistics import Array, best_first, chances

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


def to_html(report: Document, pictures: Mapping[str, bytes], command: str | None) -> str:
    """The page.

    Args:
        report: what to show.
        pictures: PNGs by caption.
        command: what makes the report again; None leaves it out.
    """
    return render(
        Path(__file__).parent / "report.html.jinja",
        report=report,
        headline=headline(report),
        advice=advice(report),
        findings=findings(report),
        rankings=tables.rankings(report),
        details=tables.details(report),
        plots=plots(make_figures(report)),
        captions=CAPTIONS,
        best=_best(report),
        pictures={
            caption: base64.b64encode(png).decode("ascii") for caption, png in pictures.items()
        },
        command=command,
    )


def _best(report: Document) -> list[dict[str, Any]]:
    """The best by truth and each ranking's first, and where each stands by the best rankings.

    A ranking whose first place is shared would pick by lot: it has no first.
    """
    near = sorted(report.rankings, key=lambda r: -(r.spearman or 0))[:_PLACES]
    scores = {r.study: report.scores(r.study) for r in report.rankings}
    alone = {name: np.flatnonzero(chances(of, 1) == 1).tolist() for name, of in scores.items()}
    shown = {name for name, first in alone.items() if first} & {r.study for r in near}
    made_with = [report.provenance, *(r.provenance for r in report.rankings)]
    space = next((found for one in made_with if (found := one.get("space"))), None)
    best = best_first(report.truths())[:_SHOWN].tolist()
    index = dict.fromkeys([*best, *(i for first in alone.values() for i in first)])
    return [
        {
            "architecture": report.points[i]["architecture"],
            "truth": report.points[i]["truth"],
            "places": [
                ("the truth", _place(report.truths(), i)),
                *((n, _place(of, i)) for n, of in scores.items() if n in shown or i in alone[n]),
            ],
            "drawing": drawing(space, report.architectures[i]["choices"]),
            **report.architectures[i],
        }
        for i in list(index)[: 2 * _SHOWN]
    ]


def _place(scores: Array, i: int) -> str:
    """The place of one of (n,), 1 is first; of equals all that they share."""
    first, last = 1 + (scores > scores[i]).sum(), (scores >= scores[i]).sum()
    return f"{first}" if first == last else f"{first} to {last}"
