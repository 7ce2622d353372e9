"""How well does a proxy rank, in how many seconds an architecture, beside everything that is free?

    python -m benchmarks fidelity --space nasbench201 --seed S --n N
    python -m benchmarks fidelity --space convnet --data cifar10 --seed S

On NAS-Bench-201 the truth is the published CIFAR-10 test accuracy of each cell (200 epochs, mean
over seeds), `n` cells are drawn uniformly by the seed, training-free scores see the full network,
and what is trained is a small copy. On ConvNets the truth is our own (`benchmarks/truth.py`), of
architectures drawn once for all; the seed is that of the sets and of the trainings.

Each training is read in every way (`READINGS`). A `calibrated` ranking knows the truth of some of
the architectures; its figure is of the others (`nasproxy.report.calibration.held_out`).
Everything is kept in ``--out``; run again, it goes on.
"""

import dataclasses
import inspect
import itertools
import json as json_module
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from jsonargparse import auto_cli

import nasproxy
from benchmarks import results
from benchmarks.results import save, table, write_csv
from benchmarks.truth import BEDS
from benchmarks.truth import FOLDER as TRUTHS
from nasproxy.data.named import DEFAULT_ROOT
from nasproxy.errors import UserError
from nasproxy.estimators.names import TRAINING_FREE
from nasproxy.estimators.table import read_table
from nasproxy.proxies.methods import has_option
from nasproxy.report.calibration import held_out
from nasproxy.studies.statistics import (
    bootstrap_spearman,
    finite,
    interval,
    percentile_interval,
    resample_count,
    spearman,
    top,
)
from nasproxy.studies.storage import open_storage
from nasproxy.training.recipe import FULL_RECIPE, PROXY_RECIPE, READINGS, Recipe
from nasproxy.workers.local import Workers

AZ_NAS_PARTS = ("expressivity", "progressivity", "trainability")
FREE = ("params", "flops", *(name for name in TRAINING_FREE if name not in AZ_NAS_PARTS))
EARLY = "early stopping"
SHUFFLED = "shuffled"  # the images of `random` with their labels in another order: a control
METHODS = ("random", "dm", "dm-space", EARLY)
FREE_TOGETHER = ("az_nas", "logsynflow", "naswot")
TABLE = "../shared/data/nasbench201.csv.gz"


@dataclasses.dataclass(frozen=True)
class Setting:
    """One bed: what is scored, what is trained, and what is true.

    Attributes:
        full: the space whose architectures are ranked.
        copy: the space whose networks are trained, of the same parameters.
        data: name of the data set.
        truth: table, and its columns: the truth, and two single trainings for the ceiling.
        read: the reading that stands for a training in combinations.
    """

    full: str
    copy: str
    data: str
    truth: str
    columns: tuple[str, str, str]
    read: str


def setting(space: str, data: str, nasbench: str, copy: str | None) -> Setting:
    """The bed of a space and a data set.

    Raises:
        UserError: there is none.
    """
    if space == "nasbench201" and data == "cifar10":
        names = ("cifar10_test_acc", "cifar10_test_acc_s1", "cifar10_test_acc_s2")
        return Setting(space, copy or f"{space}:C=8,N=1", data, nasbench, names, "fit_loss")
    bed = f"{space}-{data}"
    if bed not in BEDS:
        known = ", ".join(["nasbench201-cifar10", *BEDS])
        raise UserError(f"no test bed {bed}: expected --space and --data of {known}")
    names = ("test_acc", "test_acc_s1", "test_acc_s2")
    space = BEDS[bed].space
    return Setting(
        space, copy or space, BEDS[bed].data, str(TRUTHS / f"{bed}.csv"), names, "accuracy"
    )


