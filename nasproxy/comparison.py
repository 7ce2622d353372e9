"""Studies and tables joined on the architecture, and each ranking's figures beside the truth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from nasproxy.correlation import (
    Array,
    best_first,
    best_rank,
    bootstrap_kendall,
    bootstrap_spearman,
    combine,
    kendall,
    overlap,
    pareto_front,
    percentile_interval,
    regret,
    resample_count,
    spearman,
    top,
)
from nasproxy.errors import UserError, nearest
from nasproxy.estimators.table import TableEstimator
from nasproxy.study import UNBIASED, has_result
from nasproxy.train import LOSSES, balance

FRACTIONS = (0.2, 0.1, 0.05)  # shares of the best within which rankings are compared again
KS = (1, 5, 10)  # how many of a ranking's first might be trained in full
COSTS = ("params", "macs", "latency")  # latency: ms an image, in batches, on one thread
LOWER = (*LOSSES, "latency", "seconds")  # of which less is better
FEW = 5  # fewest of the best that a figure is given for
LEAST = 3  # fewest architectures that a correlation is computed for
Interval = tuple[float | None, float | None]


@dataclass(frozen=True)
class Subset:
    """The same figures among the best alone, where a search is decided.

    Attributes:
        by: ``truth`` or ``score``, whose best these are.
        fraction: of the architectures.
        n: how many that is.
    """

    by: str
    fraction: float
    n: int
    spearman: float | None
    spearman_ci: Interval
    kendall: float | None


@dataclass(frozen=True)
class AtK:
    """What training the ranking's first k in full finds.

    Attributes:
        k: how many.
        overlap: share of the truth's first k that are among them.
        best_rank: place of the best of them by truth, 1 is first.
        regret: best truth minus the best truth among them.
    """

    k: int
    overlap: float
    best_rank: int
    regret: float | None


@dataclass(frozen=True)
class Ranking:
    """One ranking beside the truth, over the architectures that all studies have.

    Attributes:
        study: its name.
        estimator: what gave the scores.
        kind: ``free``, ``proxy``, ``full``, ``table`` or ``combined``.
        n: architectures compared.
        broken: how many of them have no score here; they rank last.
        spearman: rho with the truth, None where one side is constant; so for the others.
        spearman_ci: its 95% percentile bootstrap interval over architectures.
        kendall, kendall_ci: tau-b with the truth, likewise.
        spearman_top20: rho among the 20% best by truth.
        subsets: the same among the best 20, 10 and 5%, by truth and by score.
        regret: best truth minus the truth of this ranking's first, in units of the truth.
        at_k: what training its first 1, 5 and 10 in full finds.
        difference: rho minus that of each other ranking, by study name, with the interval from
            paired resamples: {"value": ..., "ci": [lo, hi]}.
        seconds_per_architecture: mean over architectures, all seeds together.
        seconds_once: spent before any architecture (condensing), None when unknown.
        speedup: seconds per architecture of the truth over those of this ranking.
        break_even: architectures after which `seconds_once` has been earned back.
        provenance: what its study was made with: recipe, seeds, digests, versions, hardware.
    """

    study: str
    estimator: str
    kind: str
    n: int
    broken: int
    spearman: float | None
    spearman_ci: Interval
    kendall: float | None
    kendall_ci: Interval
    spearman_top20: float | None
    subsets: tuple[Subset, ...]
    regret: float | None
    at_k: tuple[AtK, ...]
    difference: dict[str, Any]
    seconds_per_architecture: float | None
    seconds_once: float | None
    speedup: float | None
    break_even: int | None
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One study's scores of the compared architectures.

    Attributes:
        scores: (n,), minus infinity for the broken.
        seconds: mean per architecture, all seeds together; None when unknown.
        once: seconds before any architecture; None when unknown.
        provenance: attributes of its study.
    """

    name: str
    estimator: str
    kind: str
    scores: Array
    seconds: float | None
    once: float | None
    provenance: dict[str, Any]

    @property
    def study(self) -> str:
        """Name of the study, without what it is read by."""
        return self.name.removesuffix(f"@{self.provenance.get('read', '')}")


