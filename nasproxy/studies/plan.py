"""Which architectures a study shall hold, and in which order they are trained."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import optuna

from nasproxy.data.dataset import Dataset
from nasproxy.errors import UserError
from nasproxy.spaces.space import Architecture, Space
from nasproxy.studies.record import Ending, read_records

TRIALS = 40  # architectures that are drawn by default
_BLOCK = 32  # architectures that are put in order of their work


def built_for(data: Dataset | None) -> tuple[tuple[int, int, int], int]:
    """(C, H, W) and the number of classes that networks are built for; without data any will do."""
    return (data.input_shape, data.num_classes) if data else ((3, 32, 32), 10)


def make_plan(
    space: Space,
    input_shape: tuple[int, int, int],
    num_classes: int,
    trials: int | None,
    sampler: str,
    like: optuna.Study | Sequence[Architecture] | None,
    seed: int,
) -> list[Architecture]:
    """The architectures to be scored, those that can't be built among them.

    Args:
        space, input_shape, num_classes: what is drawn.
        trials: how many that can be built; None for all of `like`, else `TRIALS`.
        sampler: ``random`` or ``all``.
        like: take these, or those of this study, instead: the first ones, if not all; see
            `_in_order_of_draw`.
        seed: of the draw.

    Raises:
        UserError: the study's architectures are not of the space.
    """
    if isinstance(like, optuna.Study):
        left_out = (Ending.DUPLICATE, Ending.LOST, Ending.UNFINISHED)
        found = [r.architecture() for r in read_records(like) if r.ending not in left_out]
        for architecture in found:
            if architecture.error is not None:
                continue
            key = space.key(architecture.choices, architecture.distributions)
            if key != architecture.key:
                raise UserError(
                    f"study {like.study_name!r} holds {architecture.key!r}, whose parameters "
                    f"{space.name} knows as {key!r}; it is of another space, or was changed"
                )
        if trials is None:
            return found
        ordered = _in_order_of_draw(found, like, space, input_shape, num_classes, trials)
        return _first_ones(ordered, trials)
    if like is not None:
        return _first_ones(like, trials)
    trials = TRIALS if trials is None else trials
    if sampler == "all":
        return list(space.enumerate(input_shape, num_classes))
    return space.sample(trials, seed, input_shape, num_classes)


def _first_ones(architectures: Sequence[Architecture], trials: int | None) -> list[Architecture]:
    """Up to the one with which so many can be built; None is all."""
    if trials is None:
        return list(architectures)
    can_be_built = itertools.accumulate((a.error is None for a in architectures), initial=0)
    return [a for a, before in zip(architectures, can_be_built) if before < trials]


def _in_order_of_draw(
    found: Sequence[Architecture],
    study: optuna.Study,
    space: Space,
    input_shape: tuple[int, int, int],
    num_classes: int,
    trials: int,
) -> list[Architecture]:
    """A study's architectures, so that the first ones are as good a sample as all of them.

    Its trials are in the order of their training, the largest first, so that the first of them
    would be a biased choice. Where the study's seed draws them again, that is their order, and the
    first k are those of ``--trials k``; else it is as good as random, and the same in all studies.
    Of a whole space, some are a uniform draw. What a search added comes last.
    """
    blind = [a for a in found if a.drawn in ("uniform", "all")]
    rest = [a for a in found if a.drawn not in ("uniform", "all")]
    places = {}
    seed = study.user_attrs.get("seed")
    if isinstance(seed, int) and any(a.drawn == "uniform" for a in blind):
        drawn = space.sample(trials, seed, input_shape, num_classes)
        if {a.key for a in drawn if a.error is None} <= {a.key for a in blind}:
            places = {a.key: place for place, a in enumerate(drawn)}
    blind.sort(
        key=lambda a: (places.get(a.key, len(places)), hashlib.sha256(a.key.encode()).digest())
    )
    if sum(a.error is None for a in blind) > trials:
        blind = [replace(a, drawn="uniform") for a in blind]
    return [*blind, *rest]


def large_first(
    plan: Sequence[Architecture], size: Callable[[Architecture], int]
) -> Iterator[Architecture]:
    """The plan block by block, the largest first in each: no worker ends long after others.

    Only within blocks, so that an interrupted study is a uniform draw but for its last one.
    """
    for first in range(0, len(plan), _BLOCK):
        yield from sorted(plan[first : first + _BLOCK], key=size, reverse=True)
