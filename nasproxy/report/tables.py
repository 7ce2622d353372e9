"""A report's tables: rows of text, the first of them the header."""

import csv
import io
import re

from nasproxy.report.document import Document
from nasproxy.report.wording import by_spearman, correlated, number, verdict

Table = list[list[str]]


def rankings(report: Document) -> Table:
    """A row a ranking, best first: its correlations with the truth, its regret and its cost."""
    header = ["ranking", "Spearman", "95% interval", "Kendall", "top 20%", _regret(report)]
    broken = report.broken or any(r.broken for r in report.rankings)
    if broken:
        header[3:3] = ["without the broken"]
    rows = [[*header, "s/arch", "s once"]]
    for r in by_spearman(report):
        rows.append(
            [
                r.study,
                number(r.spearman, ".3f"),
                _range(r.spearman_ci),
                *([_rho(r.spearman_unbroken, r.spearman_unbroken_ci)] if broken else []),
                number(r.kendall, ".3f"),
                number(r.spearman_top20, ".2f"),
                "broke" if r.first_broke == 1 else number(r.regret, ".3g"),
                number(r.seconds_per_architecture, ".3g"),
                number(r.seconds_once, ".1f"),
            ]
        )
    return rows


def details(report: Document) -> dict[str, Table]:
    """The other tables, by title."""
    found = {
        "Among the best": _among_the_best(report),
        "What training the first k in full finds": _at_k(report),
    }
    if len(report.rankings) > 2:
        found["Spearman of the row less that of the column"] = _differences(report)
    if any(r.reliability for r in report.rankings):
        found["How far trainings agree with themselves"] = _reliability(report)
    for cost, front in report.pareto.items():
        rows = [[f"{p[cost]:.4g}", f"{p['truth']:.4g}", p["architecture"]] for p in front]
        found[f"Best for its {cost}"] = [[cost, "truth", "architecture"], *rows]
    return found


def as_csv(table: Table) -> str:
    """The table as CSV."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(table)
    return written.getvalue()


def latex(table: Table) -> str:
    """The table for a paper, by booktabs: text to the left, figures to the right."""
    rows = [" & ".join(map(_escaped, row)) + r" \\" for row in table]
    columns = "l" + "r" * (len(table[0]) - 1)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    words = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return re.sub(r"[\\~^&%$#_{}]", lambda found: words.get(found[0], "\\" + found[0]), text)


def markdown(table: Table) -> list[str]:
    """Aligned lines of Markdown; a column named architecture is set as code."""
    code = [name == "architecture" for name in table[0]]
    rows = [table[0]]
    for row in table[1:]:  # a bare | would end the cell
        texts = [text.replace("|", "\\|") for text in row]
        rows.append([f"`{text}`" if c else text for text, c in zip(texts, code, strict=True)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def _among_the_best(report: Document) -> Table:
    rows = [["ranking", "best by", "share", "n", "Spearman", "95% interval", "Kendall"]]
    for r in report.rankings:
        for s in (s for s in r.subsets if s.spearman is not None):
            rho, tau = number(s.spearman, ".2f"), number(s.kendall, ".2f")
            share = f"{s.fraction:.0%}"
            rows.append([r.study, s.by, share, str(s.n), rho, _range(s.spearman_ci), tau])
    return rows


def _at_k(report: Document) -> Table:
    rows = [["ranking", "k", "overlap with the truth's k", "best rank found", _regret(report)]]
    for r in report.rankings:
        for a in r.at_k:
            found = [f"{a.overlap:.0%}", f"{a.best_rank:.3g}", number(a.regret, ".3g")]
            rows.append([r.study, str(a.k), *found])
    return rows


def _differences(report: Document) -> Table:
    """A star is beside what the interval, of all pairs at once, tells from 0."""
    ranked = correlated(report)
    rows = [["ranking", *(r.study for r in ranked)]]
    for r in ranked:
        cells = []
        for other in ranked:
            value = None if other is r else r.difference[other.study]["value"]
            told = value is not None and verdict(r, other.study) in ("better", "worse")
            cells.append(number(value, "+.2f") + ("*" if told else ""))
        rows.append([r.study, *cells])
    return rows


def _reliability(report: Document) -> Table:
    head = ["ranking", "seed with seed", "95% interval", "ceiling", "half with end"]
    rows = [[*head, "95% interval", "above chance", "above linear", "settled"]]
    words = {True: "yes", False: "no", None: "-"}
    for r in by_spearman(report):
        if (known := r.reliability) is None:
            continue
        cells = []
        for found, more in ((known.of_seeds, [known.ceiling]), (known.of_halves, [])):
            cells.append(number(found.spearman if found else None, ".2f"))
            cells.append(_range(found.ci) if found else "-")
            cells += [number(value, ".2f") for value in more]
        cells += [number(share, ".0%") for share in (known.above_chance, known.above_linear)]
        rows.append([r.study, *cells, words[known.is_settled]])
    return rows


def _regret(report: Document) -> str:
    return "regret" + (f" ({report.regret_unit})" if report.regret_unit else "")


def _rho(value: float | None, ends: tuple[float | None, float | None]) -> str:
    return "-" if value is None else f"{value:.3f} {_range(ends)}"


def _range(ends: tuple[float | None, float | None]) -> str:
    return f"[{number(ends[0], '.2f')}, {number(ends[1], '.2f')}]"
