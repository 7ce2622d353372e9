"""What is cheap to know of the ConvNets whose truth is kept: every free score, and proxy sets.

    python -m benchmarks cheap --bed convnet-cifar10

scores all architectures of ``benchmarks/truth/<bed>.csv`` and keeps them as
``benchmarks/results/cheap-<bed>.csv``, for `benchmarks/search.py`. ``random_K`` and ``dm_K`` are
validation accuracies after 200 updates on 10 images a class, random real ones or those of
distribution matching, each K another set and other weights.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import auto_cli

import nasproxy
from benchmarks import results
from benchmarks.fidelity import FREE
from benchmarks.results import save, write_csv
from benchmarks.truth import BEDS
from benchmarks.truth import FOLDER as TRUTHS
from nasproxy.data.named import DEFAULT_ROOT
from nasproxy.errors import UserError, nearest
from nasproxy.estimators.table import read_table
from nasproxy.studies.storage import open_storage
from nasproxy.system.files import make_folder
from nasproxy.training.recipe import PROXY_RECIPE
from nasproxy.workers.local import Workers

METHODS = ("random", "dm")


def measure(
    bed: str = "convnet-cifar10",
    sets: int = 3,
    ipc: int = 10,
    steps: int = 200,
    root: str = DEFAULT_ROOT,
    out: str | None = None,
) -> None:
    """Score the architectures of a bed by everything that is cheap.

    Args:
        bed: whose truth is kept.
        sets: proxy sets of each method.
        ipc: images per class of each.
        steps: updates of 50 images.
        root: folder of the data sets.
        out: folder of the studies, where it goes on; by default runs/cheap- and the bed.
    """
    path = TRUTHS / f"{bed}.csv"
    if bed not in BEDS or not path.is_file():
        raise UserError(f"no truth of {bed!r}{nearest(bed, BEDS)}")
    folder = Path(out or f"runs/cheap-{bed}")
    make_folder(folder)
    data = nasproxy.load_dataset(BEDS[bed].data, root)
    space = nasproxy.load_space(BEDS[bed].space)
    truth = read_table(str(path), "test_acc")
    # its architectures are the first of the draw, as many as have a truth
    drawn = space.sample(len(truth.values), BEDS[bed].draw, data.input_shape, data.num_classes)
    drawn = [architecture for architecture in drawn if architecture.key in truth.values]
    storage = open_storage(f"sqlite:///{folder / 'study.db'}")
    recipe = dataclasses.replace(PROXY_RECIPE, steps=steps, read="accuracy")
    with Workers() as workers:
        studies = [
            nasproxy.rank(
                space, name, data=data, like=drawn, study=name, storage=storage, workers=workers
            )
            for name in FREE
        ]
        for seed in range(sets):
            for method in METHODS:
                proxy = nasproxy.condense(data, method, ipc=ipc, seed=seed)
                studies.append(
                    nasproxy.rank(
                        space, proxy, data=data, like=drawn, seed=seed, recipe=recipe,
                        study=f"{method}_{seed}", storage=storage, workers=workers, progress=True,
                    )
                )  # fmt: skip
    report = nasproxy.correlate(truth, studies)
    _keep(bed, report, f"python -m benchmarks cheap --bed {bed} --sets {sets}")


def _keep(bed: str, report: nasproxy.Report, command: str) -> None:
    """The scores as a CSV, how well each ranks beside it."""
    names = [ranking.study for ranking in report.rankings]
    columns = {"arch": [point["architecture"] for point in report.points]}
    columns |= {name: [f"{v:.8g}" for v in report.scores(name)] for name in names}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    write_csv(results.FOLDER / f"cheap-{bed}.csv", list(columns), rows)
    shown = [
        {
            "score": ranking.study,
            "Spearman": f"{ranking.spearman:.2f}",
            "n": ranking.n,
            "s/architecture": f"{ranking.seconds_per_architecture:.3g}",
        }
        for ranking in report.rankings
    ]
    save(f"cheap-{bed}", shown, {"command": command})


def main(arguments: Sequence[str]) -> None:
    auto_cli(measure, args=arguments, as_positional=False)
