"""A search's figures: how it went, what it expected, which scores counted, the front."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasproxy.drawing.figure import COLOURS, GREY, SYMBOLS, Figure, Marks, Panel
from nasproxy.estimators.making import parse_by
from nasproxy.searches.result import SearchResult

CAPTIONS = {
    "progress": "The best so far, as it would be handed over: what was seen of it has luck in it, "
    "so that the line may fall. Dashed: what as many architectures drawn at random would have "
    "found, by what is known in the end, with its 95% interval.",
    "expected": "What the surrogate expected of each architecture before it was trained, with an "
    "interval that holds two thirds, against what came out. On the line it was right.",
    "scores": "How far the truth was expected to rise with each cheap score, in standard "
    "deviations, before each training. Below 0 the score misleads here.",
    "front": "What was trained, and the front: what nothing else is both as good and as cheap as.",
}
_TRAININGS = "full trainings"


def make_figures(result: SearchResult, metric: str, cost: str = "cost") -> dict[str, Figure]:
    """The figures that have something to show, by name.

    Args:
        result: of the search.
        metric: of the full trainings, such as ``validation accuracy``.
        cost: of the second objective.
    """
    made = {
        "progress": _progress(result, metric),
        "expected": _expected(result, metric),
        "scores": _scores(result),
        "front": _front(result, metric, cost),
    }
    return {name: figure for name, figure in made.items() if figure is not None}


def _progress(result: SearchResult, metric: str) -> Figure:
    steps = result.steps
    numbers = list(range(1, len(steps) + 1))
    mean, low, high = zip(*result.random_curve, strict=True)
    at = list(range(1, len(mean) + 1))
    band = [
        Marks(at, ends, line="dash", colour=GREY, opacity=0.5, label="95% interval" * first)
        for ends, first in ((low, True), (high, False))
    ]
    best = [step["best"] for step in steps]
    seen = [step["seen"] for step in steps if step["seen"] is not None]
    least = float(np.quantile(seen, 0.25))  # where it is decided; the bad are beside the point
    top = max(*seen, *high)
    return Figure(
        title="The best so far",
        y_label=metric,
        marks=(
            Marks(at, mean, line="dash", colour=GREY, label="random trainings"),
            *band,
            *_by_choice(steps, numbers, [step["seen"] for step in steps]),
            Marks(numbers, best, line="step", colour=COLOURS[0], label="handed over"),
        ),
        panels=(Panel("", _TRAININGS),),
        y_range=(least - 0.5 * (top - least), top + 0.05 * (top - least)) if top > least else None,
    )


def _by_choice(
    steps: Sequence[Mapping[str, Any]], x: Sequence[Any], y: Sequence[Any]
) -> list[Marks]:
    """Points by what chose the architectures."""
    found = []
    for name, colour, symbol in (
        ("surrogate", COLOURS[0], SYMBOLS[0]),
        ("blind", COLOURS[1], SYMBOLS[2]),
    ):
        chosen = [k for k, step in enumerate(steps) if step["by"] == name]
        if chosen:
            found.append(
                Marks(
                    [x[k] for k in chosen],
                    [y[k] for k in chosen],
                    label={"surrogate": "chosen", "blind": "drawn"}[name],
                    colour=colour,
                    symbol=symbol,
                    size=8,
                    opacity=0.7,
                    about=[str(steps[k]["architecture"]) for k in chosen],
                )
            )
    return found


def _expected(result: SearchResult, metric: str) -> Figure | None:
    steps = [s for s in result.steps if s["expected"] is not None and s["seen"] is not None]
    if len(steps) < 2:
        return None
    seen = [step["seen"] for step in steps]
    ends = (min(seen), max(seen))
    marks = Marks(
        seen,
        [step["expected"]["median"] for step in steps],
        colour=COLOURS[0],
        symbol=SYMBOLS[0],
        size=8,
        bars=[(low, high) for low, high in (step["expected"]["interval"] for step in steps)],
        about=[str(step["architecture"]) for step in steps],
    )
    return Figure(
        title="Expected and seen",
        y_label=f"expected {metric}",
        marks=(Marks(ends, ends, line="dash"), marks),
        panels=(Panel("", f"{metric} seen"),),
    )


def _scores(result: SearchResult) -> Figure | None:
    names = list(result.scores)
    if not names:
        return None
    after = [*(step["scores"] for step in result.steps), result.scores]
    marks = [
        Marks(
            list(range(len(after))),
            [say[name] for say in after],
            label=parse_by(name).study_name,
            colour=COLOURS[k % len(COLOURS)],
            symbol=SYMBOLS[k % len(SYMBOLS)],
            size=5,
            line="solid",
        )
        for k, name in enumerate(names)
    ]
    return Figure(
        title="The say of each score",
        y_label="rise of the truth with the score",
        marks=(Marks([0, len(after) - 1], [0, 0], line="dash"), *marks),
        panels=(Panel("", f"{_TRAININGS} seen"),),
    )


def _front(result: SearchResult, metric: str, cost: str) -> Figure | None:
    if not result.front:
        return None
    costs = [step["cost"] for step in result.steps]
    front = Marks(
        [point["cost"] for point in result.front],
        [point["validation_accuracy"] for point in result.front],
        label="front",
        colour=COLOURS[1],
        symbol=SYMBOLS[0],
        line="step",
        about=[str(point["architecture"]) for point in result.front],
    )
    points = _by_choice(result.steps, costs, [step["seen"] for step in result.steps])
    return Figure(
        title=f"{metric} and {cost}",
        y_label=metric,
        marks=(*points, front),
        panels=(Panel("", cost, log_x=min(costs) > 0 and max(costs) > 10 * min(costs)),),
    )
