"""A report put beside its studies, for optuna-dashboard to show."""

from typing import TYPE_CHECKING

import optuna

from nasproxy import tables
from nasproxy.dashboard import keep_plot
from nasproxy.note import annotate
from nasproxy.storage import study_names
from nasproxy.words import advice, findings, headline

if TYPE_CHECKING:
    from nasproxy.report import Report


def attach(report: "Report", storage: optuna.storages.BaseStorage) -> list[str]:
    """Put a report's figures and findings into the notes and plots of the studies it is about.

    What an earlier report left there is replaced.

    Args:
        report: from `correlate`.
        storage: that holds the studies; what a report has from tables or elsewhere is passed over.

    Returns:
        Names of the studies that have it now.
    """
    from nasproxy.plots import OF_RANKINGS, PLOTS  # Plotly takes a moment to import

    there = set(study_names(storage))
    by_study: dict[str, list[str]] = {report.truth.rpartition("@")[0] or report.truth: []}
    for ranking in report.rankings:
        base = ranking.study.rpartition("@")[0]
        name = base if base in there and ranking.study not in there else ranking.study
        by_study.setdefault(name, []).append(ranking.study)
    section = _section(report)
    attached = []
    for name in [name for name in by_study if name in there]:
        study = optuna.load_study(study_name=name, storage=storage)
        annotate(study, beside_the_truth=section)
        own = by_study[name] or None  # the truth shows all
        for plot, draw in PLOTS.items():
            figure = OF_RANKINGS[plot](report, own) if plot in OF_RANKINGS else draw(report)
            if figure is not None:
                keep_plot(study, plot, figure)
        attached.append(name)
    return attached


def _section(report: "Report") -> str:
    lines = [*headline(report), ""]
    lines += [*(f"- {line}" for line in advice(report)), ""]
    lines += [*tables.markdown(tables.rankings(report)), ""]
    lines += [f"- {line}" for line in findings(report)]
    return "\n".join(lines) + "\n"
