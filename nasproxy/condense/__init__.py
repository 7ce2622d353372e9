"""Making proxy sets: one file a method, and the table of their names."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nasproxy.condense.coreset import CoresetOptions, choose_by_herding, choose_by_k_center
from nasproxy.condense.dm import DMOptions, DMPaperOptions, match_distribution
from nasproxy.condense.dm_space import DMSpaceOptions, match_on_space
from nasproxy.condense.kept import Kept
from nasproxy.condense.random import RandomOptions, choose_random
from nasproxy.data import Dataset, ImageSet
from nasproxy.errors import UserError, nearest
from nasproxy.proxy import FORMAT_VERSION, ProxySet
from nasproxy.runtime import keep_memory, pick_device, versions


@dataclass(frozen=True)
class Method:
    """A way of making a proxy set: its options, its function, and a line of help."""

    options: Callable[..., Any]
    make: Callable[[Dataset, Any, torch.device, bool, Kept], ImageSet]
    summary: str


METHODS = {
    "dm": Method(DMOptions, match_distribution, "distribution matching, sized for a CPU"),
    "dm-paper": Method(DMPaperOptions, match_distribution, "distribution matching, as published"),
    "dm-space": Method(
        DMSpaceOptions, match_on_space, "distribution matching on networks of a search space"
    ),
    "random": Method(RandomOptions, choose_random, "random real images"),
    "herding": Method(CoresetOptions, choose_by_herding, "real images near the classes' means"),
    "k-center": Method(CoresetOptions, choose_by_k_center, "real images that cover the classes"),
}


def has_option(method: str, name: str) -> bool:
    """Whether a method in `METHODS` has an option of this name."""
    return name in _option_names(method)


def _option_names(method: str) -> list[str]:
    fields = dataclasses.fields(METHODS[method].options)  # type: ignore[arg-type]
    return [field.name for field in fields]


def method_options(method: str, **options: Any) -> Any:
    """The frozen options of a method; those that are None keep its defaults.

    Raises:
        UserError: the method or an option is unknown, or a value is out of its range.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}{nearest(method, METHODS)}")
    given = {name: value for name, value in options.items() if value is not None}
    known = _option_names(method)
    for name in given:
        if name not in known:
            raise UserError(f"method {method!r} has no option {name!r}{nearest(name, known)}")
    return METHODS[method].options(**given)


def condense(
    data: Dataset,
    method: str = "dm",
    *,
    device: str = "auto",
    progress: bool = False,
    checkpoint: str | Path | None = None,
    **options: Any,
) -> ProxySet:
    """Make a proxy set of `ipc` images a class that stands in for the training images.

    Args:
        data: only its training images are looked at.
        method: a name in `METHODS`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        progress: show progress on stderr.
        checkpoint: file that holds what has been done so far while it goes on. A call with the
            same arguments goes on from it, to the same bytes; it is removed at the end.
        options: of the method, such as ``ipc``, ``steps`` or ``seed``.

    Raises:
        UserError: the method, an option or the device is not there, or a class is too small.
    """
    chosen = method_options(method, **options)
    where = pick_device(device)
    keep_memory()
    identity = getattr(chosen, "identity", {})
    kept = Kept(
        None if checkpoint is None else Path(checkpoint),
        {
            "method": method,
            "options": dataclasses.asdict(chosen),
            "dataset_digest": data.digest,
            "device": where.type,
            "versions": versions(),
            **identity,
        },
    )
    start = time.perf_counter()
    made = METHODS[method].make(data, chosen, where, progress, kept)
    seconds = kept.seconds + time.perf_counter() - start
    kept.done()
    metadata = {
        "format": FORMAT_VERSION,
        "method": method,
        "options": dataclasses.asdict(chosen),
        "dataset": data.name,
        "dataset_digest": data.digest,
        "mean": list(data.normalisation.mean),
        "std": list(data.normalisation.std),
        "class_names": list(data.class_names),
        "seed": chosen.seed,
        "versions": versions(),
        **identity,
    }
    return ProxySet(made.images, made.labels, metadata, round(seconds, 3))
