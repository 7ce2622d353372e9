"""How far a ranking can be trusted: the report, in words, tables, figures and JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasproxy.errors import UserError
from nasproxy.report import tables
from nasproxy.report.document import Document
from nasproxy.report.figures import FIGURES, make_figures
from nasproxy.report.join import Join
from nasproxy.report.rankings import rank_all, unit_of_regret
from nasproxy.report.sources import Comparable, Storages, make_sources
from nasproxy.report.wording import advice, findings, headline
from nasproxy.studies.statistics import finite, resample_count
from nasproxy.system.files import write_json, write_text
from nasproxy.system.machine import check_seed


class Report(Document):
    """Rankings beside the study named as truth; print it, or write it to a folder.

    Its data are those of `Document`.
    """

    def __str__(self) -> str:
        table = tables.markdown(tables.rankings(self))
        return "\n".join([*headline(self), "", *table, "", *findings(self)])

    def to_markdown(self, figures: Sequence[str] = ()) -> str:
        """The report in Markdown, with links to figures in the same folder."""
        lines = ["# How far the rankings can be trusted", "", *headline(self), ""]
        lines += [*(f"- {line}" for line in advice(self)), ""]
        lines += [*tables.markdown(tables.rankings(self)), ""]
        lines += [*(f"- {line}" for line in findings(self)), ""]
        for title, table in tables.details(self).items():
            lines += [f"## {title}", "", *tables.markdown(table), ""]
        for name in figures:
            lines += [f"![{Path(name).stem.replace('_', ' ')}]({name})", ""]
        lines += ["## Made with", ""]
        lines += [f"- {key}: {value}" for key, value in self.provenance.items()]
        return "\n".join(lines) + "\n"

    def write(
        self,
        folder: str | Path,
        extra: dict[str, Any] | None = None,
        pictures: Mapping[str, bytes] | None = None,
        command: str | None = None,
    ) -> None:
        """Write ``report.json``, ``report.html``, and ``report.md`` with its PNG figures.

        For a paper, the figures are there as PDF, the table as ``rankings.csv`` and ``.tex``.

        Args:
            folder: made if need be.
            extra: more entries of the JSON document.
            pictures: PNGs for the page, such as those of proxy sets, by caption.
            command: what makes the report again, for the page.
        """
        # matplotlib and Plotly take a second to import
        from nasproxy.drawing import by_matplotlib
        from nasproxy.report.page import to_html

        folder = Path(folder)
        made = make_figures(self)
        for name in set(FIGURES) - set(made):  # nothing to show now
            for ending in by_matplotlib.ENDINGS:
                (folder / f"{name}.{ending}").unlink(missing_ok=True)
        by_matplotlib.write(made, folder)
        write_text(folder / "report.html", to_html(self, pictures or {}, command))
        write_text(folder / "report.md", self.to_markdown([f"{name}.png" for name in made]))
        table = tables.rankings(self)
        write_text(folder / "rankings.csv", tables.as_csv(table))
        write_text(folder / "rankings.tex", tables.latex(table))
        write_json(folder / "report.json", {**self.to_dict(), **(extra or {})})


def correlate(
    truth: Comparable | str,
    rankings: Sequence[Comparable | str],
    *,
    storage: Storages = None,
    combine: Sequence[Sequence[str]] = (),
    combination: str = "log",
    seed: int = 0,
) -> Report:
    """Correlate rankings with the study named as truth.

    Only architectures drawn without regard to a score count, and of these the ones that every
    study has: trials steered by a sampler crowd where scores are high, which biases any
    correlation. An architecture that broke while it was being scored ranks last.

    Args:
        truth: such as full-data training: a study, or a table's column (`read_table`), or the name
            of one, as ``full`` or ``table:FILE:COLUMN``.
        rankings: one or more of the same. `Reading(study, "loss")` or ``NAME@loss`` reads
            trainings by another number than their score: ``accuracy``, ``loss`` (of validation),
            ``train_loss`` (last updates), ``mean_loss`` (all updates), ``fit_loss`` (images trained
            on), ``both`` (accuracy and train_loss), ``balanced_accuracy`` (mean over classes).
        storage: URL of the Optuna storage that holds the studies given by name, or the storage;
            or several, of which one must hold each.
        combine: names of rankings to combine by rank; each combination is a ranking too.
        combination: ``log`` (sum of the logarithms of ranks) or ``mean`` (of ranks).
        seed: of the bootstrap.

    Raises:
        UserError: fewer than three architectures are in common, or the
            studies are of different data or spaces.
    """
    check_seed(seed)
    if not rankings:
        raise UserError("correlate needs one ranking or more beside the truth")
    source, *others = make_sources([truth, *rankings], storage)
    _require_once([other.name for other in others])
    if combination not in ("log", "mean"):
        raise UserError(f"expected combination log or mean, got {combination!r}")
    for parts in combine:
        if len(set(parts)) < 2 or len(set(parts)) < len(parts):
            raise UserError(f"expected different rankings to combine, got {', '.join(parts)}")
    join = Join(source, others)
    columns = [*join.columns, *(join.combined(names, combination) for names in combine)]
    names = [column.source.name for column in columns]
    _require_once(names)
    factor, unit = unit_of_regret(source.metric, join.truth.scores)
    resamples = resample_count(len(join.keys))
    return Report(
        truth=source.name,
        truth_estimator=source.estimator,
        metric=source.metric,
        n=len(join.keys),
        drawn=join.drawn,
        truth_seconds_per_architecture=join.truth.seconds,
        ceiling=join.ceiling(),
        rankings=rank_all(join.truth, columns, seed, factor),
        pareto=join.pareto(),
        provenance={
            **source.provenance,
            "bootstrap": f"percentile, {resamples} resamples of architectures, seed {seed}",
        },
        points=tuple(
            {
                "architecture": key,
                "truth": finite(join.truth.scores[i]),
                "scores": {n: finite(c.scores[i]) for n, c in zip(names, columns, strict=True)},
            }
            for i, key in enumerate(join.keys)
        ),
        architectures=tuple(join.architectures()),
        broken=int(join.truth.broken.sum()),
        broken_why=join.truth.why,
        regret_unit=unit,
        regret_factor=factor,
        truth_reliability=source.reliability,
    )


def _require_once(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise UserError(f"expected every ranking once, got {', '.join(names)}")
