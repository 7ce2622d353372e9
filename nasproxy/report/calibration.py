"""A ranking of many architectures from several cheap ones and a few full trainings."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasproxy.errors import UserError
from nasproxy.estimators.ranks import normal_scores
from nasproxy.report.join import require_comparable
from nasproxy.report.sources import Comparable, Storages, make_sources
from nasproxy.studies.statistics import (
    Array,
    Interval,
    best_first,
    finite,
    interval,
    spearman,
)
from nasproxy.system.machine import check_seed

LEAST_KNOWN = 5  # fewest architectures that weights are learnt from
_DRAWS = 100  # of those held out: leave-one-out would have useless rankings at -.1 to -.2
_PENALTIES = np.logspace(-1, 4, 26)
_TRUST = 10.0  # how much cheaper it is to follow the mean of the rankings than any one of them


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
            the weights are learnt from and who is predicted.
        ranking: best first, ``architecture``, ``predicted`` (in normal scores of the known ones'
            truth) and ``truth``, None where it is not known or broke.
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

    def __str__(self) -> str:
        low, high = self.spearman_ci
        trust = "not defined"
        if self.spearman is not None and low is not None:
            trust = f"{self.spearman:.2f} [{low:.2f}, {high:.2f}]"
        lines = [
            f"{len(self.ranking)} architectures by {', '.join(self.studies)}, "
            f"calibrated by {self.known} of {self.truth}.",
            f"Spearman with the truth of {self.held_out} of these {self.known}, held out of the "
            f"weights, mean over {_DRAWS} draws: {trust}.",
        ]
        if self.broken:
            lines.append(f"{self.broken} of the {self.known} broke by {self.truth} and rank last.")
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
    true = np.full(len(keys), np.nan)
    true[known] = [source.entries[keys[i]].score for i in known]
    predicted = predict(scores, true, known)
    test = max(3, round(len(known) / 3))
    rho, samples = held_out(scores[:, known], true[known], len(known) - test, _DRAWS, seed)
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


def predict(rankings: Array, truth: Array, known: NDArray[np.int64]) -> Array:
    """Predict the truth of architectures from rankings of all and the truth of some.

    Rankings and truth are turned into normal scores by rank. Ridge regression, its penalty chosen
    by leave-one-out over the known, moves the weights away from those of the plain mean of the
    rankings only as far as the known architectures ask for.

    Args:
        rankings: (rankings, n), higher is better; minus infinity ranks last.
        truth: (n,), of which only `known` are looked at.
        known: (m,) indices of the architectures whose truth is known.

    Returns:
        (n,) predictions, higher is better.
    """
    from sklearn.linear_model import RidgeCV  # takes a second to import

    features = np.stack([normal_scores(row) for row in rankings], 1)
    mean = features.mean(1, keepdims=True)
    features = np.concatenate([_TRUST * mean, features], 1)
    model = RidgeCV(_PENALTIES).fit(features[known], normal_scores(truth[known]))
    predicted: Array = model.predict(features)
    return predicted


def held_out(
    rankings: Array, truth: Array, count: int, draws: int = 200, seed: int = 0
) -> tuple[float, Array]:
    """How well `predict` ranks architectures that it has not seen.

    Args:
        rankings: (rankings, n).
        truth: (n,).
        count: architectures whose truth is known, drawn uniformly; at most n - 3.
        draws: how often they are drawn.
        seed: of the draws.

    Returns:
        The mean over the draws of Spearman's rho of predictions with truth over the others, and
        (draws,) samples of it on the others resampled with replacement: their percentiles are an
        interval over both, which architectures are known and which are to be ranked.
    """
    generator = np.random.default_rng(seed)
    rhos, samples = [], []
    for _ in range(draws):
        order = generator.permutation(len(truth))
        predicted, others = predict(rankings, truth, order[:count]), order[count:]
        rhos.append(spearman(truth[others], predicted[others]))
        again = generator.choice(others, len(others))
        samples.append(spearman(truth[again], predicted[again]))
    defined = not np.isnan(rhos).all()  # one that is constant has no correlation
    return float(np.nanmean(rhos)) if defined else math.nan, np.array(samples)