def measure(
    space: str = "nasbench201",
    data: str = "cifar10",
    n: int = 100,
    skip: int = 0,
    seed: int = 0,
    ipc: int = 50,
    steps: int = 300,
    augment: str = PROXY_RECIPE.augment,
    image_size: int | None = None,
    seeds: int = 1,
    read: str | None = None,
    methods: tuple[str, ...] = METHODS,
    known: int = 20,
    copy: str | None = None,
    root: str = DEFAULT_ROOT,
    nasbench: str = TABLE,
    out: str | None = None,
    json: bool = False,
) -> None:
    """Rank `n` architectures in every way.

    Args:
        space: nasbench201, convnet or convnet720.
        data: cifar10, or fashion_mnist for the ConvNets.
        n: architectures; of ConvNets at most those whose truth is there.
        skip: architectures passed over first, such as those that a recipe was chosen on.
        seed: of the draw of cells, of the sets and of the trainings.
        ipc: images per class of the proxy sets.
        steps: updates of 50 images in every training, early stopping too.
        augment: groups of augmentation in the trainings on proxy sets.
        image_size: side in pixels of what every training sees, early stopping too.
        seeds: trainings of each architecture by each method; their mean is read.
        read: which of the readings stands for a training in combinations; by default fit_loss on
            cells and accuracy on ConvNets.
        methods: what makes the proxy sets, `early stopping`, and `shuffled`, which is `random` with
            labels that say nothing.
        known: architectures whose truth calibrates a ranking of the others.
        copy: space of the same parameters whose networks are trained, such as nasbench201:C=4.
        root: folder of the data sets.
        nasbench: the table of published accuracies.
        out: folder of one set of options; by default one under runs, named after them.
        json: print JSON rows instead of a table.
    """
    asked = _asked(locals())
    bed = setting(space, data, nasbench, copy)
    bed = dataclasses.replace(bed, read=read or bed.read)
    named = re.sub("[^a-z0-9.]+", "-", f"fidelity{asked}".lower()).rstrip("-")
    folder = Path(out or f"runs/{named}")
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    images = nasproxy.load_dataset(bed.data, root)
    truth, *singles = (read_table(bed.truth, column) for column in bed.columns)
    full, small = nasproxy.load_space(bed.full), nasproxy.load_space(bed.copy)
    draw = seed if bed.full == "nasbench201" else BEDS[f"{space}-{data}"].draw
    drawn = full.sample(skip + n, draw, images.input_shape, images.num_classes)[skip:]
    drawn = [architecture for architecture in drawn if architecture.key in truth.values]
    storage = open_storage(f"sqlite:///{folder / 'study.db'}")
    recipe = dataclasses.replace(
        PROXY_RECIPE, steps=steps, augment=augment, read=bed.read, image_size=image_size
    )

    with Workers() as workers:

        def ranked(name: str, where: nasproxy.Space, by: Any, how: Recipe | None = None) -> Any:
            print(name, file=sys.stderr, flush=True)
            return nasproxy.rank(
                where, by, data=images, like=drawn, seed=seed, recipe=how, study=name,
                seeds=seeds if how else 1, storage=storage, workers=workers, progress=True,
            )  # fmt: skip

        trained = []
        for method in methods:
            if method == EARLY:
                early = dataclasses.replace(recipe, augment=FULL_RECIPE.augment)
                trained.append(ranked(EARLY, small, "full", early))
                continue
            path = folder / f"{method}.safetensors"
            if not path.exists():
                make_set(images, method, ipc, seed, bed.copy).save(path)
            trained.append(ranked(method, small, nasproxy.ProxySet.load(path), recipe))
        studies = [ranked(name, full, name) for name in FREE]
    readings = [
        nasproxy.Reading(study, name) for study in trained for name in READINGS if name != bed.read
    ]
    combine = [list(FREE_TOGETHER), *([name, *FREE_TOGETHER] for name in methods)]
    combine += [["az_nas", name] for name in methods]
    if {"random", "dm-space"} <= set(methods):  # two trainings
        combine += [["random", "dm-space", *more] for more in ((), ("az_nas",), FREE_TOGETHER)]
    report = nasproxy.correlate(truth, [*studies, *trained, *readings], combine=combine, seed=seed)
    report.write(folder)
    rows = [_row(ranking) for ranking in report.rankings]
    rows += _calibrated(report, methods, known, seed)
    ceiling = nasproxy.correlate(singles[1], [singles[0], *studies[:1]], seed=seed)
    rows.append({**_row(ceiling.rankings[0], "ceiling"), "ranking": "one training"})
    differences = _differences(report, bed.read, seed)
    about = {
        "command": f"python -m benchmarks fidelity{asked}",
        "trained": bed.copy,
        "read by": bed.read,
        "differences": differences,
    }
    name = f"fidelity-{space}-{data}-seed{seed}"
    save(name, [_shown(row) for row in rows], about)
    _keep_scores(name, report)
    print(json_module.dumps(rows, allow_nan=False) if json else table([_shown(r) for r in rows]))
    if not json:
        print("", *differences, sep="\n")


