"""A proxy set whose classes are made one by one, in the workers of a cluster."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nasproxy.cluster import open_workers
from nasproxy.condense.kept import Kept
from nasproxy.condense.random import random_index
from nasproxy.data import Dataset, ImageSet
from nasproxy.errors import UserError
from nasproxy.estimators.base import Candidate
from nasproxy.progress import progress
from nasproxy.workers import ATTEMPTS, DIED


@dataclass(frozen=True)
class _Maker:
    """Makes the images of one class; sent to each worker once, in the place of an estimator."""

    make: Callable[..., ImageSet]
    data: Dataset
    options: Any
    device: torch.device

    def __call__(self, candidate: Candidate, seed: int) -> dict[str, Tensor]:
        only = [int(candidate.key)]
        nothing_kept = Kept(None, {})
        made = self.make(self.data, self.options, self.device, False, nothing_kept, only=only)
        return {"images": made.images}


def make_by_class(
    make: Callable[..., ImageSet],
    data: Dataset,
    options: Any,
    device: str,
    show: bool,
    kept: Kept,
    scheduler: str,
) -> ImageSet:
    """What `make` makes of all classes, made of each in a worker of a Dask cluster.

    Classes that are done are kept; those under way when the process is killed begin again.

    Args:
        make: of a method that is `by_class`.
        data: only its training images are sent.
        options: of the method.
        device: where the workers compute.
        show: whether to show progress.
        kept: the classes that are done.
        scheduler: its address.

    Raises:
        UserError: the scheduler is lost or has no workers, or a class can't be made.
    """
    classes, ipc = data.num_classes, options.ipc
    index = random_index(data, ipc, torch.Generator().manual_seed(options.seed))
    images = torch.zeros(classes, ipc, *data.input_shape)
    done = torch.zeros(classes, dtype=torch.bool)
    if state := kept.load():
        images, done = state["images"], state["done"]
    nothing = torch.arange(0)
    sent = replace(data, validation=data.validation[nothing], test=data.test[nothing])
    deaths: Counter[int] = Counter()
    bar = progress(f"condensing {data.name}, class by class", classes, int(done.sum()), show)
    with open_workers(None, device, None, scheduler) as workers:
        maker: Any = _Maker(make, sent, options, workers.place(device))

        def submit(number: int) -> "Future[Any]":
            return workers.submit(maker, Candidate(str(number), torch.nn.Identity), options.seed)

        running = {submit(number): number for number in range(classes) if not done[number]}
        while running:
            for future in workers.wait(running):
                number = running.pop(future)
                error = future.exception()
                if isinstance(error, UserError):
                    raise error
                deaths[number] += error is not None
                if error is not None and deaths[number] < ATTEMPTS:
                    running[submit(number)] = number
                    continue
                outcome = DIED if error is not None else future.result()
                if isinstance(outcome, str):
                    raise UserError(f"class {data.class_names[number]!r} was not made: {outcome}")
                images[number], done[number] = outcome["images"], True
                bar.update()
                kept.save(partial(dict, images=images, done=done))
    bar.close()
    return ImageSet(images.flatten(0, 1), data.train.labels[index])
