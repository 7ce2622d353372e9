"""A proxy set whose classes are made one by one, in the workers of a cluster."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nasproxy.data.dataset import Dataset
from nasproxy.data.images import ImageSet
from nasproxy.errors import UserError
from nasproxy.proxies.checkpoint import Checkpoint
from nasproxy.proxies.random import random_index
from nasproxy.system.progress import Forecast, progress
from nasproxy.workers.dask import open_workers
from nasproxy.workers.task import Candidate, Failure, Task


@dataclass(frozen=True)
class _Maker:
    """Makes the images of one class; sent to each worker once, in the place of an estimator."""

    make: Callable[..., ImageSet]
    data: Dataset
    options: Any
    device: torch.device

    def __call__(self, candidate: Candidate, seed: int) -> dict[str, Tensor]:
        only = [int(candidate.key)]
        nothing_kept = Checkpoint(None, {})
        made = self.make(self.data, self.options, self.device, False, nothing_kept, only=only)
        return {"images": made.images}


def make_by_class(
    make: Callable[..., ImageSet],
    data: Dataset,
    options: Any,
    device: str,
    show: bool,
    kept: Checkpoint,
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
    label = f"condensing {data.name}, class by class"
    with open_workers(None, device, None, scheduler) as workers:
        forecast = Forecast("", lambda: workers.jobs)
        bar = progress(label, classes, int(done.sum()), show, forecast)
        maker: Any = _Maker(make, sent, options, workers.place(device))
        tasks = (
            Task(maker, Candidate(str(number), torch.nn.Identity), options.seed, number)
            for number in range(classes)
            if not done[number]
        )
        for task, outcome in workers.outcomes(tasks):
            if isinstance(outcome, Failure):
                name = data.class_names[task.of]
                raise UserError(f"class {name!r} was not made: {outcome.reason}")
            made: Any = outcome
            images[task.of], done[task.of] = made["images"], True
            bar.update()
            kept.save(partial(dict, images=images, done=done))
    bar.close()
    return ImageSet(images.flatten(0, 1), data.train.labels[index])