def make_set(
    images: nasproxy.Dataset, method: str, ipc: int, seed: int, copy: str
) -> nasproxy.ProxySet:
    """The set of a method, for the space `copy`; `shuffled` is `random`, its labels permuted."""
    by = "random" if method == SHUFFLED else method
    space = copy if has_option(by, "space") else None
    proxy = nasproxy.condense(images, by, ipc=ipc, seed=seed, space=space, progress=True)
    if method != SHUFFLED:
        return proxy
    order = torch.randperm(len(proxy.labels), generator=torch.Generator().manual_seed(seed))
    metadata = {**proxy.metadata, "method": method}
    return dataclasses.replace(proxy, labels=proxy.labels[order], metadata=metadata)


def _asked(options: Mapping[str, Any]) -> str:
    """What decides the figures, as on a command line: these, and what isn't default."""
    always = ("space", "data", "n", "seed", "steps")
    never = ("root", "nasbench", "out", "json")
    shown = ""
    for name, parameter in inspect.signature(measure).parameters.items():
        value = options[name]
        if name in always or (name not in never and value != parameter.default):
            text = value if isinstance(value, str) else json_module.dumps(value)
            shown += f" --{name} {shlex.quote(text)}"
    return shown


def _keep_scores(name: str, report: nasproxy.Report) -> None:
    """Write ``results/<name>.csv``: of each architecture, the truth and every single score.

    It is a table as `nasproxy correlate` takes it, so that all figures can be made again; what
    broke has minus infinity.
    """
    single = [ranking.study for ranking in report.rankings if ranking.kind != "combined"]
    texts = {key: [f"{v:.8g}" for v in report.scores(key)] for key in ("truth", *single)}
    texts = {"arch": [point["architecture"] for point in report.points], **texts}
    rows = [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]
    write_csv(results.FOLDER / f"{name}.csv", list(texts), rows)


def _calibrated(
    report: nasproxy.Report, methods: Sequence[str], known: int, seed: int
) -> list[dict[str, Any]]:
    """Rows of rankings that `known` truths calibrate, without proxies and with each of them."""
    truth = report.scores("truth")
    if len(truth) < known + 10:
        return []
    rows = []
    by_name = {ranking.study: ranking for ranking in report.rankings}
    for extra in ((), *((name,) for name in methods)):
        names = [*FREE_TOGETHER, "zico", *extra]
        scores = np.stack([report.scores(name) for name in names])
        rho, samples = held_out(scores, truth, known, seed=seed)
        parts = [by_name[name].seconds_per_architecture for name in names]
        rows.append(
            {
                "ranking": f"{'+'.join(names)}, {known} truths",
                "kind": "calibrated",
                "spearman": rho,
                "spearman_ci": list(percentile_interval(samples)),
                "spearman_top20": None,
                "kendall": None,
                "n": len(truth) - known,
                "seconds_per_architecture": None if None in parts else sum(parts),
            }
        )
    return rows


