"""How far a ranking can be trusted: the report, in words, tables, figures and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nasproxy import tables
from nasproxy.comparison import Comparable, Join, Ranking, finite, make_source, rank_all
from nasproxy.correlation import resample_count
from nasproxy.errors import UserError
from nasproxy.files import write_atomically, write_json, write_text
from nasproxy.runtime import check_seed
from nasproxy.words import advice, findings, headline


@dataclass(frozen=True)
class Report:
    """Rankings beside the study named as truth; print it, or write it to a folder.

    Attributes:
        truth: name of the study.
        truth_estimator: what gave its scores.
        metric: what the truth measures.
        n: architectures that the truth and all rankings have in common.
        drawn: how they were drawn, ``uniform`` or ``all``.
        truth_seconds_per_architecture: mean, all seeds together; None when unknown.
        ceiling: Spearman of one truth training with another, ``{"seeds", "spearman",
            "spearman_top20"}``, and what a ranking without error would show with their mean,
            ``perfect_ranking``; None where the truth has one seed.
        rankings: in the order given, then the combined ones.
        pareto: architectures that no other beats in truth and cost, by cost: ``params``, ``macs``,
            ``latency`` (ms an image, measured in batches).
        provenance: identity, versions and hardware of the truth.
        points: per architecture its key, truth and scores (None: no score), for figures.
        architectures: of each point its ``choices`` by name (empty if only tables have it), and
            its ``params``, ``macs`` and ``latency`` where known.
    """

    truth: str
    truth_estimator: str
    metric: str
    n: int
    drawn: str
    truth_seconds_per_architecture: float | None
    ceiling: dict[str, float | int | None] | None
    rankings: tuple[Ranking, ...]
    pareto: dict[str, list[dict[str, Any]]]
    provenance: dict[str, Any]
    points: tuple[dict[str, Any], ...]
    architectures: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with None for what is not defined."""
        return asdict(self)

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

        Args:
            folder: made if need be.
            extra: more entries of the JSON document.
            pictures: PNGs for the page, such as those of proxy sets, by caption.
            command: what makes the report again, for the page.
        """
        from nasproxy.figures import (
            FIGURES,
            plain_text,
        )  # matplotlib and Plotly take a second to import
        from nasproxy.page import to_html

        folder = Path(folder)
        drawn = []
        for name, draw in FIGURES.items():
            with plain_text():
                figure = draw(self)
                if figure is None:  # nothing to show
                    (folder / name).unlink(missing_ok=True)
                    continue
                write_atomically(
                    folder / name, lambda temporary: figure.savefig(temporary, format="png")
                )
            drawn.append(name)
        write_text(folder / "report.html", to_html(self, pictures or {}, command))
        write_text(folder / "report.md", self.to_markdown(drawn))
        write_json(folder / "report.json", {**self.to_dict(), **(extra or {})})


def correlate(
    truth: Comparable,
    rankings: Sequence[Comparable],
    *,
    combine: Sequence[Sequence[str]] = (),
    combination: str = "log",
    seed: int = 0,
) -> Report:
    """Correlate rankings with the study named as truth.

    Only architectures drawn without regard to a score count, and of these the ones that every
    study has: trials steered by a sampler crowd where scores are high, which biases any
    correlation. An architecture that broke while it was being scored ranks last.

    Args:
        truth: such as full-data training; a study, or a table's column (`read_table`).
        rankings: one or more of the same; `Reading(study, "loss")` reads one by another number.
        combine: names of rankings to combine by rank; each combination is a ranking too.
        combination: ``log`` (sum of the logarithms of ranks) or ``mean`` (of ranks).
        seed: of the bootstrap.

    Raises:
        UserError: fewer than three architectures are in common, or the studies are of different
            data or spaces.
    """
    check_seed(seed)
    if not rankings:
        raise UserError("correlate needs one ranking or more beside the truth")
    source, *others = (make_source(given) for given in (truth, *rankings))
    names = [other.name for other in others]
    if len(set(names)) < len(names):
        raise UserError(f"expected every ranking once, got {', '.join(names)}")
    if combination not in ("log", "mean"):
        raise UserError(f"expected combination log or mean, got {combination!r}")
    for parts in combine:
        if len(set(parts)) < 2 or len(set(parts)) < len(parts):
            raise UserError(f"expected different rankings to combine, got {', '.join(parts)}")
    join = Join(source, others)
    columns = [*join.columns, *(join.combined(names, combination) for names in combine)]
    names = [column.name for column in columns]
    resamples = resample_count(len(join.keys))
    return Report(
        truth=source.name,
        truth_estimator=join.truth.estimator,
        metric=source.metric,
        n=len(join.keys),
        drawn=join.drawn,
        truth_seconds_per_architecture=join.truth.seconds,
        ceiling=join.ceiling(),
        rankings=rank_all(join.truth, columns, seed),
        pareto=join.pareto(),
        provenance={
            **source.attributes,
            "bootstrap": f"percentile, {resamples} resamples of architectures, seed {seed}",
        },
        points=tuple(
            {"architecture": key, "truth": finite(join.truth.scores[i])}
            | {name: finite(c.scores[i]) for name, c in zip(names, columns, strict=True)}
            for i, key in enumerate(join.keys)
        ),
        architectures=tuple(join.architectures()),
    )
