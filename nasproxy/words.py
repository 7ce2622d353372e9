"""What a report's figures say, in words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nasproxy.comparison import Ranking
    from nasproxy.report import Report

FEW = 30  # architectures below which any interval is wide
_CHEAPER = 2 / 3  # of the best ranking's cost, from which another is worth naming
_PAIRS = 3  # rankings up to which every pair gets a sentence


def number(value: float | None, form: str) -> str:
    """A formatted number, or a dash for what is not defined."""
    return "-" if value is None else format(value, form)


def headline(report: "Report") -> list[str]:
    """What was compared, and what no ranking could exceed."""
    how = "all of the space" if report.drawn == "all" else "drawn uniformly"
    seconds = report.truth_seconds_per_architecture
    cost = "" if seconds is None else f", {seconds:.2f} s per architecture"
    metric = f" ({report.metric}{cost})" if report.metric != report.truth else ""
    said = [f"{report.n} architectures, {how}. Truth: {report.truth}{metric}."]
    if report.ceiling:
        c = report.ceiling
        said.append(
            f"One training of the truth against another: Spearman {number(c['spearman'], '.3f')}, "
            f"among the best 20% {number(c['spearman_top20'], '.2f')}. A perfect ranking would "
            f"show about {number(c['perfect_ranking'], '.3f')} with the mean of {c['seeds']}."
        )
    return said


def findings(report: "Report") -> list[str]:
    """Which rankings differ (the interval of the difference leaves 0 out), breakage and cost."""
    said = _pairs(report) if len(report.rankings) <= _PAIRS else _standings(report)
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


def advice(report: "Report") -> list[str]:
    """What to use, and how far to trust it."""
    ranked = _by_spearman(report)
    if not ranked:
        return ["No ranking here has a correlation: their scores do not vary."]
    best = ranked[0]
    low = best.spearman_ci[0]
    if low is None or low <= 0:
        return [
            f"None of these rankings is shown to agree with the truth: the best, {best.study}, "
            f"has a Spearman correlation of {number(best.spearman, '.2f')}, and its interval "
            "holds 0. Compare more architectures, or another proxy."
        ]
    level = [r for r in ranked[1:] if _verdict(best, r.study) == "level"]
    said = [f"{best.study} has the highest Spearman correlation, {_with_interval(best)}."]
    cheapest = min([best, *level], key=lambda r: _cost(r, report.n))
    if _cost(cheapest, report.n) > _CHEAPER * _cost(best, report.n):
        cheapest = best  # no difference to act upon
    if level:
        said[0] += f" It can't be told apart from {_listed([r.study for r in level])}."
    if cheapest is not best:
        said.append(
            f"Of these, {cheapest.study} is the cheapest, "
            f"{number(cheapest.seconds_per_architecture, '.3g')} s an architecture and "
            f"{number(cheapest.seconds_once, '.3g')} s once: use it, unless more architectures "
            f"tell {best.study} apart."
        )
    else:
        said.append(f"Use {best.study}.")
    if best.spearman_top20 is not None and best.spearman_top20 < 0.5 * (best.spearman or 0):
        said.append(
            f"Among the best fifth its correlation is {best.spearman_top20:.2f}: it finds the good "
            "ones, and hardly orders them. Train its first few in full."
        )
    if report.n < FEW:
        said.append(f"These are only {report.n} architectures: the intervals say how little.")
    return said


def _pairs(report: "Report") -> list[str]:
    said = []
    for i, one in enumerate(report.rankings):
        for other in report.rankings[i + 1 :]:
            entry, verdict = one.difference[other.study], _verdict(one, other.study)
            if verdict is None:
                continue
            low, high = entry["ci"]
            shown = f"{entry['value']:+.2f} [{low:+.2f}, {high:+.2f}]"
            if verdict == "level":
                said.append(f"{one.study} and {other.study} can't be told apart: {shown}.")
            else:
                said.append(f"{one.study} ranks {verdict} than {other.study}: {shown}.")
    return said


def _standings(report: "Report") -> list[str]:
    """A sentence a ranking, best first: what it beats, and what it can't be told apart from."""
    said = []
    for r in _by_spearman(report):
        others = [o.study for o in _by_spearman(report) if o is not r]
        parts = []
        for verdict, words in (("better", "ranks better than"), ("level", "can't be told from")):
            names = [name for name in others if _verdict(r, name) == verdict]
            if names:
                parts.append(f"{words} {_listed(names)}")
        if parts:
            said.append(f"{r.study} ({number(r.spearman, '.2f')}) {'; '.join(parts)}.")
    return said


def _verdict(one: "Ranking", other: str) -> str | None:
    """``better``, ``worse`` or ``level``; None where the difference is not defined."""
    entry = one.difference[other]
    low, high = entry["ci"]
    if entry["value"] is None or low is None or high is None:
        return None
    return "better" if low > 0 else "worse" if high < 0 else "level"


def _by_spearman(report: "Report") -> list["Ranking"]:
    known = [r for r in report.rankings if r.spearman is not None]
    return sorted(known, key=lambda r: -(r.spearman or 0.0))


def _with_interval(r: "Ranking") -> str:
    low, high = r.spearman_ci
    return f"{number(r.spearman, '.2f')} [{number(low, '.2f')}, {number(high, '.2f')}]"


def _cost(r: "Ranking", n: int) -> float:
    """Seconds for all; unknown counts as dear."""
    if r.seconds_per_architecture is None:
        return float("inf")
    return n * r.seconds_per_architecture + (r.seconds_once or 0.0)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
