"""The whole job: condense, rank, train the truth, report, and name the best architecture."""

import inspect
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from nasproxy.data.dataset import Dataset, as_dataset
from nasproxy.data.named import DEFAULT_ROOT
from nasproxy.errors import UserError
from nasproxy.estimators.making import (
    TrainingEstimator,
    make_estimator,
    proxy_name,
    proxy_recipe,
)
from nasproxy.estimators.winner import keep_winner
from nasproxy.proxies.checkpoint import checkpoint_beside
from nasproxy.proxies.methods import condense, has_option, method_options
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.report.dashboard import attach
from nasproxy.report.report import Report, correlate
from nasproxy.searches.pool import Pool
from nasproxy.searches.replay import Needed, trainings_needed
from nasproxy.searches.surrogate import Kind
from nasproxy.spaces.space import Architecture, Space, as_space
from nasproxy.studies.dashboard import pictures_of
from nasproxy.studies.identity import study_names
from nasproxy.studies.rank import rank
from nasproxy.studies.record import Record, scored
from nasproxy.studies.storage import open_storage
from nasproxy.system.files import make_folder, runs_folder
from nasproxy.system.machine import check_seed, pick_device
from nasproxy.system.progress import logged_to, progress, say
from nasproxy.system.spelling import command_line
from nasproxy.training.recipe import FULL_RECIPE, Recipe
from nasproxy.workers.dask import open_workers
from nasproxy.workers.local import Workers, check_limits


@dataclass(frozen=True)
class RunResult:
    """What `run` leaves.

    Attributes:
        report: of the proxies against full-data training.
        best: the best architecture on the full data: ``architecture``, ``params``,
            ``proxy_rank`` (1 is first), and of the network in ``weights`` ``validation_accuracy``
            and ``test_accuracy``. Where there are several seeds it is the first of the trainings
            whose mean, ``mean_validation_accuracy``, is the best.
        folder: where everything is.
        search: full trainings that `search` and random search would have needed; None where
            nothing was to be found.
    """

    report: Report
    best: dict[str, Any]
    folder: Path
    search: Needed | None = None

    def to_dict(self) -> dict[str, Any]:
        """What ``report.json`` holds."""
        return {**self.report.to_dict(), **self.beside_the_report}

    @property
    def beside_the_report(self) -> dict[str, Any]:
        """JSON values: ``best``, ``search`` and ``out``."""
        search = None if self.search is None else asdict(self.search)
        return {"best": self.best, "search": search, "out": str(self.folder)}

    def __str__(self) -> str:
        best = self.best
        weights, several = best["weights"], best["seeds"] > 1
        mean = 100 * best["mean_validation_accuracy"]
        return "\n".join(
            [
                str(self.report),
                "",
                f"Best of {best['candidates']} trained on the full data: {best['architecture']}, "
                f"number {best['proxy_rank']} of {best['ranked']} on {best['proxy']}.",
                f"Validation accuracy {100 * best['validation_accuracy']:.1f}%, "
                f"test accuracy {100 * best['test_accuracy']:.1f}%"
                + (f" ({best['seeds']} trainings: {mean:.1f}% on the mean)." if several else "."),
                *([] if self.search is None else [str(self.search)]),
                "",
                f"Everything is in {self.folder}/: open report.html, or look into every trial with",
                f"    nasproxy dashboard --storage {self.folder}",
                "Rebuild the trained network with",
                f"    network = nasproxy.load_network({weights!r})",
            ]
        )


