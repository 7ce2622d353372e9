"""What a report's figures show, as plain numbers: the same on paper, page and dashboard."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats
from scipy.special import gammaln

from nasproxy.correlation import Array, best_first

if TYPE_CHECKING:
    from nasproxy.report import Report

# Okabe and Ito's, told apart by the colour-blind; grey for black, which is lost in the dark
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B6A800", "#808080")
MARKED = 5  # of the best, how many a figure points out
_OPTIONS = 10  # more options than that are no groups to colour


@dataclass(frozen=True)
class Effect:
    """Where the architectures with one option of one choice stand among all.

    Attributes:
        choice: name of the parameter.
        option: its value, as text.
        n: architectures with it.
        truth: their mean place by truth, in percent: 0 is last, 100 first.
        scores: the same by each ranking.
    """

    choice: str
    option: str
    n: int
    truth: float
    scores: dict[str, float]


def truth_label(report: "Report") -> str:
    """For an axis: the truth's study and what it measures; one name for a column of a table."""
    return ": ".join(dict.fromkeys([report.truth, report.metric]))


def column(report: "Report", name: str) -> Array:
    """Scores (n,) of a ranking, or of the ``truth``; minus infinity where there is none."""
    values = [-math.inf if point[name] is None else point[name] for point in report.points]
    return np.array(values, float)


def choice_effects(report: "Report") -> list[Effect]:
    """Every option of every choice that varies and has few options, in the order of the space."""
    places = {"truth": _places(column(report, "truth"))}
    places |= {r.study: _places(column(report, r.study)) for r in report.rankings}
    found = []
    for choice in _grouping(report):
        values = chosen(report, choice)
        for option in options_of(report, choice):
            mask = np.array([value == option for value in values])
            mean = {name: float(of[mask].mean()) for name, of in places.items()}
            truth = mean.pop("truth")
            found.append(Effect(choice, option, int(mask.sum()), truth, mean))
    return found


def telling_choice(report: "Report") -> str | None:
    """The choice that explains the most of the places by truth (eta squared); None without any."""
    places = _places(column(report, "truth"))
    explained = {}
    for choice in _grouping(report):
        values = np.array(chosen(report, choice))
        means = sum(
            (values == option).sum() * (places[values == option].mean() - places.mean()) ** 2
            for option in set(values)
        )
        explained[choice] = float(means)
    return max(explained, key=lambda choice: explained[choice]) if explained else None


def regret_curve(report: "Report", name: str) -> list[float | None]:
    """What training the ranking's first k in full loses to the best, for k of 1 to n.

    None as long as all of the first k broke by truth.
    """
    truth = column(report, "truth")
    best = np.maximum.accumulate(truth[best_first(column(report, name))])
    return [float(r) if math.isfinite(r) else None for r in truth.max() - best]


def chance_regret(report: "Report") -> list[float]:
    """The expected regret of training k architectures drawn blindly, for k of 1 to n.

    The best of k without replacement is the i-th worst with probability C(i-1, k-1) / C(n, k);
    one that broke by truth counts as the worst that did not.
    """
    truth = column(report, "truth")
    truth = np.sort(np.maximum(truth, truth[np.isfinite(truth)].min()))
    n = len(truth)
    i = np.arange(1.0, n + 1)
    found = []
    for k in range(1, n + 1):
        inside = i >= k
        log_p = _log_choose(i[inside] - 1, k - 1) - _log_choose(np.array(float(n)), k)
        found.append(float(truth[-1] - (np.exp(log_p) * truth[inside]).sum()))
    return found


def some_points(report: "Report", limit: int) -> list[int]:
    """Indices of at most `limit` points to show: evenly through the ranking by truth, best too."""
    order = best_first(column(report, "truth"))
    if len(order) <= limit:
        return sorted(order.tolist())
    evenly = np.linspace(0, len(order) - 1, limit).round().astype(int)
    return sorted(set(order[evenly].tolist()) | set(order[:MARKED].tolist()))


def chosen(report: "Report", choice: str) -> list[str]:
    """The option of a choice that each architecture has, as text."""
    return [_text(about["choices"].get(choice)) for about in report.architectures]


def _grouping(report: "Report") -> list[str]:
    """Choices by which architectures fall into groups."""
    names = dict.fromkeys(name for about in report.architectures for name in about["choices"])
    return [name for name in names if 2 <= len(options_of(report, name)) <= _OPTIONS]


def options_of(report: "Report", choice: str) -> list[str]:
    """The options of a choice, as text: numbers by size, others by name."""
    values = dict.fromkeys(about["choices"].get(choice) for about in report.architectures)
    numbers = [v for v in values if isinstance(v, int | float)]
    if len(numbers) == len(values):
        return [_text(v) for v in sorted(numbers)]
    return sorted(_text(v) for v in values)


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _places(scores: Array) -> Array:
    """Places in percent, 0 last and 100 first; equals share theirs."""
    ranks: Array = stats.rankdata(scores)
    return 100 * (ranks - 1) / max(len(scores) - 1, 1)


def _log_choose(n: Array, k: int) -> Array:
    chosen: Array = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return chosen
