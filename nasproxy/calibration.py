"""A ranking of many architectures from several cheap ones and a few full trainings."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import RidgeCV

from nasproxy.comparison import (
    Comparable,
    Interval,
    finite,
    interval,
    make_source,
    require_comparable,
)
from nasproxy.correlation import Array, best_first, bootstrap_spearman, resample_count, spearman
from nasproxy.errors import UserError
from nasproxy.runtime import check_seed

LEAST_KNOWN = 5  # fewest architectures that weights are learnt from
_PENALTIES = np.logspace(-1, 4, 26)
_TRUST = 10.0  # how much cheaper it is to follow the mean of the rankings than any one of them


@dataclass(frozen=True)
class Calibration:
    """Architectures ranked by what a few full trainings say of cheap rankings.

    Attributes:
        truth: name of the study of full trainings.
        studies: names of the rankings that are combined.
        known: architectures whose truth is known.
        spearman: of their truth with predictions that leave each of them out; None where it is
            not defined.
        spearman_ci: its 95% percentile bootstrap interval over these architectures.
        ranking: best first, ``architecture``, ``predicted`` (in normal scores of the known ones'
            truth) and ``truth``, None where it is not known or broke.
    """

    truth: str
    studies: tuple[str, ...]
    known: int
    spearman: float | None
    spearman_ci: Interval
    ranking: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        low, high = self.spearman_ci
        trust = "not defined"
        if self.spearman is not None and low is not None:
            trust = f"{self.spearman:.2f} [{low:.2f}, {high:.2f}]"
        lines = [
            f"{len(self.ranking)} architectures by {', '.join(self.studies)}, "
            f"calibrated by {self.known} of {self.truth}.",
            f"Spearman with the truth, each left out of its own prediction: {trust}.",
        ]
        for row in self.ranking[:10]:
            known = "" if row["truth"] is None else f"  (truth {row['truth']:.6g})"
            lines.append(f"  {row['predicted']:+.3f}  {row['architecture']}{known}")
        if len(self.ranking) > 10:
            lines.append(f"  ... and {len(self.ranking) - 10} more")
        return "\n".join(lines)


def calibrate(truth: Comparable, rankings: Sequence[Comparable], *, seed: int = 0) -> Calibration:
    """Rank the uniformly drawn architectures of some studies, given the truth of a few of them.

    Args:
        truth: full trainings of a few architectures, drawn uniformly; a study or a table's column.
        rankings: cheap scores of all architectures to be ranked; those that every one has count.
        seed: of the bootstrap.

    Raises:
        UserError: fewer than five architectures have a truth, or a ranking is given twice.
    """
    check_seed(seed)
    source, *others = (make_source(given) for given in (truth, *rankings))
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
    scores = np.array([[other.entries[key].score for key in keys] for other in others])
    true = np.full(len(keys), np.nan)
    true[known] = [source.entries[keys[i]].score for i in known]
    predicted = predict(scores, true, known)
    left_out = np.array([predict(scores, true, known[known != i])[i] for i in known])
    samples = bootstrap_spearman(true[known], left_out[None], resample_count(len(known)), seed)[0]
    return Calibration(
        truth=source.name,
        studies=tuple(names),
        known=len(known),
        spearman=finite(spearman(true[known], left_out)),
        spearman_ci=interval(samples),
        ranking=tuple(
            {
                "architecture": keys[i],
                "predicted": float(predicted[i]),
                "truth": finite(true[i]),
            }
            for i in best_first(predicted)
        ),
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
    return float(np.nanmean(rhos)), np.array(samples)


def normal_scores(values: Sequence[float] | Array) -> Array:
    """Van der Waerden scores: the normal quantiles of the ranks (n,), ties averaged."""
    ranks = stats.rankdata(values)
    scores: Array = stats.norm.ppf(ranks / (len(ranks) + 1))
    return scores