def run(
    data: "Dataset | str | RunOptions" = "digits",
    space: Space | str = "convnet_small",
    *,
    method: str = "dm",
    ipc: int = 10,
    steps: int | None = None,
    trials: int = 40,
    truth: int | None = None,
    search: int = 0,
    max_params: float | None = None,
    max_flops: float | None = None,
    confirm: int = 5,
    seeds: int = 1,
    seed: int = 0,
    proxy: Recipe | Mapping[str, Any] | None = None,
    full: Recipe = FULL_RECIPE,
    device: str = "auto",
    jobs: int | None = None,
    scheduler: str | None = None,
    trial_timeout: float | None = None,
    out: str | None = None,
    root: str = DEFAULT_ROOT,
    image_size: int | None = None,
    flip: bool | None = None,
    splits: bool = True,
    accept_space: bool = False,
    fresh: bool = False,
    quiet: bool = False,
) -> RunResult:
    """Condense, rank, train the truth, report; go on where an earlier run stopped.

    Args:
        data: a data set's name, a folder with one folder of images a class, or an .npz file.
        space: a search space's name, file or module.
        method: how to condense.
        ipc: images per class of the condensed and of the random set.
        steps: of condensing; by default the method's own.
        trials: architectures drawn uniformly, 3 or more.
        truth: how many of them are trained on the full data, 3 or more; by default all.
        search: architectures that TPE adds on the condensed set.
        max_params: larger architectures are turned away.
        max_flops: likewise, in multiply-accumulates of one image.
        confirm: of the best on the condensed set, how many are trained on the full data.
        seeds: trainings of each architecture on each set.
        seed: of everything.
        proxy: how to train on the condensed and the random set; what is not said is as in the
            space's `proxy_recipe`, or else as usual on such sets.
        full: how to train on the full data.
        device: auto, cpu, cuda or cuda:N.
        jobs: worker processes; by default one a core, or one a GPU.
        scheduler: address of a Dask scheduler, such as tcp://host:8786, whose workers take the
            place of local ones. It is to be trusted like code.
        trial_timeout: seconds after which a training is given up, and recorded as broken.
        out: folder for everything that is made; by default runs/DATA-SPACE.
        root: folder of the data sets that torchvision downloads.
        image_size: side in pixels to which image files are brought; by default their own.
        flip: whether a mirror image keeps its class; by default the data set's name decides.
        splits: whether folders named like train, val and test are splits, and no classes.
        accept_space: go on with studies although the code of the space has changed, because it
            builds the same networks; they say so, and are then of both.
        fresh: delete what an earlier run left in `out` and start over.
        quiet: show no progress.

    Raises:
        UserError: an option is off, or `out` holds a run with other options.
    """
    options = data if isinstance(data, RunOptions) else RunOptions(**locals())
    _check(options)
    job = _job(options)
    shape, classes = job.data.input_shape, job.data.num_classes
    uniform = job.space.sample(options.trials, options.seed, shape, classes)
    make_folder(job.folder)
    if options.fresh:  # after what may be refused
        _clear(job.folder)
    with logged_to(job.folder / "run.log"):
        return _do(job, uniform)


_Options: Any = make_dataclass(
    "_Options",
    [(p.name, p.annotation, p.default) for p in inspect.signature(run).parameters.values()],
    frozen=True,
)


class RunOptions(_Options):
    """The options of `run` in one object: ``run(RunOptions(ipc=50))``."""


def _check(options: RunOptions) -> None:
    for name, least in (("trials", 3), ("truth", 3), ("search", 0), ("confirm", 1), ("seeds", 1)):
        given = getattr(options, name)
        if given is not None and given < least:
            raise UserError(f"expected {name} of {least} or more, got {given}")
    check_limits(options.jobs, options.trial_timeout)
    check_seed(options.seed)
    method_options(options.method, ipc=options.ipc, steps=options.steps, seed=options.seed)
    pick_device(options.device)


@dataclass(frozen=True)
class _Job:
    """What a run works on; `recipe` is that of trainings on proxy sets."""

    options: RunOptions
    data: Dataset
    space: Space
    recipe: Recipe
    folder: Path
    start: float  # time.monotonic()

    def say(self, text: str) -> None:
        """Say on stderr what has been done, or what an earlier run had done."""
        seconds = time.monotonic() - self.start
        say(f"[{seconds:5.0f} s] {text}", show=not self.options.quiet)


