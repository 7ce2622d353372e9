"""What a report's figures say, in words."""

from typing import Any

from nasproxy.report.document import Document
from nasproxy.report.rankings import Ranking
from nasproxy.studies.made_with import ALSO_MADE_WITH

FEW = 30  # architectures below which any interval is wide
LEAST = 8  # and below which nothing is advised
_CHEAPER = 2 / 3  # of the best ranking's cost, from which another is worth naming
_PAIRS = 3  # rankings up to which every pair gets a sentence
_CLOSE = 0.05  # of Spearman: what a cheaper ranking may be worse by and still be advised
_DRAWN = {
    "uniform": "drawn uniformly",
    "all": "all of the space",
    "part": "those of the space that all of these have",
    "given": "given by hand, not drawn",
    "table": "those that the tables have",
}


def number(value: float | None, form: str) -> str:
    """A formatted number, or a dash for what is not defined."""
    return "-" if value is None else format(value, form)


def headline(report: Document) -> list[str]:
    """What was compared, and what no ranking could exceed."""
    how = _DRAWN[report.drawn]
    seconds = report.truth_seconds_per_architecture
    cost = "" if seconds is None else f", {seconds:.2f} s per architecture"
    metric = f" ({report.metric}{cost})" if report.metric != report.truth else ""
    said = [f"{report.n} architectures, {how}. Truth: {report.truth}{metric}."]
    if report.broken:
        said.append(_broken(report.truth, report.broken, report.n, report.broken_why, "trained"))
    if len(set(report.truths())) == 1:
        said.append("All truths are equal: there is nothing to rank by.")
    if report.truth_reliability:
        said += report.truth_reliability.in_words(report.truth, with_seeds=not report.ceiling)
    if report.ceiling:
        c = report.ceiling
        said.append(
            f"One training of the truth against another: Spearman {number(c['spearman'], '.3f')}, "
            f"among the best 20% {number(c['spearman_top20'], '.2f')}. A perfect ranking would "
            f"show about {number(c['perfect_ranking'], '.3f')} with the mean of {c['seeds']}."
        )
    return said


def findings(report: Document) -> list[str]:
    """Which rankings differ (the interval of the difference leaves 0 out), breakage and cost."""
    said: list[str] = []
    if report.n >= LEAST:
        said = _pairs(report) if len(report.rankings) <= _PAIRS else _standings(report)
    pairs = len(report.rankings) * (len(report.rankings) - 1) // 2
    if said and pairs > 1:
        said.append(f"Intervals of differences are wide enough to hold for all {pairs} at once.")
    relative = [r.study for r in report.rankings if r.relative]
    if relative:
        said.append(
            f"Scores by {_listed(relative)} are made of ranks among these {report.n} "
            "architectures: among others their order may be another."
        )
    said += _machines(report.truth, report.provenance)
    for r in report.rankings:
        said += _breakage(report, r)
        said += r.reliability.in_words(r.study) if r.reliability else []
        said += _machines(r.study, r.provenance)
        if r.seconds_once and r.seconds_once > 0.05 and r.speedup:
            even = f", earned back after {r.break_even} architectures" if r.break_even else ""
            said.append(
                f"{r.study} takes {r.seconds_once:.1f} s once and is {r.speedup:.1f} times as "
                f"fast as the truth on each architecture{even}."
            )
    return said


def _breakage(report: Document, r: Ranking) -> list[str]:
    """What a ranking could not score, what that does to it, and whether its first pick broke."""
    said = []
    if r.broken and r.kind != "combined":
        done = "trained" if r.kind in ("proxy", "full") else "scored"
        said.append(_broken(r.study, r.broken, r.n, r.broken_why, done))
    if r.broken or report.broken:
        low, high = r.spearman_unbroken_ci
        alone = "not defined"
        if r.spearman_unbroken is not None:
            alone = f"{r.spearman_unbroken:.2f} [{number(low, '.2f')}, {number(high, '.2f')}]"
        said.append(f"{r.study}: Spearman is {_with_interval(r)}, without what broke {alone}.")
    if r.first_broke == 1:
        pick = report.points[int(report.scores(r.study).argmax())]["architecture"]
        said.append(f"{r.study}: its first pick, {pick}, could not be trained for the truth.")
    elif r.first_broke:
        said.append(f"{r.study}: of those that share its first place {r.first_broke:.0%} broke.")
    return said


def _broken(name: str, broken: int, n: int, why: str | None, done: str) -> str:
    first = f"; the first: {why}" if why else ""
    return f"{name}: {broken} of {n} could not be {done} and rank last{first}."


def _machines(name: str, provenance: dict[str, Any]) -> list[str]:
    """What else than its own machine and versions a study was made with."""
    others = [str(v) for k, v in provenance.items() if k.startswith(ALSO_MADE_WITH)]
    return [f"{name} was also made with {other}: its scores may differ." for other in others]