@dataclass(frozen=True)
class Entry:
    """One architecture: its score, minus infinity if it broke, its trial's attributes, choices."""

    score: float
    attributes: dict[str, Any]
    choices: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Scores by architecture, from a study or from a column of a table.

    Attributes:
        name: of the study, or of the table's column.
        metric: what the scores measure.
        attributes: those of the study.
        entries: by the architecture's key; only what was drawn blindly.
    """

    name: str
    metric: str
    attributes: dict[str, Any]
    entries: dict[str, Entry]


@dataclass(frozen=True)
class Reading:
    """A study read by another number that its trials carry than their score.

    Attributes:
        study: of our making.
        by: such as ``loss`` (of validation), ``train_loss`` or ``params``. Of those in `LOWER`,
            the lower ranks the higher.
    """

    study: optuna.Study
    by: str


Comparable = optuna.Study | TableEstimator | Reading


def make_source(given: Comparable) -> Source:
    """The source of a study, of a reading of one, or of a table's column.

    Raises:
        UserError: a trial has no number to be read by.
    """
    if isinstance(given, TableEstimator):
        entries = {
            key: Entry(value, {"drawn": "all"})
            for key, value in given.values.items()
            if not math.isnan(value)
        }
        attributes = {"estimator": given.name, "kind": given.kind, "table": given.digest}
        return Source(given.metric, given.metric, attributes, entries)
    study, by = (given.study, given.by) if isinstance(given, Reading) else (given, None)
    trials = unbiased_trials(study)
    scores = scores_among(study, trials, by)
    metric = (study.metric_names or ["score"])[0]
    read = {} if by is None else {"read": by}
    return Source(
        name=study.study_name if by is None else f"{study.study_name}@{by}",
        metric=metric if by is None else f"-{by}" if by in LOWER else by,
        attributes={**study.user_attrs, **read},
        entries={
            str(trial.user_attrs["architecture"]): Entry(
                float(score), trial.user_attrs, trial.params
            )
            for trial, score in zip(trials, scores, strict=True)
        },
    )


class Join:
    """The architectures that may be compared, and each source's scores of them."""

    def __init__(self, truth: Source, rankings: Sequence[Source]) -> None:
        require_comparable(truth, rankings)
        self.sources = [truth, *rankings]
        self.keys = [k for k in truth.entries if all(k in s.entries for s in rankings)]
        if len(self.keys) < LEAST:
            raise UserError(
                f"studies {', '.join(s.name for s in self.sources)} have {len(self.keys)} "
                f"uniformly drawn architectures in common, {LEAST} is the least; score the same "
                "ones with --like"
            )
        self.entries = [[source.entries[key] for key in self.keys] for source in self.sources]
        self.truth, *self.columns = (
            _column(source, entries)
            for source, entries in zip(self.sources, self.entries, strict=True)
        )

    @property
    def drawn(self) -> str:
        """``all`` if the architectures are the whole space, else ``uniform``."""
        everywhere = {e.attributes["drawn"] for entries in self.entries for e in entries}
        return "all" if everywhere == {"all"} else "uniform"

    def combined(self, names: Sequence[str], how: str) -> Column:
        """A column that combines the rankings of these names.

        Raises:
            UserError: a name is not among the rankings.
        """
        by_name = {column.name: column for column in self.columns}
        for name in names:
            if name not in by_name:
                raise UserError(f"can't combine {name!r}: it is not among {', '.join(by_name)}")
        parts = [by_name[name] for name in names]
        trained = list({part.study: part for part in parts}.values())  # once, however often read
        return Column(
            name="+".join(names),
            estimator=f"{how}-rank of {', '.join(names)}",
            kind="combined",
            scores=combine(np.stack([part.scores for part in parts]), how),
            seconds=_sum([part.seconds for part in trained]),
            once=_sum([part.once for part in trained]),
            provenance={"combined": list(names), "how": how},
        )

    def ceiling(self) -> dict[str, float | int | None] | None:
        """Spearman of one truth training with another, where the truth has several seeds."""
        seeds = int(self.sources[0].attributes.get("seeds", 1))
        if "read" in self.sources[0].attributes:  # only scores are kept for each seed
            return None
        rows = [
            [e.attributes.get(f"score_seed{k}", -math.inf) for e in self.entries[0]]
            for k in range(seeds)
        ]
        pairs = list(combinations(np.array(rows), 2))
        if not pairs:
            return None
        best = top(self.truth.scores, FRACTIONS[0])
        rho = float(np.mean([spearman(a, b) for a, b in pairs]))
        among_best = float(np.mean([spearman(a[best], b[best]) for a, b in pairs]))
        # reliability of the mean of k trainings (Spearman-Brown); its root is what a ranking
        # without any error of its own would show (attenuation)
        of_mean = seeds * rho / (1 + (seeds - 1) * rho) if rho > 0 else math.nan
        return {
            "seeds": seeds,
            "spearman": finite(rho),
            "spearman_top20": finite(among_best) if len(best) >= FEW else None,
            "perfect_ranking": finite(math.sqrt(of_mean) if of_mean > 0 else math.nan),
        }

    def costs(self) -> dict[str, Array]:
        """What architectures cost (n,), infinity where unknown, by cost.

        A cost is taken from the first source, the truth before the others, that recorded it.
        """
        found = {}
        for cost in COSTS:
            for source, entries in zip(self.sources, self.entries, strict=True):
                if source.attributes.get("space") != self.sources[0].attributes.get("space"):
                    continue  # a small copy has another size
                if all(cost in e.attributes or math.isinf(e.score) for e in entries):
                    found[cost] = np.array([e.attributes.get(cost, math.inf) for e in entries])
                    break
        return found

    def pareto(self) -> dict[str, list[dict[str, Any]]]:
        """Architectures that no other beats in truth and in a cost, by cost."""
        return {
            cost: [
                {"architecture": self.keys[i], cost: values[i], "truth": self.truth.scores[i]}
                for i in pareto_front(self.truth.scores, values)
                if math.isfinite(values[i])
            ]
            for cost, values in self.costs().items()
        }

    def architectures(self) -> list[dict[str, Any]]:
        """The choices of each architecture, empty if only tables have it, and its known costs."""
        none: dict[str, Any] = {}
        choices = [next((e.choices for e in row if e.choices), none) for row in zip(*self.entries)]
        costs = self.costs()
        return [
            {"choices": chosen} | {cost: finite(values[i]) for cost, values in costs.items()}
            for i, chosen in enumerate(choices)
        ]


