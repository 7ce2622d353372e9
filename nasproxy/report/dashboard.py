"""A report put beside its studies, for optuna-dashboard to show."""

import optuna

from nasproxy.report import tables
from nasproxy.report.document import Document
from nasproxy.report.figures import make_figures
from nasproxy.report.wording import advice, findings, headline
from nasproxy.studies.dashboard import keep_plot, pictures_of
from nasproxy.studies.identity import study_names
from nasproxy.studies.note import annotate
from nasproxy.studies.storage import as_storage

_ROWS = 14  # of choices, as many as the dashboard's cards are tall for


def attach(report: Document, storage: optuna.storages.BaseStorage | str) -> list[str]:
    """Put a report's figures and findings into the notes and plots of the studies it is about.

    What an earlier report left there is replaced.

    Args:
        report: from `correlate`.
        storage: that holds the studies, or its URL; what a report has from tables or from
            elsewhere is passed over.

    Returns:
        Names of the studies that have it now.
    """
    from nasproxy.drawing import by_plotly  # Plotly takes a moment to import

    section = _section(report)
    attached = []
    for study, own in _studies(report, storage):
        annotate(study, beside_the_truth=section)
        for name, figure in make_figures(report, own, _ROWS).items():
            keep_plot(study, name, by_plotly.draw(figure))
        attached.append(study.study_name)
    return attached


def pictures(report: Document, storage: optuna.storages.BaseStorage | str) -> dict[str, bytes]:
    """The pictures of a report's studies, such as those of proxy sets, each once, by caption."""
    found: dict[bytes, str] = {}
    for study, _ in _studies(report, storage):
        for name, png in pictures_of(study).items():
            found.setdefault(png, f"{study.study_name}: the {name}")
    return {caption: png for png, caption in found.items()}


def _studies(
    report: Document, storage: optuna.storages.BaseStorage | str
) -> list[tuple[optuna.Study, list[str] | None]]:
    """The studies of a report that a storage has, the truth first.

    Each has the names of the rankings that are read from it; None, for all, if none is.
    """
    made_with = [(report.truth, report.provenance)]
    made_with += [(ranking.study, ranking.provenance) for ranking in report.rankings]
    names: dict[str, list[str]] = {}
    for number, (name, about) in enumerate(made_with):
        if "space_sha256" in about:  # every study has it, and no table
            own = names.setdefault(name.removesuffix(f"@{about.get('read', '')}"), [])
            if number:
                own.append(name)
    if not names:
        return []
    storage = as_storage(storage, must_exist=True)
    there = study_names(storage)
    return [
        (optuna.load_study(study_name=name, storage=storage), own or None)
        for name, own in names.items()
        if name in there
    ]


def _section(report: Document) -> str:
    lines = [*headline(report), ""]
    lines += [*(f"- {line}" for line in advice(report)), ""]
    lines += [*tables.markdown(tables.rankings(report)), ""]
    lines += [f"- {line}" for line in findings(report)]
    return "\n".join(lines) + "\n"
