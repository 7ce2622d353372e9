"""What the choices of a search space do: where architectures with an option stand among all."""

from dataclasses import dataclass
from typing import Any

from nasproxy.report.document import Document
from nasproxy.studies.statistics import places

_OPTIONS = 10  # more options than that are no groups


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


def choice_effects(report: Document) -> list[Effect]:
    """Every option of every choice that varies and has few options, in the order of the space."""
    of_truth = places(report.truths())
    of_scores = {r.study: places(report.scores(r.study)) for r in report.rankings}
    found = []
    for choice in _grouping(report):
        for option, members in groups_by(report, choice).items():
            mean = {name: float(of[members].mean()) for name, of in of_scores.items()}
            truth = float(of_truth[members].mean())
            found.append(Effect(choice, option, len(members), truth, mean))
    return found


def telling_choice(report: Document) -> str | None:
    """The choice that explains the most of the places by truth (eta squared); None without any."""
    of_truth = places(report.truths())

    def explained(choice: str) -> float:
        groups = [of_truth[members] for members in groups_by(report, choice).values()]
        return float(sum(len(of) * (of.mean() - of_truth.mean()) ** 2 for of in groups))

    return max(_grouping(report), key=explained, default=None)


def groups_by(report: Document, choice: str) -> dict[str, list[int]]:
    """Indices of the architectures with each option, as text: numbers by size, others by name."""
    has = [about["choices"].get(choice) for about in report.architectures]
    options: list[Any] = list(dict.fromkeys(has))
    if not all(isinstance(option, int | float) for option in options):
        texts = [str(option) for option in options]  # of 1 and "1" it is the same
        spell = str if len(set(texts)) == len(texts) else repr
        has = ["-" if option is None else spell(option) for option in has]
        options = list(dict.fromkeys(has))
    return {str(o): [i for i, value in enumerate(has) if value == o] for o in sorted(options)}


def _grouping(report: Document) -> list[str]:
    """Choices by which architectures fall into groups."""
    names = dict.fromkeys(name for about in report.architectures for name in about["choices"])
    return [name for name in names if 2 <= len(groups_by(report, name)) <= _OPTIONS]