def rank_all(truth: Column, columns: Sequence[Column], seed: int) -> tuple[Ranking, ...]:
    """The figures of every ranking, on the same resamples of architectures."""
    resamples = resample_count(len(truth.scores))
    resampled = bootstrap_spearman(
        truth.scores, np.stack([column.scores for column in columns]), resamples, seed
    )
    rhos = [finite(spearman(truth.scores, column.scores)) for column in columns]
    made = []
    for i, column in enumerate(columns):
        difference = {
            other.name: {
                "value": _minus(rhos[i], rhos[j]),
                "ci": interval(resampled[i] - resampled[j]),
            }
            for j, other in enumerate(columns)
            if j != i
        }
        made.append(_ranking(truth, column, interval(resampled[i]), difference, seed))
    return tuple(made)


def _ranking(
    truth: Column, column: Column, ci: Interval, difference: dict[str, Any], seed: int
) -> Ranking:
    t, s = truth.scores, column.scores
    subsets = tuple(_subset(t, s, by, f, seed) for by in ("truth", "score") for f in FRACTIONS)
    few = max(100, resample_count(len(t)) * 250 // max(len(t), 250))  # tau is slow on many
    speedup = break_even = None
    if column.seconds and truth.seconds:
        speedup = truth.seconds / column.seconds
        if column.once is not None and truth.seconds > column.seconds:
            break_even = math.ceil(column.once / (truth.seconds - column.seconds))
    return Ranking(
        study=column.name,
        estimator=column.estimator,
        kind=column.kind,
        n=len(t),
        broken=int(np.isneginf(s).sum()) if column.kind != "combined" else 0,
        spearman=finite(spearman(t, s)),
        spearman_ci=ci,
        kendall=finite(kendall(t, s)),
        kendall_ci=interval(bootstrap_kendall(t, s, few, seed)),
        spearman_top20=subsets[0].spearman,
        subsets=subsets,
        regret=finite(regret(t, s)),
        at_k=tuple(
            AtK(
                k,
                overlap(t, s, k),
                best_rank(t, s, k),
                finite(t.max() - t[best_first(s)[:k]].max()),
            )
            for k in KS
            if k <= len(t)
        ),
        difference=difference,
        seconds_per_architecture=column.seconds,
        seconds_once=column.once,
        speedup=speedup,
        break_even=break_even,
        provenance=column.provenance,
    )


def _subset(truth: Array, scores: Array, by: str, fraction: float, seed: int) -> Subset:
    index = top(truth if by == "truth" else scores, fraction)
    t, s = truth[index], scores[index]
    if len(t) < FEW:  # it would be a figure of two or three architectures
        return Subset(by, fraction, len(t), None, (None, None), None)
    samples = bootstrap_spearman(t, s[None], resample_count(len(t)), seed)[0]
    return Subset(
        by, fraction, len(t), finite(spearman(t, s)), interval(samples), finite(kendall(t, s))
    )


def require_comparable(truth: Source, others: Sequence[Source]) -> None:
    """Make sure that rankings are of the truth's data and space, and that it is a truth.

    Raises:
        UserError: they are not.
    """
    if any("stopped" in entry.attributes for entry in truth.entries.values()):
        raise UserError(f"{truth.name!r} was stopped early by a pruner: it is no truth")
    for other in others:
        for key in ("space_sha256", "dataset_digest"):
            here, there = truth.attributes.get(key), other.attributes.get(key)
            if here is not None and there is not None and here != there:
                raise UserError(
                    f"studies {truth.name!r} and {other.name!r} can't be compared: "
                    f"{key} is {here} and {there}"
                )


def unbiased_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that a correlation may use: drawn blindly, buildable, with a score or broken."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.user_attrs.get("drawn") in UNBIASED and has_result(trial)
    ]


