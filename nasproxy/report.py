"""How far a ranking can be trusted: the report, in words, tables, figures and JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nasproxy.comparison import Comparable, Join, Ranking, finite, make_source, rank_all
from nasproxy.correlation import resample_count
from nasproxy.errors import UserError
from nasproxy.files import write_atomically, write_json, write_text
from nasproxy.runtime import check_seed


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

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with None for what is not defined."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join([*_headline(self), "", *_table(self), "", *_findings(self)])

    def to_markdown(self, figures: Sequence[str] = ()) -> str:
        """The report in Markdown, with links to figures in the same folder."""
        lines = ["# How far the rankings can be trusted", "", *_headline(self), "", *_table(self)]
        lines += ["", *(f"- {line}" for line in _findings(self)), ""]
        lines += ["## Among the best", "", *_subset_table(self), ""]
        lines += ["## What training the first k in full finds", "", *_at_k_table(self), ""]
        for cost, front in self.pareto.items():
            lines += [f"## Best for its {cost}", "", *_pareto_table(cost, front), ""]
        for name in figures:
            lines += [f"![{Path(name).stem.replace('_', ' ')}]({name})", ""]
        lines += ["## Made with", ""]
        lines += [f"- {key}: {value}" for key, value in self.provenance.items()]
        return "\n".join(lines) + "\n"

    def write(self, folder: str | Path, extra: dict[str, Any] | None = None) -> None:
        """Write ``report.json``, ``report.md`` and its PNG figures."""
        from nasproxy.figures import draw_scatter, draw_spearman, plain_text

        folder = Path(folder)
        figures = {"spearman.png": draw_spearman, "scores.png": draw_scatter}
        for name, draw in figures.items():
            with plain_text():
                figure = draw(self)
                write_atomically(
                    folder / name, lambda temporary: figure.savefig(temporary, format="png")
                )
        write_json(folder / "report.json", {**self.to_dict(), **(extra or {})})
        write_text(folder / "report.md", self.to_markdown(list(figures)))


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
    )


def _headline(report: Report) -> list[str]:
    how = "all of the space" if report.drawn == "all" else "drawn uniformly"
    seconds = _number(report.truth_seconds_per_architecture, ".2f")
    said = [
        f"{report.n} architectures, {how}. Truth: {report.truth} "
        f"({report.metric}, {seconds} s per architecture)."
    ]
    if report.ceiling:
        c = report.ceiling
        said.append(
            f"One training of the truth against another: Spearman {_number(c['spearman'], '.3f')}, "
            f"among the best 20% {_number(c['spearman_top20'], '.2f')}. A perfect ranking would "
            f"show about {_number(c['perfect_ranking'], '.3f')} with the mean of {c['seeds']}."
        )
    return said


def _table(report: Report) -> list[str]:
    """The figures as an aligned Markdown table."""
    header = ["ranking", "Spearman", "95% interval", "Kendall", "top 20%", "regret"]
    rows = [[*header, "s/arch", "s once"]]
    for r in report.rankings:
        rows.append(
            [
                r.study,
                _number(r.spearman, ".3f"),
                _range(r.spearman_ci),
                _number(r.kendall, ".3f"),
                _number(r.spearman_top20, ".2f"),
                _number(r.regret, ".4g"),
                _number(r.seconds_per_architecture, ".3g"),
                _number(r.seconds_once, ".1f"),
            ]
        )
    return _aligned(rows)


def _subset_table(report: Report) -> list[str]:
    rows = [["ranking", "best by", "share", "n", "Spearman", "95% interval", "Kendall"]]
    for r in report.rankings:
        for s in r.subsets:
            rho, tau = _number(s.spearman, ".2f"), _number(s.kendall, ".2f")
            share = f"{s.fraction:.0%}"
            rows.append([r.study, s.by, share, str(s.n), rho, _range(s.spearman_ci), tau])
    return _aligned(rows)


def _at_k_table(report: Report) -> list[str]:
    rows = [["ranking", "k", "overlap with the truth's k", "best rank found", "regret"]]
    for r in report.rankings:
        for a in r.at_k:
            found = [f"{a.overlap:.0%}", str(a.best_rank), _number(a.regret, ".4g")]
            rows.append([r.study, str(a.k), *found])
    return _aligned(rows)


def _pareto_table(cost: str, front: Sequence[dict[str, Any]]) -> list[str]:
    rows = [[cost, "truth", "architecture"]]
    return _aligned(
        rows + [[f"{p[cost]:.4g}", f"{p['truth']:.4g}", _code(p["architecture"])] for p in front]
    )


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"  # a bare | would end the cell


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def _range(ends: tuple[float | None, float | None]) -> str:
    return f"[{_number(ends[0], '.2f')}, {_number(ends[1], '.2f')}]"


def _findings(report: Report) -> list[str]:
    """What the figures say, in words: a difference counts when its interval leaves 0 out."""
    said = []
    for number, one in enumerate(report.rankings):
        for other in report.rankings[number + 1 :]:
            entry = one.difference[other.study]
            low, high = entry["ci"]
            if entry["value"] is None or low is None or high is None:
                continue
            shown = f"{entry['value']:+.2f} [{low:+.2f}, {high:+.2f}]"
            if low > 0 or high < 0:
                word = "better" if low > 0 else "worse"
                said.append(f"{one.study} ranks {word} than {other.study}: {shown}.")
            else:
                said.append(f"{one.study} and {other.study} can't be told apart: {shown}.")
    for r in report.rankings:
        if r.broken:
            said.append(f"{r.study}: {r.broken} of {r.n} could not be scored and rank last.")
        if r.seconds_once and r.seconds_once > 0.05 and r.speedup:
            even = f", earned back after {r.break_even} architectures" if r.break_even else ""
            said.append(
                f"{r.study} takes {r.seconds_once:.1f} s once and is {r.speedup:.1f} times as "
                f"fast as the truth on each architecture{even}."
            )
    return said


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
