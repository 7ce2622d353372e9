"""Making proxy sets: one file a method, and the table of their names."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasproxy.data.dataset import Dataset, as_dataset
from nasproxy.data.images import ImageSet
from nasproxy.errors import UserError, nearest
from nasproxy.proxies.by_class import make_by_class
from nasproxy.proxies.checkpoint import Checkpoint
from nasproxy.proxies.coreset import CoresetOptions, choose_by_herding, choose_by_k_center
from nasproxy.proxies.dm import DMOptions, DMPaperOptions, match_distribution
from nasproxy.proxies.dm_space import DMSpaceOptions, match_on_space
from nasproxy.proxies.provenance import describe
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.proxies.random import RandomOptions, choose_random
from nasproxy.system.machine import keep_memory, pick_device, versions


@dataclass(frozen=True)
class Method:
    """A way of making a proxy set: its options and its function.

    Attributes:
        by_class: whether the images of one class don't depend on those of others, and `make` takes
            a list of classes, `only`.
    """

    options: Callable[..., Any]
    make: Callable[
        ..., ImageSet
    ]  # of data, options, device, whether to show progress, and Checkpoint
    by_class: bool = False


METHODS = {
    "dm": Method(DMOptions, match_distribution, by_class=True),
    "dm-paper": Method(DMPaperOptions, match_distribution, by_class=True),
    "dm-space": Method(DMSpaceOptions, match_on_space),
    "random": Method(RandomOptions, choose_random),
    "herding": Method(CoresetOptions, choose_by_herding),
    "k-center": Method(CoresetOptions, choose_by_k_center),
}
OPTIONS = {name: method.options for name, method in METHODS.items()}


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
    data: Dataset | str,
    method: str = "dm",
    *,
    device: str = "auto",
    progress: bool = False,
    checkpoint: str | Path | None = None,
    scheduler: str | None = None,
    **options: Any,
) -> ProxySet:
    """Make a proxy set of `ipc` images a class that stands in for the training images.

    Args:
        data: a data set, or its name, folder or .npz file; only its training images are looked at.
        method: how; ``nasproxy list methods`` names them. Options left out are the method's own.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        progress: show progress on stderr.
        checkpoint: file that holds what has been done so far while it goes on. A call with the
            same arguments goes on from it, to the same bytes; it is removed at the end.
        scheduler: address of a Dask scheduler, to be trusted like code, whose workers make a
            class each at a time, on one thread. Images are the same up to rounding.
        options: of the method, such as ``ipc``, ``steps`` or ``seed``.

    Raises:
        UserError: the method, an option or the device is not there, a class is too small, or the
            scheduler is lost, or of no use to the method.
    """
    data, chosen = as_dataset(data), method_options(method, **options)
    if scheduler is not None and not METHODS[method].by_class:
        able = ", ".join(name for name, known in METHODS.items() if known.by_class)
        raise UserError(f"{method} makes all classes at once; a scheduler is of use to {able}")
    where = pick_device("cpu" if scheduler is not None else device)
    keep_memory()
    # what the set depends on beside the options, such as the code of a space
    identity = getattr(chosen, "identity", {})
    depends = {
        "method": method,
        "options": dataclasses.asdict(chosen),
        "dataset_digest": data.digest,
        "device": where.type if scheduler is None else f"{device} of a cluster",
        "versions": versions(),
        **identity,
    }
    kept = Checkpoint(None if checkpoint is None else Path(checkpoint), depends)
    start = time.perf_counter()
    make = METHODS[method].make
    if scheduler is None:
        made = make(data, chosen, where, progress, kept)
    else:
        made = make_by_class(make, data, chosen, device, progress, kept, scheduler)
    seconds = kept.seconds + time.perf_counter() - start
    kept.done()
    metadata = describe(data, method, dataclasses.asdict(chosen), chosen.seed, **identity)
    return ProxySet(made.images, made.labels, metadata, round(seconds, 3))