def scores_among(
    study: optuna.Study, trials: Sequence[FrozenTrial], by: str | None = None
) -> Array:
    """Scores (n,) of trials of a study, or what they are read `by`; minus infinity if broken.

    An estimator with components has a score only among others: the components are ranked here,
    and combined as in AZ-NAS. Trials that a pruner stopped rank below all that trained for longer;
    the scores are places then, the highest the best.
    """
    broken = ["broken" in t.user_attrs for t in trials]
    parts = [name for name in str(study.user_attrs.get("components", "")).split(",") if name]
    if any("stopped" in t.user_attrs for t in trials):
        reached = [(t.user_attrs.get("stopped", math.inf), _value(t, by)) for t in trials]
        places = {pair: place for place, pair in enumerate(sorted(set(reached)), start=1)}
        return np.array([-math.inf if b else places[r] for b, r in zip(broken, reached)], float)
    if by is not None or not parts:
        return np.array([_value(trial, by) for trial in trials], float)
    table = [[t.user_attrs.get(name, -math.inf) for t in trials] for name in parts]
    scores = combine(np.array(table), "log")
    scores[broken] = -math.inf
    return scores


def _value(trial: FrozenTrial, by: str | None) -> float:
    """The score of a trial, or the last that was reported of it; minus infinity if it broke."""
    if "broken" in trial.user_attrs:
        return -math.inf
    if by is None:
        return (
            trial.intermediate_values[trial.user_attrs["stopped"]]
            if trial.value is None
            else trial.value
        )
    value = trial.user_attrs.get(by)
    if value is None and by == "both":  # it came later than the studies of older versions
        value = _balance(trial)
    if isinstance(value, bool) or not isinstance(value, int | float):
        numbers = {k for k, v in trial.user_attrs.items() if isinstance(v, float)}
        raise UserError(f"trials have no number {by!r}{nearest(by, numbers)}")
    return -float(value) if by in LOWER else float(value)


def _balance(trial: FrozenTrial) -> float | None:
    """What `both` is of a trial that has its parts; None if it has not."""
    accuracy, loss = (trial.user_attrs.get(name) for name in ("accuracy", "train_loss"))
    if not isinstance(accuracy, float) or not isinstance(loss, float):
        return None
    return balance(accuracy, loss)


def _column(source: Source, entries: Sequence[Entry]) -> Column:
    attributes = source.attributes
    seeds = int(attributes.get("seeds", 1))
    seconds = [e.attributes["seconds"] * seeds for e in entries if "seconds" in e.attributes]
    return Column(
        name=source.name,
        estimator=str(attributes.get("estimator", source.name)),
        kind=str(attributes.get("kind", "proxy")),
        scores=np.array([entry.score for entry in entries]),
        seconds=sum(seconds) / len(seconds) if seconds else None,
        once=attributes.get("cost"),
        provenance=attributes,
    )


def finite(value: float) -> float | None:
    """None for what JSON has no number for."""
    return float(value) if math.isfinite(value) else None


def interval(samples: Array) -> Interval:
    """The 95% interval, None where more than a tenth of the resamples are not defined."""
    if np.isnan(samples).mean() > 0.1:
        return None, None
    low, high = percentile_interval(samples)
    return finite(low), finite(high)


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
