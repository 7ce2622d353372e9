"""What a search leaves to look at: a page, pictures, and figures in optuna-dashboard."""

from collections.abc import Mapping
from pathlib import Path

import optuna

from nasproxy.drawing.figure import Figure
from nasproxy.estimators.making import parse_by
from nasproxy.searches.figures import CAPTIONS, make_figures
from nasproxy.searches.result import SearchResult
from nasproxy.studies.dashboard import keep_plot
from nasproxy.system.files import write_text


def leave(result: SearchResult, study: optuna.Study, cost: str | None, command: str) -> None:
    """Write ``search.html`` and PNG figures, and put the figures beside the study.

    Args:
        result: of the search.
        study: of its trainings.
        cost: the second objective; None without.
        command: what makes the search again.
    """
    # Plotly and matplotlib take a moment to import
    from nasproxy.drawing import by_matplotlib, by_plotly

    metric = (study.metric_names or ["score"])[0]
    figures = make_figures(result, metric, parse_by(cost).study_name if cost else "")
    for name in CAPTIONS.keys() - figures.keys():  # of an earlier search in the folder
        for ending in by_matplotlib.ENDINGS:
            (result.folder / f"{name}.{ending}").unlink(missing_ok=True)
    by_matplotlib.write(figures, result.folder)
    write_text(result.folder / "search.html", to_html(result, figures, metric, command))
    for name, figure in figures.items():
        keep_plot(study, name, by_plotly.draw(figure))


def to_html(result: SearchResult, figures: Mapping[str, Figure], metric: str, command: str) -> str:
    """The page, in one file."""
    from nasproxy.drawing.page import plots, render

    trained = [
        [k, step["architecture"], step["by"], _number(step["seen"]), _number(step["best"])]
        for k, step in enumerate(result.steps, start=1)
    ]
    return render(
        Path(__file__).parent / "search.html.jinja",
        result=result,
        lines=str(result).splitlines(),
        choices=result.best["params"],
        trained=[["", "architecture", "chosen by", metric, "handed over"], *trained],
        plots=plots(figures),
        captions=CAPTIONS,
        command=command,
    )


def _number(value: float | None) -> str:
    return "broke" if value is None else f"{value:.4g}"
