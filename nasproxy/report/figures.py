"""A report's figures, each defined once; drawn for a screen by Plotly, for paper by matplotlib."""

from collections.abc import Sequence

import numpy as np

from nasproxy.drawing.figure import COLOURS, GREY, SYMBOLS, Figure, Marks, Panel
from nasproxy.report.choices import choice_effects, groups_by, telling_choice
from nasproxy.report.document import Document
from nasproxy.report.rankings import Ranking
from nasproxy.studies.statistics import (
    Array,
    best_first,
    chance_regret,
    chances,
    finite,
    regret_curve,
)

POINTS = 800  # that a figure shows at most: more are slow to store and to draw
MARKED = 5  # of the best, how many a figure points out
ROWS = 40  # of choices
FIGURES = ("spearman", "scores", "cost", "choices", "regret")


def make_figures(
    report: Document, own: Sequence[str] | None = None, rows: int = ROWS
) -> dict[str, Figure]:
    """The figures of a report that have something to show, by name.

    Args:
        report: with its points.
        own: names of the rankings that have panels where each has one; None for all.
        rows: options of choices that are shown at most.
    """
    chosen = [r for r in report.rankings if own is None or r.study in own]
    made = (
        spearman_intervals(report),
        score_against_truth(report, chosen),
        spearman_against_cost(report),
        place_of_choices(report, chosen, rows),
        regret_against_k(report),
    )
    return {name: f for name, f in zip(FIGURES, made, strict=True) if f is not None}


def spearman_intervals(report: Document) -> Figure:
    """Spearman of every ranking with its interval, and what one more truth training shows."""
    shown = [r for r in report.rankings if r.spearman is not None][::-1]
    lows = [low for r in shown if (low := r.spearman_ci[0]) is not None]
    rules = [(0.0, "")]
    if report.ceiling and report.ceiling["spearman"] is not None:
        rules.append((report.ceiling["spearman"], "one training of the truth"))
    marks = Marks(
        x=[r.spearman for r in shown],
        y=[r.study for r in shown],
        colour=COLOURS[0],
        symbol="circle",
        bars=[r.spearman_ci for r in shown],
        text=["" if r.spearman is None else f"{r.spearman:.2f}" for r in shown],
        about=[f"{_rho(r)}<br>{r.estimator}" for r in shown],
    )
    return Figure(
        title=f"Spearman with {report.truth}, n = {report.n}, 95% intervals",
        y_label="",
        marks=(marks,),
        panels=(Panel("", f"Spearman with {report.truth}"),),
        rows=tuple(r.study for r in shown),
        rules=tuple(rules),
        x_range=(min([0.0, *lows]) - 0.05, 1.03),
    )


def score_against_truth(report: Document, rankings: Sequence[Ranking]) -> Figure:
    """A panel a ranking, coloured by the choice that explains the most of the truth."""
    index, truth = _some(report), report.truths()
    choice = telling_choice(report)
    groups = {"architectures": index}
    if choice is not None:
        groups = {
            f"{choice} = {option}": [i for i in members if i in set(index)]
            for option, members in groups_by(report, choice).items()
        }
    marks, panels = [], []
    for panel, ranking in enumerate(rankings):
        score = report.scores(ranking.study)

        looks = [
            (label, members, COLOURS[k % 8], SYMBOLS[k % 8], 8)
            for k, (label, members) in enumerate(groups.items())
        ]
        for of, by, symbol in ((truth, "truth", "circle-open"), (score, "score", "x-thin-open")):
            sure = chances(of[index], min(MARKED, len(index))) == 1  # not by lot
            best = [i for i, one in zip(index, sure, strict=True) if one]
            looks.append((f"best {MARKED} by {by}", best, GREY, symbol, 15))
        for label, members, colour, symbol, size in looks:
            known = [i for i in members if np.isfinite(score[i]) and np.isfinite(truth[i])]
            about = [report.points[i]["architecture"] for i in known]
            x, y = score[known].tolist(), truth[known].tolist()
            at = Marks(x, y, label, colour, symbol, size, opacity=0.8, about=about, panel=panel)
            marks.append(at)
        panels.append(
            Panel(f"{ranking.study}: {_rho(ranking)}", f"score by {ranking.study}", _is_wide(score))
        )
    some = f" ({len(index)} of {report.n} shown)" if len(index) < report.n else ""
    label = ": ".join(dict.fromkeys([report.truth, report.metric]))  # one, of a table's column
    return Figure(f"Score against truth{some}", label, tuple(marks), tuple(panels))


