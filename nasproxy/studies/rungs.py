"""Spending less: stop training what ranks low after a few epochs.

Successive halving (Jamieson & Talwalkar 2016, arXiv 1502.07943): all architectures train for a
few epochs, the best of them for some more, and so on. All come to a rung before any is stopped
there, so that who survives depends neither on the number of workers nor on which is done first;
what survives to the end has the very score that it has without halving.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from nasproxy.errors import UserError
from nasproxy.studies.ledger import Ledger
from nasproxy.studies.loop import Loop
from nasproxy.studies.record import Ending, Record
from nasproxy.system.spelling import parse_spec

# of a training; with two thirds kept at each, all decisions fall within the first third, and the
# first five were the same in 3 of 3 studies (docs/LOG.md, 2026-11-21)
_RUNGS = (0.15, 0.2, 0.33)


@dataclass(frozen=True)
class Halving:
    """Keep the best ``1 / reduction_factor`` of all that have come to a rung; ties are kept.

    Attributes:
        reduction_factor: eta, above 1.
    """

    reduction_factor: float = 1.5

    def __post_init__(self) -> None:
        eta = self.reduction_factor
        if not isinstance(eta, int | float) or not 1 < eta < math.inf:
            raise UserError(f"expected a reduction_factor above 1, got {eta}")

    def lowest_kept(self, scores: Collection[float]) -> float:
        """The score below which a trial is stopped."""
        keep = math.ceil(len(scores) / self.reduction_factor)
        return sorted(scores, reverse=True)[keep - 1]


def make_halving(pruner: str | Halving) -> Halving:
    """What ``halving`` or ``halving:reduction_factor=2`` means.

    Raises:
        UserError: it is another name, or an option is unknown or out of its range.
    """
    if isinstance(pruner, Halving):
        return pruner
    name, options = parse_spec(pruner)
    if name != "halving":
        raise UserError(f"unknown pruner {name!r}; expected halving")
    try:
        return Halving(**options)
    except TypeError as error:
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


def climb(
    loop: Loop, halving: Halving, rungs: Sequence[int], records: Iterable[Record], bar: Any
) -> None:
    """Train all trials to each rung, stop those that rank low there, and finish the rest."""
    ledger = loop.ledger
    alive: list[Record] = []

    def below(rung: int, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            alive.append(record)
            if rung not in ledger.record(record.id).by_epoch:
                yield record

    for rung in rungs:
        loop.run(below(rung, records), bar, rung)
        while not _all_are_at(ledger, rung):
            left = _stop_low(ledger, halving, ledger.learn(), range(rung), bar)
            loop.run(below(rung, left), bar, rung)
            if not _all_are_at(ledger, rung):
                ledger.wait(bar)
        alive = [r for r in map(ledger.record, (r.id for r in alive)) if not r.is_finished]
        alive.sort(key=lambda record: record.number)
        records, alive = _stop_low(ledger, halving, alive, [rung], bar), []
    loop.run(records, bar)


def _all_are_at(ledger: Ledger, rung: int) -> bool:
    """Whether no trial of any driver has yet to come to a rung: all are judged together."""
    return all(rung in record.by_epoch for record in ledger.records(TrialState.RUNNING))


def _stop_low(
    ledger: Ledger, halving: Halving, records: list[Record], rungs: Collection[int], bar: Any
) -> list[Record]:
    """Stop what ranks low at its last rung, where that is one of `rungs`; the others."""
    seen = [record.by_epoch for record in ledger.records()]
    least = {r: halving.lowest_kept(scores) for r in rungs if (scores := _at(seen, r))}
    kept = []
    for record in [ledger.record(record.id) for record in records]:
        rung = max(record.by_epoch, default=-1)
        if record.by_epoch.get(rung, math.inf) < least.get(rung, -math.inf):
            ledger.prune(record, Ending.STOPPED, rung, record.by_epoch[rung])
            bar.update()
        else:
            kept.append(record)
    return kept


def _at(seen: Iterable[Mapping[int, float]], rung: int) -> list[float]:
    """The scores of all trials that have come to a rung, stopped or not."""
    return [by_epoch[rung] for by_epoch in seen if rung in by_epoch]