def _differences(report: nasproxy.Report, read: str, seed: int) -> list[str]:
    """Pairs that matter, in words, with their paired intervals; a study's score is what is read."""

    def by(name: str, reading: str) -> str:
        return name if reading == read else f"{name}@{reading}"

    together = "+".join(FREE_TOGETHER)
    two = "random+dm-space"
    pairs = [
        ("dm-space", "random"), ("dm-space", "dm"), ("dm", "random"), ("dm-space", EARLY),
        ("random", EARLY), (SHUFFLED, "random"),
        *((by(name, "both"), by(name, reading)) for name in ("random", "dm", "dm-space")
          for reading in ("accuracy", "train_loss", "fit_loss")),
        *((by(a, "both"), by(b, "both")) for a, b in itertools.combinations(METHODS, 2)),
        *((name, free) for name in ("random", "dm-space", two)
          for free in ("params", "logsynflow", "az_nas")),
        *((f"{name}+{together}", than) for name in ("random", "dm-space", two)
          for than in ("az_nas", together)),
        (f"dm-space+{together}", f"random+{together}"),
        ("az_nas+random", "az_nas"), ("az_nas+dm-space", "az_nas"), (f"{two}+az_nas", "az_nas"),
        ("az_nas+dm-space", "az_nas+random"),
    ]  # fmt: skip
    by_name = {ranking.study: ranking for ranking in report.rankings}
    found = [
        _difference(a, b, by_name[a].difference[b])
        for a, b in dict.fromkeys(pairs)
        if a in by_name and b in by_name
    ]
    best = [(name, "az_nas") for name in ("random", "dm-space") if name in by_name]
    return found + [_among_the_best(report, a, b, seed) for a, b in best]


def _among_the_best(report: nasproxy.Report, a: str, b: str, seed: int) -> str:
    """The difference of two rankings among the best fifth by truth, which alone is resampled."""
    truth = report.scores("truth")
    index = top(truth, 0.2)
    truth, scores = truth[index], np.stack([report.scores(name)[index] for name in (a, b)])
    samples = bootstrap_spearman(truth, scores, resample_count(len(index)), seed)
    value = spearman(scores[0], truth) - spearman(scores[1], truth)
    found = {"value": finite(value), "ci": interval(samples[0] - samples[1])}
    return f"best fifth, {_difference(a, b, found)}"


def _difference(a: str, b: str, found: dict[str, Any]) -> str:
    low, high = found["ci"]
    if found["value"] is None or low is None:
        return f"{a} - {b}: not defined"
    return f"{a} - {b}: {found['value']:+.3f} [{low:+.3f}, {high:+.3f}]"


def _row(ranking: Any, kind: str | None = None) -> dict[str, Any]:
    kind = kind or ("proxy" if ranking.kind == "full" else ranking.kind)
    return {
        "ranking": ranking.study,
        "kind": kind,
        "spearman": ranking.spearman,
        "spearman_ci": list(ranking.spearman_ci),
        "spearman_top20": ranking.spearman_top20,
        "kendall": ranking.kendall,
        "n": ranking.n,
        "seconds_per_architecture": ranking.seconds_per_architecture,
    }


def _shown(row: dict[str, Any]) -> dict[str, str]:
    return {
        "ranking": row["ranking"],
        "kind": row["kind"],
        "Spearman": _number(row["spearman"], ".3f"),
        "95% interval": "[{}, {}]".format(*(_number(v, ".2f") for v in row["spearman_ci"])),
        "top 20%": _number(row["spearman_top20"], ".2f"),
        "Kendall": _number(row["kendall"], ".3f"),
        "n": str(row["n"]),
        "s/architecture": _number(row["seconds_per_architecture"], ".3g"),
    }


def _number(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)


def main(arguments: Sequence[str]) -> None:
    arguments = ["--json=true" if a == "--json" else a for a in arguments]
    auto_cli(measure, args=arguments, as_positional=False)