def _job(options: RunOptions) -> _Job:
    """Load what the options name."""
    how = options.root, options.image_size, options.flip, options.splits
    data = as_dataset(options.data, *how)
    space = as_space(options.space, options.max_params, options.max_flops)
    recipe = options.proxy
    if not isinstance(recipe, Recipe):
        try:
            recipe = replace(proxy_recipe(space, data), **(recipe or {}))
        except TypeError as error:
            raise UserError(f"proxy {options.proxy!r}: {error}") from None
    folder = Path(options.out or runs_folder(data.name, space.name))
    return _Job(options, data, space, recipe, folder, time.monotonic())


def _do(job: _Job, uniform: list[Architecture]) -> RunResult:
    options, data = job.options, job.data
    steps = 5 + 2 * (options.method != "random") + bool(options.search)
    bar = progress(f"nasproxy run on {data.name}", steps, show=not options.quiet)
    job.say(
        f"{data.name}: {len(data.train)} training images {data.input_shape}, "
        f"{data.num_classes} classes; {options.trials} architectures of {job.space.name}"
    )
    sets: list[ProxySet] = []
    for method in dict.fromkeys((options.method, "random")):
        sets.append(_proxy_set(job, method, "random" if sets else "proxy"))
        bar.update()
    storage = open_storage(f"sqlite:///{job.folder / 'study.db'}")
    with open_workers(
        options.jobs, options.device, options.trial_timeout, options.scheduler
    ) as workers:

        def ranking(by: ProxySet | str, recipe: Recipe | None, **which: Any) -> optuna.Study:
            study = _ranking(job, by, recipe, storage=storage, workers=workers, **which)
            bar.update()
            return study

        studies = [ranking(one, job.recipe, like=uniform) for one in sets]
        studies.append(ranking("params", None, like=uniform))
        known = _first(uniform, options.truth)
        truth = ranking("full", options.full, like=known)
        if options.search:
            total = sum(a.error is None for a in uniform) + options.search
            ranking(sets[0], job.recipe, sampler="tpe", trials=total)
        leaders = [record.architecture() for record in _ranked(studies[0])[: options.confirm]]
        keys = {architecture.key for architecture in known}
        # those beyond the truth are no fair draw of it
        chosen = [a if a.key in keys else replace(a, drawn="confirm") for a in leaders]
        ranking("full", options.full, like=chosen)
    report = correlate(truth, studies, seed=options.seed)
    best = _best(job, studies[0], truth)
    needed = _needed(known, studies, truth)
    pictures = {
        f"The {one.provenance.method} set": pictures_of(study).get("proxy set")
        or one.picture(data=data)
        for one, study in zip(sets, studies)
    }
    result = RunResult(report, best, job.folder, needed)
    report.write(job.folder, result.beside_the_report, pictures, _command(job))
    attach(report, storage)
    bar.close()
    return result


def _first(drawn: list[Architecture], count: int | None) -> list[Architecture]:
    """The first `count` of a draw that can be built: a uniform draw too; all of them for None."""
    buildable = [architecture for architecture in drawn if architecture.error is None]
    return drawn if count is None else buildable[:count]


def _needed(
    known: list[Architecture], studies: list[optuna.Study], truth: optuna.Study
) -> Needed | None:
    """What a search by the rankings would have needed for the best of those trained."""
    values = {record.key: record.score for record in scored(truth)}
    pool = Pool(tuple(a for a in known if a.error is None and a.key in values))
    for study in studies:
        scores = {record.key: record.score for record in scored(study)}
        found = [scores.get(a.key) for a in pool.architectures]
        kind: Kind = "free" if study.user_attrs.get("kind") == "free" else "proxy"
        pool.add(study.study_name, kind, np.array([-np.inf if s is None else s for s in found]))
    return trainings_needed(pool, [values[a.key] or 0.0 for a in pool.architectures])


def _command(job: _Job) -> str:
    """What makes the report again."""
    defaults = {p.name: p.default for p in inspect.signature(run).parameters.values()}
    given = {name: getattr(job.options, name) for name in defaults}
    given |= {"data": job.data.name, "space": job.space.name}
    return command_line("run", given, defaults)