def spearman_against_cost(report: Document) -> Figure | None:
    """Spearman against seconds per architecture; None where no seconds are known."""
    shown = [r for r in report.rankings if r.spearman is not None and r.seconds_per_architecture]
    if not shown:
        return None
    marks = [
        Marks(
            [r.seconds_per_architecture],
            [r.spearman],
            r.study,
            *_look(k),
            bars=[r.spearman_ci],
            about=[_rho(r)],
        )
        for k, r in enumerate(shown)
    ]
    seconds = report.truth_seconds_per_architecture
    return Figure(
        title="Correlation against cost",
        y_label=f"Spearman with {report.truth}",
        marks=tuple(marks),
        panels=(Panel("", "seconds per architecture", log_x=True),),
        rules=((seconds, "the truth"),) if seconds else (),
    )


def place_of_choices(report: Document, rankings: Sequence[Ranking], rows: int) -> Figure | None:
    """Mean place of the architectures with each option, by truth and, a panel each, by score.

    Of many options those are shown that matter the most to the truth, in their order.
    """
    known = choice_effects(report)
    telling = sorted(known, key=lambda e: -abs(e.truth - 50))[:rows]
    found = [effect for effect in known if effect in telling][::-1]
    if not found:
        return None
    names = [f"{e.choice} = {e.option}" for e in found]
    marks = []
    for panel, r in enumerate(rankings):
        ends = [(e.truth, e.scores[r.study], None) for e in found]
        x, y = [x for three in ends for x in three], [y for n in names for y in (n, n, None)]
        between = Marks(x, y, line="solid", opacity=0.4, panel=panel)
        scores = [e.scores[r.study] for e in found]
        by = Marks(scores, names, f"by {r.study}", COLOURS[0], "circle-open", panel=panel)
        marks += [between, by]
    n = [f"n = {e.n}" for e in found]
    marks.append(
        Marks([e.truth for e in found], names, "by truth", COLOURS[1], "diamond", 8, about=n)
    )
    some = "" if len(found) == len(known) else f": the most telling {len(found)} of {len(known)}"
    return Figure(
        title=f"What each choice does{some}",  # a card of the dashboard is narrow
        y_label="",
        marks=tuple(marks),
        panels=tuple(Panel(r.study, "mean place in percent, 0 last, 100 first") for r in rankings),
        rows=tuple(names),
        x_range=(0, 100),
    )


def regret_against_k(report: Document) -> Figure:
    """What training the first k in full loses to the best, against k, and by blind draws."""
    truth, marks = report.truths(), []
    for k, r in enumerate(report.rankings):
        curve = report.regret_factor * regret_curve(truth, report.scores(r.study))
        turns = [i for i in range(report.n) if i in (0, report.n - 1) or curve[i] != curve[i - 1]]
        x, y = [i + 1 for i in turns], [finite(curve[i]) for i in turns]
        marks.append(Marks(x, y, r.study, *_look(k), size=7, line="step"))
    steps = sorted({round(1.15**i) for i in range(200) if round(1.15**i) <= report.n})
    blind = report.regret_factor * chance_regret(truth)
    unit = f", {report.regret_unit}" if report.regret_unit else ""
    marks.append(Marks(steps, [finite(blind[k - 1]) for k in steps], "blind draws", line="dash"))
    return Figure(
        title="Regret against architectures confirmed",
        y_label=f"regret ({report.metric}{unit})",
        marks=tuple(marks),
        panels=(Panel("", "first k trained in full", log_x=True),),
    )


def _look(k: int) -> tuple[str, str]:
    """Colour and symbol of the k-th ranking, other pairs for each of the first 64."""
    return COLOURS[k % 8], SYMBOLS[(k + k // 8) % 8]


def _some(report: Document) -> list[int]:
    """Indices of at most about `POINTS` points: evenly through the truth, the best too."""
    order = best_first(report.truths())
    if len(order) > POINTS:
        evenly = np.linspace(0, len(order) - 1, POINTS).round().astype(int)
        order = np.union1d(order[evenly], order[:MARKED])
    return sorted(order.tolist())


def _is_wide(score: Array) -> bool:
    """Whether scores want a logarithmic axis."""
    known = score[np.isfinite(score)]
    return bool(len(known) and 0 < 50 * known.min() < known.max())


def _rho(r: Ranking) -> str:
    if r.spearman is None:
        return "Spearman undefined"
    low, high = r.spearman_ci
    interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"Spearman {r.spearman:.2f}{interval}"