def advice(report: Document) -> list[str]:
    """What to use, and how far to trust it."""
    ranked = correlated(report)
    if not ranked:
        if len(set(report.truths())) == 1:
            return ["All truths are equal: there is nothing to rank by."]
        return ["No ranking here has a correlation: their scores do not vary."]
    if report.n < LEAST:
        return [
            f"{report.n} architectures are too few to say anything: compare {FEW} or more. What "
            "stands below describes these alone."
        ]
    best = ranked[0]
    low = best.spearman_ci_together[0]  # it was chosen: all of them must be looked at
    if low is None or low <= 0:
        many = "" if len(ranked) == 1 else f", if the best of {len(ranked)} is looked at,"
        return [
            f"None of these rankings is shown to agree with the truth: the best, {best.study}, "
            f"has a Spearman correlation of {number(best.spearman, '.2f')}, and its interval{many} "
            "holds 0. Compare more architectures, or another proxy."
        ]
    said = [f"{best.study} has the highest Spearman correlation, {_with_interval(best)}."]
    ceilings = [r for r in ranked if _is_ceiling(r, report)]
    if ceilings:
        said.append(
            f"{_listed([r.study for r in ceilings])}: as dear as the truth, or a published figure; "
            "it shows what is possible, and is nothing to use."
        )
    usable = [r for r in ranked if r not in ceilings]
    if not usable:
        return said
    said += _what_to_use(
        usable[0], [r for r in usable[1:] if verdict(usable[0], r.study) == "level"], report
    )
    top = usable[0].subsets[0]
    if top.spearman is not None and top.spearman < 0.5 * (usable[0].spearman or 0):
        low, high = top.spearman_ci
        said.append(
            f"Among the best fifth, {top.n} architectures, its correlation is {top.spearman:.2f} "
            f"[{number(low, '.2f')}, {number(high, '.2f')}]: it finds the good ones, and has not "
            "been shown to order them. Train its first few in full."
        )
    if report.n < FEW:
        said.append(f"These are only {report.n} architectures: the intervals say how little.")
    return said


def _is_ceiling(r: Ranking, report: Document) -> bool:
    """Whether a ranking costs what the truth does, or can't be had for another architecture."""
    truth, own = report.truth_seconds_per_architecture, r.seconds_per_architecture
    return r.kind == "table" or (r.kind == "full" and bool(truth and own and own >= truth))


def _what_to_use(best: Ranking, level: list[Ranking], report: Document) -> list[str]:
    """The best, or the cheapest of what is not told apart, if it is shown to be about as good."""
    said = [f"It can't be told apart from {_listed([r.study for r in level])}."] if level else []
    cheaper = [r for r in level if _cost(r, report.n) <= _CHEAPER * _cost(best, report.n)]
    close = [r for r in cheaper if _worse_by(best, r) <= _CLOSE]
    if close:
        cheapest = min(close, key=lambda r: _cost(r, report.n))
        return [
            *said,
            f"Of these, {cheapest.study} is the cheapest that is as good to within {_CLOSE}, "
            f"{number(cheapest.seconds_per_architecture, '.3g')} s an architecture and "
            f"{number(cheapest.seconds_once, '.3g')} s once: use it.",
        ]
    said.append(f"Use {best.study}.")
    if cheaper:
        r = min(cheaper, key=lambda r: _cost(r, report.n))
        said.append(
            f"{r.study} is cheaper, and may be worse by up to {_worse_by(best, r):.2f}: more "
            "architectures would tell."
        )
    return said


def _worse_by(best: Ranking, other: Ranking) -> float:
    """By how much of Spearman a ranking may be worse, as far as the interval goes."""
    return float(best.difference[other.study]["ci"][1])


def _pairs(report: Document) -> list[str]:
    said = []
    for i, one in enumerate(report.rankings):
        for other in report.rankings[i + 1 :]:
            entry, found = one.difference[other.study], verdict(one, other.study)
            if found is None:
                continue
            low, high = entry["ci"]
            shown = f"{entry['value']:+.2f} [{low:+.2f}, {high:+.2f}]"
            if found == "level":
                said.append(f"{one.study} and {other.study} can't be told apart: {shown}.")
            else:
                said.append(f"{one.study} ranks {found} than {other.study}: {shown}.")
    return said


def _standings(report: Document) -> list[str]:
    """What can't be told from the best, and what is worse; all pairs are in a table."""
    ranked = correlated(report)
    if not ranked:
        return []
    best, others = ranked[0], ranked[1:]
    said = [f"{best.study} has the highest Spearman correlation, {number(best.spearman, '.2f')}."]
    for found, words in (("level", "can't be told from it"), ("better", "rank worse")):
        names = [r.study for r in others if verdict(best, r.study) == found]
        if names:
            said.append(f"{len(names)} {words}: {_listed(names)}.")
    return said


def verdict(one: Ranking, other: str) -> str | None:
    """``better``, ``worse`` or ``level``; None where the difference is not defined."""
    entry = one.difference[other]
    low, high = entry["ci"]
    if entry["value"] is None or low is None or high is None:
        return None
    return "better" if low > 0 else "worse" if high < 0 else "level"


def by_spearman(report: Document) -> list[Ranking]:
    """The rankings, best first, then those without a correlation."""
    return sorted(report.rankings, key=lambda r: (r.spearman is None, -(r.spearman or 0.0)))


def correlated(report: Document) -> list[Ranking]:
    """Likewise, without the others."""
    return [r for r in by_spearman(report) if r.spearman is not None]


def _with_interval(r: Ranking) -> str:
    low, high = r.spearman_ci
    return f"{number(r.spearman, '.2f')} [{number(low, '.2f')}, {number(high, '.2f')}]"


def _cost(r: Ranking, n: int) -> float:
    """Seconds for all; unknown counts as dear."""
    if r.seconds_per_architecture is None:
        return float("inf")
    return n * r.seconds_per_architecture + (r.seconds_once or 0.0)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
