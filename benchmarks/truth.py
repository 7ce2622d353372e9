"""The truth of small networks: each trained on all training images, once for all, kept as a CSV.

``benchmarks/truth/<bed>.csv`` has a row an architecture: mean test accuracy in percent, that of
each seed and of some epochs on the way (``test_acc_s1_e12``), parameters and seconds; the JSON
beside it has the recipe. All beds but one are for CPU cores; ``convnet720-cifar10`` is the paper's
720 ConvNets at the paper's recipe, for a GPU:

    python -m benchmarks truth --bed convnet720-cifar10 --n 720 --device cuda --jobs 8 --minutes 9

may be run as often as it takes. A finished training is never done again; one that was under way
when the time was up begins anew, so that `--minutes` must be longer than the longest. The CSV holds
the first architectures of the draw, so that they are a uniform one: with one process, all that are
finished; with several, what is finished of the last few stays in the study that is under runs/.

Cells of NAS-Bench-201 need no training: their accuracies are published, also those of CIFAR-100.
"""

import csv
import dataclasses
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from jsonargparse import auto_cli

import nasproxy
from benchmarks.results import write_csv
from benchmarks.settled import settled
from nasproxy.data.named import DATASETS, DEFAULT_ROOT
from nasproxy.errors import UserError, nearest
from nasproxy.estimators.making import make_estimator
from nasproxy.estimators.training import TrainingEstimator
from nasproxy.spaces.space import Architecture
from nasproxy.studies.record import Ending, read_records
from nasproxy.studies.storage import open_storage
from nasproxy.system.files import make_folder, write_json
from nasproxy.system.machine import cores, hardware, pick_device, versions
from nasproxy.training.recipe import Recipe
from nasproxy.workers.task import Candidate, Scores

FOLDER = Path(__file__).parent / "truth"
_AT_ONCE = 4  # architectures a process, after which the CSV is written


@dataclasses.dataclass(frozen=True)
class Bed:
    """Architectures, data, and how the truth is trained.

    Attributes:
        space: as `load_space` takes it.
        data: as `load_dataset` takes it.
        recipe: of the truth.
        draw: seed of the architectures that the truth is of.
        marks: epochs after which the test accuracy is taken, too: whether the ranking has settled.
        repeated: of so many, the first of the draw, there are several trainings; None is all.
    """

    space: str
    data: str
    recipe: Recipe
    draw: int = 0
    marks: tuple[int, ...] = ()
    repeated: int | None = None


SMALL = "convnet:widths=[4,8,16]"
BEDS = {
    "convnet-cifar10": Bed(SMALL, "cifar10", Recipe(epochs=3, batch_size=64)),
    "convnet-fashion_mnist": Bed(SMALL, "fashion_mnist", Recipe(epochs=3, batch_size=64)),
    "convnet-cifar10-long": Bed(
        "convnet:widths=[8,16,32]",
        "cifar10",
        Recipe(epochs=15, batch_size=64),
        marks=(9, 12, 14),
        repeated=30,
    ),
    "residual-cifar10": Bed(
        "inverted_residual:width=8",
        "cifar10",
        # bfloat16 takes three times as long here: filters of single channels are slow in it
        Recipe(epochs=12, batch_size=128, precision="float32"),
        marks=(7, 10, 11),
        repeated=20,
    ),
    "residual-tiny": Bed(
        "inverted_residual:width=8",
        "tiny_imagenet_20",
        Recipe(epochs=30, batch_size=64, precision="float32"),
        marks=(18, 24, 27),
        repeated=20,
    ),
    "convnet720-cifar10": Bed(
        "convnet",
        "cifar10",
        # the paper's code: SGD at 0.01, a tenth from half-way, batches of 256, DSA augmentation
        Recipe(
            epochs=200, batch_size=256, lr=0.01, schedule="step", nesterov=False,
            augment="color_crop_cutout_flip_scale_rotate",
        ),
    ),
}  # fmt: skip


def measure(
    bed: str = "convnet-cifar10",
    n: int = 40,
    seeds: int = 2,
    minutes: float | None = None,
    root: str = DEFAULT_ROOT,
    out: str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    show: bool = False,
) -> None:
    """Train the first `n` architectures of the bed's draw; what is trained is not trained again.

    Args:
        bed: one of `BEDS`.
        n: architectures.
        seeds: trainings of each.
        minutes: after which to stop and write what there is; None is never.
        root: folder of the data sets.
        out: folder of the study; by default runs/truth- and the bed.
        device: auto, cpu, cuda or cuda:N.
        jobs: worker processes.
        show: train nothing, and print whether the ranking of what there is has settled.
    """
    if bed not in BEDS:
        raise UserError(f"unknown bed {bed!r}{nearest(bed, BEDS)}")
    if show:
        print(settled(list(_kept(bed, seeds).values()), BEDS[bed].marks))
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    chosen = BEDS[bed]
    folder = Path(out or f"runs/truth-{bed}")
    make_folder(folder)
    data = _data(chosen, root)
    estimator = make_estimator("full", data, chosen.recipe, device)
    assert isinstance(estimator, TrainingEstimator)
    on_test = Marked(
        **{field.name: getattr(estimator, field.name) for field in dataclasses.fields(estimator)}
        | {"validation": data.test, "name": "full, test accuracy"},
        marks=chosen.marks,
    )
    space = nasproxy.load_space(chosen.space)
    drawn = space.sample(n, chosen.draw, data.input_shape, data.num_classes)
    drawn = [a for a in drawn if a.error is None]
    rows = _kept(bed, seeds)
    left = [a for a in drawn if a.key not in rows]
    print(f"{bed}: {len(rows)} architectures are there, {len(left)} are to be trained")
    storage = open_storage(f"sqlite:///{folder / 'study.db'}")
    again = {a.key for a in drawn[: chosen.repeated]}
    jobs = jobs or cores()
    some = 1 if jobs == 1 else _AT_ONCE * jobs

    def trained(plan: list[Architecture], seed: int) -> optuna.Study:
        return nasproxy.rank(
            space, on_test, data=data, like=plan, seed=seed, study=f"{bed}-seed{seed}",
            storage=storage, device=device, jobs=jobs, progress=True,
        )  # fmt: skip

    try:
        with _stopped_after(minutes):
            for first in range(0, len(left), some):
                plan = left[first : first + some]
                repeated = [a for a in plan if a.key in again]
                studies = [trained(plan, 0)]
                studies += [trained(repeated, seed) for seed in range(1, seeds) if repeated]
                for a in plan:
                    its = studies if a in repeated else studies[:1]
                    rows[a.key] = _row(a.key, its, chosen.marks)
                in_order = [rows[a.key] for a in drawn if a.key in rows]
                _write(bed, in_order, studies[0], seeds, device)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)