_MADE = (
    *("proxy.safetensors", "proxy.json", "proxy.png", checkpoint_beside(Path("proxy")).name),
    *("random.safetensors", "random.json", "random.png"),
    *("study.db", "study.db-wal", "study.db-shm"),
    *("report.json", "report.md", "report.html", "run.log"),
    *("spearman.png", "scores.png", "cost.png", "choices.png", "regret.png"),
    "best.safetensors",
)


def _clear(folder: Path) -> None:
    """Delete what `run` makes, and nothing else that may lie there."""
    for name in _MADE:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "study.db.artifacts", ignore_errors=True)


def _proxy_set(job: _Job, method: str, name: str) -> ProxySet:
    """Make a proxy set and its picture, or take the one that is there."""
    options, path = job.options, job.folder / f"{name}.safetensors"
    steps = options.steps if method == options.method else None
    space = job.space.name if has_option(method, "space") else None
    wanted = asdict(
        method_options(method, ipc=options.ipc, steps=steps, seed=options.seed, space=space)
    )
    if path.exists():
        proxy = ProxySet.load(path)
        proxy.check_fits(job.data)
        made = proxy.provenance.method, proxy.provenance.options
        if made != (method, wanted):
            raise UserError(
                f"{path} was made by {made[0]} {made[1]}, now {method} {wanted} is asked for; "
                "use --fresh, or another --out"
            )
        job.say(f"{path} is there: not made again")
        return proxy
    proxy = condense(
        job.data,
        method,
        device=options.device,
        progress=not options.quiet,
        checkpoint=checkpoint_beside(path),
        **wanted,
    )
    proxy.preview(path.with_suffix(".png"), data=job.data)
    proxy.save(path)  # last: where it is, all is there
    job.say(f"made {path}: {len(proxy)} images in {proxy.seconds:.1f} s")
    return proxy


def _ranking(
    job: _Job,
    by: ProxySet | str,
    recipe: Recipe | None,
    *,
    storage: optuna.storages.BaseStorage,
    workers: Workers,
    **which: Any,
) -> optuna.Study:
    """A study of the architectures that `which` tells `rank`, and how many are new."""
    options = job.options
    name = by if isinstance(by, str) else proxy_name(by)
    there = name in study_names(storage)
    before = len(scored(optuna.load_study(study_name=name, storage=storage))) if there else 0
    study = rank(
        job.space,
        by,
        data=job.data,
        seeds=options.seeds,
        seed=options.seed,
        recipe=recipe,
        study=name,
        storage=storage,
        workers=workers,
        device=options.device,
        accept_space=options.accept_space,
        progress=not options.quiet,
        **which,
    )
    again = f", {before} of them before" if before else ""
    job.say(f"{name}: {len(scored(study))} architectures scored{again}")
    return study


def _ranked(study: optuna.Study) -> list[Record]:
    """Scored trials, best first; ties go to the lower validation loss, then the smaller."""

    def order(record: Record) -> tuple[float, float, float]:
        numbers = record.numbers
        return -(record.score or 0), numbers.get("loss", 0.0), numbers.get("params", 0.0)

    ranked = {record.key: record for record in sorted(scored(study), key=order)}
    return list(ranked.values())  # one that was drawn twice is there once


def _best(job: _Job, proxy: optuna.Study, truth: optuna.Study) -> dict[str, Any]:
    """The best on the full data: its weights on disk, and its one look at the test images."""
    candidates = _ranked(truth)
    winner = candidates[0].architecture()
    order = [record.key for record in _ranked(proxy)]
    path, options = job.folder / "best.safetensors", job.options
    estimator = make_estimator("full", job.data, options.full, options.device)
    assert isinstance(estimator, TrainingEstimator)
    about = keep_winner(path, job.space, winner, estimator, job.data, options.seed)
    return {
        "architecture": winner.key,
        "params": winner.choices,
        "seeds": options.seeds,
        "mean_validation_accuracy": candidates[0].numbers["accuracy"],
        "validation_accuracy": about["validation_accuracy"],
        "test_accuracy": about["test_accuracy"],
        "candidates": len(candidates),
        "proxy": proxy.study_name,
        "proxy_rank": order.index(winner.key) + 1 if winner.key in order else None,
        "ranked": len(order),
        "weights": str(path),
    }
