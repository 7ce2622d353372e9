"""The truth of ConvNets: each trained on all training images, once for all, and kept as a CSV.

``benchmarks/truth/<bed>.csv`` has a row an architecture: mean test accuracy in percent, that of
each seed, parameters and seconds; the JSON beside it has the recipe. Two beds are of small
ConvNets, for two CPU cores; ``convnet720-cifar10`` is the paper's 720 ConvNets at the paper's
recipe, for a GPU:

    python -m benchmarks truth --bed convnet720-cifar10 --n 720 --device cuda --jobs 8 --minutes 9

may be run as often as it takes. A finished training is never done again; one that was under way
when the time was up begins anew, so that `--minutes` must be longer than the longest. The CSV holds
the first architectures of the draw, up to the first that is not finished: the largest are trained
first, and without the others they would not be a uniform draw.
"""

import csv
import dataclasses
import itertools
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from jsonargparse import auto_cli

import nasproxy
from benchmarks.results import write_csv
from nasproxy.data import DEFAULT_ROOT
from nasproxy.errors import UserError, nearest
from nasproxy.estimators import make_estimator
from nasproxy.estimators.training import TrainingEstimator
from nasproxy.files import make_folder, write_json
from nasproxy.runtime import hardware, pick_device, versions
from nasproxy.storage import open_storage
from nasproxy.study import has_result
from nasproxy.train import Recipe

FOLDER = Path(__file__).parent / "truth"


@dataclasses.dataclass(frozen=True)
class Bed:
    """Architectures, data, and how the truth is trained.

    Attributes:
        space: as `load_space` takes it.
        data: as `load_dataset` takes it.
        recipe: of the truth.
        draw: seed of the architectures that the truth is of.
    """

    space: str
    data: str
    recipe: Recipe
    draw: int = 0


SMALL = "convnet:widths=[4,8,16]"
BEDS = {
    "convnet-cifar10": Bed(SMALL, "cifar10", Recipe(epochs=3, batch_size=64)),
    "convnet-fashion_mnist": Bed(SMALL, "fashion_mnist", Recipe(epochs=3, batch_size=64)),
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
    """
    if bed not in BEDS:
        raise UserError(f"unknown bed {bed!r}{nearest(bed, BEDS)}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    chosen = BEDS[bed]
    folder = Path(out or f"runs/truth-{bed}")
    make_folder(folder)
    data = nasproxy.load_dataset(chosen.data, root)
    estimator = make_estimator("full", data, chosen.recipe, device)
    assert isinstance(estimator, TrainingEstimator)
    on_test = dataclasses.replace(estimator, validation=data.test, name="full, test accuracy")
    space = nasproxy.load_space(chosen.space)
    drawn = space.sample(n, chosen.draw, data.input_shape, data.num_classes)
    rows = _kept(bed, chosen.recipe, seeds)
    left = [a for a in drawn if a.error is None and a.key not in rows]
    print(f"{bed}: {len(rows)} architectures are there, {len(left)} are to be trained")
    if not left:
        return
    storage = open_storage(f"sqlite:///{folder / 'study.db'}")
    try:
        with _stopped_after(minutes):
            nasproxy.rank(
                space,
                on_test,
                data=data,
                like=left,
                seeds=seeds,
                study=bed,
                storage=storage,
                device=device,
                jobs=jobs,
                progress=True,
            )
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
    study = optuna.load_study(study_name=bed, storage=storage)
    rows |= _rows(study, seeds)
    buildable = [a.key for a in drawn if a.error is None]
    finished = itertools.takewhile(rows.__contains__, buildable)
    _write(bed, [rows[key] for key in finished], study, seeds, device)


def _kept(bed: str, recipe: Recipe, seeds: int) -> dict[str, dict[str, str]]:
    """Rows of the CSV that is there, by architecture.

    Raises:
        UserError: it was trained by another recipe, or with other seeds.
    """
    path = FOLDER / f"{bed}.csv"
    if not path.is_file():
        return {}
    about = json.loads(path.with_suffix(".json").read_text())
    made, wanted = (about["recipe"], about["seeds"]), (recipe.to_dict(), seeds)
    if made != wanted:
        raise UserError(
            f"{path} was trained by {made[0]} from {made[1]} seeds, now it is {wanted[0]} from "
            f"{wanted[1]}; take the file away to train anew"
        )
    with path.open() as file:
        return {row["arch"]: row for row in csv.DictReader(file)}


def _rows(study: optuna.Study, seeds: int) -> dict[str, dict[str, str]]:
    """Rows of what a study has trained; what broke ranks last."""
    rows = {}
    for trial in study.get_trials(deepcopy=False):
        if has_result(trial):
            key = trial.user_attrs["architecture"]
            broken = "broken" in trial.user_attrs
            rows[key] = {"arch": key} | ({"test_acc": "-inf"} if broken else _row(trial, seeds))
    return rows


def _write(
    bed: str, rows: list[dict[str, str]], study: optuna.Study, seeds: int, device: str
) -> None:
    """The CSV, and the JSON that says how it was trained."""
    singles = [f"test_acc_s{k + 1}" for k in range(seeds)]
    columns = ["arch", "test_acc", *singles, "params", "seconds"]
    write_csv(FOLDER / f"{bed}.csv", columns, rows)
    about: dict[str, Any] = {
        "command": f"python -m benchmarks truth --bed {bed} --n {len(rows)} --seeds {seeds}",
        "architectures": len(rows),
        "seeds": seeds,
        **{name: study.user_attrs[name] for name in ("space", "dataset", "dataset_digest")},
        "recipe": json.loads(study.user_attrs["recipe"]),
        "hardware": hardware(pick_device(device)),
        "versions": versions(),
    }
    write_json(FOLDER / f"{bed}.json", about)
    print(f"{FOLDER.name}/{bed}.csv: {len(rows)} architectures")


def _row(trial: optuna.trial.FrozenTrial, seeds: int) -> dict[str, str]:
    found = trial.user_attrs
    singles = [found[f"score_seed{k}"] for k in range(seeds)] if seeds > 1 else [trial.value]
    accuracies = {f"test_acc_s{k + 1}": f"{100 * s:.2f}" for k, s in enumerate(singles)}
    return {
        "test_acc": f"{100 * (trial.value or 0.0):.3f}",
        **accuracies,
        "params": f"{found['params']:.0f}",
        "seconds": f"{found['seconds']:.1f}",  # of one training
    }


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
    auto_cli(measure, args=arguments, as_positional=False)