def _data(bed: Bed, root: str) -> nasproxy.Dataset:
    """The data of a bed, called as the bed calls it, wherever it lies."""
    if bed.data in DATASETS:
        return nasproxy.load_dataset(bed.data, root)
    data = nasproxy.load_dataset(str(Path(root).expanduser() / bed.data))
    return dataclasses.replace(data, name=bed.data)


@dataclasses.dataclass(frozen=True)
class Marked(TrainingEstimator):
    """A training whose accuracy is taken on the way, too, as ``accuracy_e<epoch>``.

    Attributes:
        marks: the epochs, rising. The training is put aside after each and goes on from there,
            which changes nothing of it.
    """

    marks: tuple[int, ...] = ()

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        found: Scores = {}
        seconds = 0.0
        with tempfile.TemporaryDirectory() as folder:
            for epochs in (*self.marks, None):
                kept = Path(folder) / "training.safetensors"
                part = dataclasses.replace(candidate, until=epochs, checkpoint=kept)
                scores = super().__call__(part, seed)
                seconds += scores["seconds"]
                if epochs is not None:
                    found[f"accuracy_e{epochs}"] = scores["accuracy"]
        return scores | found | {"seconds": seconds}


def _settings(bed: Bed, seeds: int) -> dict[str, Any]:
    """What must be the same of all rows of a CSV."""
    more = {"marks": list(bed.marks), "repeated": bed.repeated} if bed.marks else {}
    return {"recipe": bed.recipe.to_dict(), "seeds": seeds, **more}


def _kept(bed: str, seeds: int) -> dict[str, dict[str, str]]:
    """Rows of the CSV that is there, by architecture.

    Raises:
        UserError: it was trained by another recipe, or with other seeds.
    """
    path = FOLDER / f"{bed}.csv"
    if not path.is_file():
        return {}
    about = json.loads(path.with_suffix(".json").read_text())
    wanted = _settings(BEDS[bed], seeds)
    made = {name: about.get(name) for name in wanted}
    if made != wanted:
        raise UserError(
            f"{path} was trained with {made}, now it is {wanted}; take the file away to train anew"
        )
    with path.open() as file:
        return {row["arch"]: row for row in csv.DictReader(file)}


def _write(
    bed: str, rows: list[dict[str, str]], study: optuna.Study, seeds: int, device: str
) -> None:
    """The CSV, and the JSON that says how it was trained."""
    singles = [f"test_acc_s{k + 1}" for k in range(seeds)]
    at_marks = [f"{single}_e{epoch}" for single in singles for epoch in BEDS[bed].marks]
    columns = ["arch", "test_acc", *singles, "params", "seconds", *at_marks]
    write_csv(FOLDER / f"{bed}.csv", columns, rows)
    about: dict[str, Any] = {
        "command": f"python -m benchmarks truth --bed {bed} --n {len(rows)} --seeds {seeds}",
        "architectures": len(rows),
        **{name: study.user_attrs[name] for name in ("space", "dataset", "dataset_digest")},
        **_settings(BEDS[bed], seeds),
        "hardware": hardware(pick_device(device)),
        "versions": versions(),
    }
    write_json(FOLDER / f"{bed}.json", about)
    print(f"{FOLDER.name}/{bed}.csv: {len(rows)} architectures", flush=True)


def _row(key: str, studies: Sequence[optuna.Study], marks: Sequence[int]) -> dict[str, str]:
    """An architecture's row, of one training in each study; what broke ranks last."""
    records = [r for s in studies for r in read_records(s) if r.has_result and r.key == key]
    if any(record.ending is Ending.BROKEN for record in records):
        return {"arch": key, "test_acc": "-inf"}
    found = [record.numbers for record in records]
    row = {
        "arch": key,
        "test_acc": f"{100 * fmean(a['accuracy'] for a in found):.3f}",
        "params": f"{found[0]['params']:.0f}",
        "seconds": f"{fmean(a['seconds'] for a in found):.1f}",  # of one training
    }
    for k, numbers in enumerate(found, 1):
        row[f"test_acc_s{k}"] = f"{100 * numbers['accuracy']:.2f}"
        for epoch in marks:
            row[f"test_acc_s{k}_e{epoch}"] = f"{100 * numbers[f'accuracy_e{epoch}']:.2f}"
    return row


@contextmanager
def _stopped_after(minutes: float | None) -> Iterator[None]:
    """Interrupt the block when its time is up."""

    def interrupt(signal_number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes if minutes else 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main(arguments: list[str]) -> None:
    arguments = ["--show=true" if a == "--show" else a for a in arguments]
    auto_cli(measure, args=arguments, as_positional=False)
