"""Trials that decide an architecture without a study: drawn, stored, or one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

from nasproxy.errors import UserError


class ScriptedTrial(optuna.trial.FixedTrial):
    """A trial whose every parameter is chosen by a function of its name and distribution."""

    def __init__(self, choose: Callable[[str, BaseDistribution], Any]) -> None:
        super().__init__({})
        self._choose = choose
        self._chosen: dict[str, tuple[Any, BaseDistribution]] = {}

    def _take(self, name: str, distribution: BaseDistribution) -> Any:
        """The value of a parameter; one that is asked for again has the value that it had.

        Raises:
            UserError: it is asked for again with other choices, of which it may have none.
        """
        if name not in self._chosen:
            self._chosen[name] = self._choose(name, distribution), distribution
        value, first = self._chosen[name]
        if first != distribution:
            raise UserError(_two(name, first, distribution, "in one architecture"))
        return value

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if not all(c is None or isinstance(c, bool | int | float | str) for c in choices):
            raise UserError(f"{name}: expected choices of text, numbers or None, got {choices}")
        for choice in choices:  # Optuna stores their numbers, found by equality
            same = choices[list(choices).index(choice)]
            if type(same) is not type(choice):
                raise UserError(f"{name}: expected different choices, {same!r} equals {choice!r}")
        return self._take(name, CategoricalDistribution(choices))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return int(self._take(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._take(name, FloatDistribution(low, high, log=log, step=step)))

    @property
    def params(self) -> dict[str, Any]:
        return {name: value for name, (value, _) in self._chosen.items()}

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {name: distribution for name, (_, distribution) in self._chosen.items()}


def uniform_trial(generator: np.random.Generator) -> ScriptedTrial:
    """A trial that draws each parameter uniformly, log-uniformly where the space says so."""
    return ScriptedTrial(lambda name, distribution: _uniform(generator, distribution))


def stored_trial(params: Mapping[str, Any]) -> ScriptedTrial:
    """A trial that repeats stored parameters; a `UserError` if one is missing or outside."""
    return ScriptedTrial(lambda name, distribution: _stored(params, name, distribution))


def named_trial(key: str) -> ScriptedTrial:
    """A trial that takes the values in a name such as ``depth=3 width=64``.

    What is spelt alike may be read as another value: see whether it has the same name.
    A parameter that is missing, or outside the space, is a `UserError`.
    """

    def choose(name: str, distribution: BaseDistribution) -> Any:
        _, there, rest = f" {key}".partition(f" {name}=")
        if not there:
            raise UserError(f"parameter {name} is missing")
        word = rest.partition(" ")[0]
        if isinstance(distribution, CategoricalDistribution):
            by_text = {str(c): c for c in distribution.choices}
            by_text |= {repr(c): c for c in distribution.choices}  # a text like a number in quotes
            fitting = [text for text in by_text if f"{rest} ".startswith(f"{text} ")]
            value: Any = by_text[max(fitting, key=len)] if fitting else word
        else:
            try:
                value = int(word) if isinstance(distribution, IntDistribution) else float(word)
            except ValueError:
                value = word
        return _stored({name: value}, name, distribution)

    return ScriptedTrial(choose)


def steered_trial(trial: optuna.Trial) -> ScriptedTrial:
    """A trial that Optuna's own one chooses for; a `UserError` where it can't."""

    def choose(name: str, distribution: BaseDistribution) -> Any:
        try:
            return trial._suggest(name, distribution)
        except ValueError as error:  # other trials had other choices
            raise UserError(f"parameter {name}: {error} It came as {distribution}") from None

    return ScriptedTrial(choose)


def check_alike(
    known: dict[str, BaseDistribution], distributions: Mapping[str, BaseDistribution]
) -> None:
    """Remember what each name is chosen from in a space, and refuse what no study can hold.

    Ranges of numbers may differ from one architecture to the next, such as in branches.

    Args:
        known: by name, from the architectures so far; what is new is added.
        distributions: of one architecture.

    Raises:
        UserError: one name has other choices, or is of another kind, than in another.
    """
    for name, distribution in distributions.items():
        try:
            check_distribution_compatibility(known.setdefault(name, distribution), distribution)
        except ValueError:
            raise UserError(_two(name, known[name], distribution, "in two architectures")) from None


def _two(name: str, one: BaseDistribution, other: BaseDistribution, where: str) -> str:
    return (
        f"parameter {name} is drawn from {one} and from {other} {where}: expected one "
        "distribution a name; give each its own, such as with the branch or the number of the loop"
    )


def every_trial() -> Iterator[ScriptedTrial]:
    """A trial for each combination of choices, in order; use each before asking for the next.

    Define-by-run: what the next one may choose from is known when this one has been used. A
    continuous parameter is a `UserError`.
    """
    path: list[int] = []
    while True:
        taken: list[tuple[int, int]] = []  # (number of the choice, how many there were)

        def choose(name: str, distribution: BaseDistribution) -> Any:
            values = _values(name, distribution)
            number = path[len(taken)] if len(taken) < len(path) else 0
            taken.append((number, len(values)))
            return values[number]

        yield ScriptedTrial(choose)
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        path = [number for number, _ in taken]
        path[-1] += 1


def _values(name: str, distribution: BaseDistribution) -> Sequence[Any]:
    """All values of a parameter.

    Raises:
        UserError: it is continuous.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        count = round((distribution.high - distribution.low) / distribution.step) + 1
        return [
            min(distribution.low + i * distribution.step, distribution.high) for i in range(count)
        ]
    raise UserError(f"parameter {name} is continuous: the space can't be enumerated; draw from it")


def _uniform(generator: np.random.Generator, distribution: BaseDistribution) -> Any:
    """Draw one value: uniformly, or log-uniformly where the distribution says so."""
    if not getattr(distribution, "log", False) and getattr(distribution, "step", 1) is not None:
        values = _values("", distribution)
        return values[int(generator.integers(len(values)))]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if not distribution.log:
        return float(generator.uniform(distribution.low, distribution.high))
    if isinstance(distribution, FloatDistribution):
        return float(np.exp(generator.uniform(*np.log((distribution.low, distribution.high)))))
    # each integer holds the stretch half below and half above it, as in Optuna
    ends = np.log((distribution.low - 0.5, distribution.high + 0.5))
    value = round(float(np.exp(generator.uniform(*ends))))
    return min(max(value, distribution.low), distribution.high)


def _stored(params: Mapping[str, Any], name: str, distribution: BaseDistribution) -> Any:
    """The stored value of a parameter.

    Raises:
        UserError: it is missing or outside the space.
    """
    if name not in params:
        raise UserError(f"parameter {name} is missing (given: {', '.join(params) or 'none'})")
    try:
        inside = distribution._contains(distribution.to_internal_repr(params[name]))
    except (ValueError, TypeError):
        inside = False
    if not inside:
        raise UserError(f"{name}={params[name]!r} is outside the space: {distribution}")
    return params[name]
