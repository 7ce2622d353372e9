"""A report's tables: rows of text, the first of them the header."""

from typing import TYPE_CHECKING

from nasproxy.words import number

if TYPE_CHECKING:
    from nasproxy.report import Report

Table = list[list[str]]


def rankings(report: "Report") -> Table:
    """A row a ranking: its correlations with the truth, its regret and its cost."""
    header = ["ranking", "Spearman", "95% interval", "Kendall", "top 20%", "regret"]
    rows = [[*header, "s/arch", "s once"]]
    for r in report.rankings:
        rows.append(
            [
                r.study,
                number(r.spearman, ".3f"),
                _range(r.spearman_ci),
                number(r.kendall, ".3f"),
                number(r.spearman_top20, ".2f"),
                number(r.regret, ".4g"),
                number(r.seconds_per_architecture, ".3g"),
                number(r.seconds_once, ".1f"),
            ]
        )
    return rows


def details(report: "Report") -> dict[str, Table]:
    """The other tables, by title."""
    found = {
        "Among the best": _among_the_best(report),
        "What training the first k in full finds": _at_k(report),
    }
    for cost, front in report.pareto.items():
        rows = [[f"{p[cost]:.4g}", f"{p['truth']:.4g}", p["architecture"]] for p in front]
        found[f"Best for its {cost}"] = [[cost, "truth", "architecture"], *rows]
    return found


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


def _among_the_best(report: "Report") -> Table:
    rows = [["ranking", "best by", "share", "n", "Spearman", "95% interval", "Kendall"]]
    for r in report.rankings:
        for s in (s for s in r.subsets if s.spearman is not None):
            rho, tau = number(s.spearman, ".2f"), number(s.kendall, ".2f")
            share = f"{s.fraction:.0%}"
            rows.append([r.study, s.by, share, str(s.n), rho, _range(s.spearman_ci), tau])
    return rows


def _at_k(report: "Report") -> Table:
    rows = [["ranking", "k", "overlap with the truth's k", "best rank found", "regret"]]
    for r in report.rankings:
        for a in r.at_k:
            found = [f"{a.overlap:.0%}", str(a.best_rank), number(a.regret, ".4g")]
            rows.append([r.study, str(a.k), *found])
    return rows


def _range(ends: tuple[float | None, float | None]) -> str:
    return f"[{number(ends[0], '.2f')}, {number(ends[1], '.2f')}]"
