"""A ranking of many architectures from several cheap ones and a few full trainings."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nasproxy.errors import UserError
from nasproxy.estimators.ranks import Kind
from nasproxy.report.join import require_comparable
from nasproxy.report.sources import Comparable, Storages, make_sources
from nasproxy.searches.encoding import encode
from nasproxy.searches.pareto import Indices
from nasproxy.studies.statistics import (
    Array,
    Interval,
    best_first,
    finite,
    interval,
    spearman,
)
from nasproxy.system.machine import check_seed

LEAST_KNOWN = 5  # fewest architectures that are learnt from
_DRAWS = 100  # of those held out: leave-one-out would have useless rankings at -.1 to -.2


@dataclass(frozen=True)
class Calibration:
    """Architectures ranked by what a few full trainings say of cheap rankings.

    Attributes:
        truth: name of the study of full trainings.
        studies: names of the rankings that are combined.
        known: architectures whose truth is known.
        broken: how many of them broke, and rank last.
        held_out: how many of the known are held out, each time others, to be predicted by the rest.
        spearman: of the truth of those held out with their predictions, the mean over the draws;
            None where it is not defined.
        spearman_ci: the 95% interval of one draw, with those held out resampled: over both, whom
            is learnt from and who is predicted.
        ranking: best first, ``architecture``, ``predicted`` (standardised among the known) and
            ``truth``, None where it is not known or broke.
        top: how many of them are listed in words.
    """

    truth: str
    studies: tuple[str, ...]
    known: int
    broken: int
    held_out: int
    spearman: float | None
    spearman_ci: Interval
    ranking: tuple[dict[str, Any], ...]
    top: int = 10

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        values = asdict(self)
        del values["top"]
        return values

    def in_words(self) -> list[str]:
        """What the ranking has learnt from, and how well it ranks what it has not seen."""
        low, high = self.spearman_ci
        trust = "not defined"
        if self.spearman is not None and low is not None:
            trust = f"{self.spearman:.2f} [{low:.2f}, {high:.2f}]"
        lines = [
            f"Calibrated by {self.known} of {self.truth}.",
            f"Spearman with the truth of {self.held_out} of these {self.known}, held out of what "
            f"it learns from, mean over {_DRAWS} draws: {trust}.",
        ]
        if self.broken:
            lines.append(f"{self.broken} of the {self.known} broke by {self.truth} and rank last.")
        return lines

    def __str__(self) -> str:
        lines = [f"{len(self.ranking)} architectures by {', '.join(self.studies)}."]
        lines += self.in_words()
        for row in self.ranking[: self.top]:
            known = "" if row["truth"] is None else f"  (truth {row['truth']:.6g})"
            lines.append(f"  {row['predicted']:+.3f}  {row['architecture']}{known}")
        if len(self.ranking) > self.top:
            lines.append(f"  ... and {len(self.ranking) - self.top} more")
        return "\n".join(lines)


def calibrate(
    truth: Comparable | str,
    rankings: Sequence[Comparable | str],
    *,
    storage: Storages = None,
    seed: int = 0,
    top: int = 10,
) -> Calibration:
    """Rank the uniformly drawn architectures of some studies, given the truth of a few of them.

    Args:
        truth: full trainings of a few architectures, drawn uniformly; a study, a table's column,
            or its name, as for `correlate`.
        rankings: cheap scores of all architectures to be ranked; those that every one has count.
        storage: URL of the Optuna storage that holds the studies given by name, or the storage;
            or several, of which one must hold each.
        seed: of the bootstrap.
        top: how many of the best are listed; all are in the JSON.

    Raises:
        UserError: fewer than five architectures have a truth, or a ranking is given twice.
    """
    check_seed(seed)
    if top < 1:
        raise UserError(f"expected top of 1 or more, got {top}")
    source, *others = make_sources([truth, *rankings], storage)
    names = [other.name for other in others]
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"expected one ranking or more, each once, got {', '.join(names) or 'none'}"
        )
    require_comparable(source, others)
    keys = [key for key in others[0].entries if all(key in o.entries for o in others)]
    known = np.array([i for i, key in enumerate(keys) if key in source.entries], int)
    if len(known) < LEAST_KNOWN:
        raise UserError(
            f"{source.name!r} has the truth of {len(known)} of the {len(keys)} architectures of "
            f"{', '.join(names)}; expected {LEAST_KNOWN} or more: train some in full with "
            "rank --by full --like"
        )
    scores = np.array([other.scores(keys) for other in others])
    built = [[o.entries[key] for o in others if o.entries[key].choices] for key in keys]
    choices = None
    if all(built):  # a table knows nothing of them
        choices = encode([e[0].choices for e in built], [e[0].distributions for e in built])
    kinds: list[Kind] = ["free" if o.kind in ("free", "table") else "proxy" for o in others]
    true = np.full(len(keys), np.nan)
    true[known] = [source.entries[keys[i]].score for i in known]
    predicted = predict(scores, true, known, choices, kinds)
    test = max(3, round(len(known) / 3))
    rho, samples = held_out(
        scores, true, len(known) - test, _DRAWS, seed, choices, kinds, among=known
    )
    return Calibration(
        truth=source.name,
        studies=tuple(names),
        known=len(known),
        broken=int(np.isneginf(true[known]).sum()),
        held_out=test,
        spearman=finite(rho),
        spearman_ci=interval(samples),
        ranking=tuple(
            {
                "architecture": keys[i],
                "predicted": float(predicted[i]),
                "truth": finite(true[i]),
            }
            for i in best_first(predicted)
        ),
        top=top,
    )


def predict(
    rankings: Array,
    truth: Array,
    known: Indices,
    choices: Array | None = None,
    kinds: Sequence[Kind] | None = None,
) -> Array:
    """Predict the truth of architectures from rankings of all and the truth of some.

    It is a belief as a search has it after the same trainings, see `nasproxy.searches.surrogate`,
    under a prior that trusts the rankings more.

    Args:
        rankings: (rankings, n), higher is better; minus infinity ranks last.
        truth: (n,), of which only `known` are looked at; minus infinity is what broke.
        known: (m,) indices of the architectures whose truth is known.
        choices: (n, d), what is alike; see `encode`. None is nothing that is known.
        kinds: ``free`` or ``proxy`` of each ranking; by default all are free.

    Returns:
        (n,) predictions, higher is better, standardised among the known.
    """
    return _beliefs(rankings, choices, kinds)(truth, known)


def _beliefs(
    rankings: Array, choices: Array | None, kinds: Sequence[Kind] | None
) -> Callable[[Array, Indices], Array]:
    """`predict` of the same rankings, given a truth and who is known."""
    from nasproxy.searches.surrogate import RANKING, Surrogate  # takes a second to import

    nothing = np.empty((rankings.shape[1], 0))
    pool = Surrogate(rankings, nothing if choices is None else choices, kinds, prior=RANKING)
    return lambda truth, known: pool.fit(known, truth[known]).prediction[0]


def held_out(
    rankings: Array,
    truth: Array,
    count: int,
    draws: int = 200,
    seed: int = 0,
    choices: Array | None = None,
    kinds: Sequence[Kind] | None = None,
    among: Indices | None = None,
) -> tuple[float, Array]:
    """How well `predict` ranks architectures that it has not seen.

    Args:
        rankings: (rankings, n).
        truth: (n,).
        count: architectures whose truth is known, drawn uniformly.
        draws: how often they are drawn.
        seed: of the draws.
        choices, kinds: see `predict`.
        among: indices of those that have a truth, of which `count` and 3 more are needed; by
            default all.

    Returns:
        The mean over the draws of Spearman's rho of predictions with truth over the others, and
        (draws,) samples of it on the others resampled with replacement: their percentiles are an
        interval over both, which architectures are known and which are to be ranked.
    """
    generator = np.random.default_rng(seed)
    among = np.arange(len(truth)) if among is None else among
    believe = _beliefs(rankings, choices, kinds)
    rhos, samples = [], []
    for _ in range(draws):
        order = generator.permutation(among)
        predicted, others = believe(truth, order[:count]), order[count:]
        rhos.append(spearman(truth[others], predicted[others]))
        again = generator.choice(others, len(others))
        samples.append(spearman(truth[again], predicted[again]))
    defined = not np.isnan(rhos).all()  # one that is constant has no correlation
    return float(np.nanmean(rhos)) if defined else math.nan, np.array(samples)
