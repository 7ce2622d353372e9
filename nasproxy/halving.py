"""Spending less: stop training what ranks low after a few epochs.

Successive halving (Jamieson & Talwalkar 2016, arXiv 1502.07943): all architectures train for a
few epochs, the best of them for some more, and so on. `rank` brings every architecture to a rung
before any is stopped there, so that who survives depends neither on the number of workers nor on
which is done first; what survives to the end has the very score that it has without halving.
"""

import math
from collections.abc import Callable, Sequence

import optuna
from optuna.pruners import BasePruner, MedianPruner, PercentilePruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from nasproxy.errors import UserError, nearest
from nasproxy.spec import parse_spec

# of a training; with two thirds kept at each, all decisions fall within the first third, and the
# first five were the same in 3 of 3 studies (docs/LOG.md, 2026-11-21)
_RUNGS = (0.15, 0.2, 0.33)


class Halving(BasePruner):
    """Keep the best ``1 / reduction_factor`` of all trials that have reached the same epoch.

    Unlike Optuna's `SuccessiveHalvingPruner`, which decides with what has been reported when it
    is asked, this gives each trial the same answer in any order, once all have reported.

    Args:
        reduction_factor: eta, above 1.
    """

    def __init__(self, reduction_factor: float = 1.5) -> None:
        if not 1 < reduction_factor < math.inf:
            raise UserError(f"expected a reduction_factor above 1, got {reduction_factor}")
        self.reduction_factor = reduction_factor

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None:
            return False
        values = sorted(
            (
                other.intermediate_values[step]
                for other in study.get_trials(deepcopy=False)
                if step in other.intermediate_values
            ),
            reverse=study.direction is optuna.study.StudyDirection.MAXIMIZE,
        )
        keep = math.ceil(len(values) / self.reduction_factor)
        mine, last = trial.intermediate_values[step], values[keep - 1]
        return bool(
            mine < last if study.direction is optuna.study.StudyDirection.MAXIMIZE else mine > last
        )


PRUNERS: dict[str, Callable[..., BasePruner]] = {
    "halving": Halving,
    "successive_halving": SuccessiveHalvingPruner,
    "median": MedianPruner,
    "percentile": PercentilePruner,
}


def make_pruner(pruner: str | BasePruner) -> BasePruner:
    """The pruner of a name such as ``halving`` or ``halving:reduction_factor=2``.

    Raises:
        UserError: the name or an option is unknown, or a value is out of its range.
    """
    if isinstance(pruner, BasePruner):
        return pruner
    name, options = parse_spec(pruner)
    if name not in PRUNERS:
        raise UserError(f"unknown pruner {name!r}{nearest(name, PRUNERS)}")
    try:
        return PRUNERS[name](**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"pruner {pruner!r}: {error}") from None


def make_rungs(epochs: int, rungs: Sequence[int] = ()) -> list[int]:
    """Epochs after which trials may be stopped, ascending, all less than `epochs`.

    Args:
        epochs: of a whole training.
        rungs: given; by default 15, 20 and 33% of the epochs.

    Raises:
        UserError: a rung is not between 1 and `epochs`, or there is none.
    """
    for rung in rungs:
        if not 1 <= rung < epochs:
            raise UserError(f"expected rungs from 1 to {epochs - 1} epochs, got {rung}")
    own = {max(1, round(epochs * part)) for part in _RUNGS}
    made = sorted(set(rungs) or {rung for rung in own if rung < epochs})
    if not made:
        raise UserError(f"{epochs} epochs are too few to stop any training early")
    return made
