"""The whole job: condense, rank, train the truth, report, and name the best architecture."""

import shutil
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from nasproxy.attach import attach
from nasproxy.cluster import open_workers
from nasproxy.condense import condense, has_option, method_options
from nasproxy.condense.kept import kept_beside
from nasproxy.dashboard import pictures_of
from nasproxy.data import DEFAULT_ROOT, Dataset, load_dataset
from nasproxy.errors import UserError
from nasproxy.estimators import TrainingEstimator, make_estimator, proxy_name
from nasproxy.estimators.base import Candidate
from nasproxy.files import make_folder
from nasproxy.network import describe_network, save_network
from nasproxy.progress import logged_to, progress, say
from nasproxy.proxy import ProxySet
from nasproxy.report import Report, correlate
from nasproxy.runtime import check_seed, pick_device, threads
from nasproxy.spaces import Architecture, Space, load_space
from nasproxy.spec import command_line
from nasproxy.storage import open_storage, study_names
from nasproxy.study import architecture_of, rank, scored
from nasproxy.train import FULL_RECIPE, PROXY_RECIPE, Recipe, evaluate_network
from nasproxy.workers import check_limits


@dataclass(frozen=True)
class RunOptions:
    """Options of `run`.

    Attributes:
        data: a data set's name, a folder with one folder of images a class, or an .npz file.
        space: a search space's name, file or module.
        method: how to condense.
        ipc: images per class of the condensed and of the random set.
        steps: of condensing; by default the method's own.
        trials: architectures drawn uniformly, 3 or more.
        search: architectures that TPE adds on the condensed set.
        max_params: larger architectures are turned away.
        max_flops: likewise, in multiply-accumulates of one image.
        confirm: of the best on the condensed set, how many are trained on the full data.
        seeds: trainings of each architecture on each set.
        seed: of everything.
        proxy: how to train on the condensed and the random set; left as it is, a space's own
            `proxy_recipe` takes its place.
        full: how to train on the full data.
        device: auto, cpu, cuda or cuda:N.
        jobs: worker processes; by default one a core, or one a GPU.
        scheduler: address of a Dask scheduler, such as tcp://host:8786, whose workers take the
            place of local ones. It is to be trusted like code.
        trial_timeout: seconds after which a training is given up, and recorded as broken.
        out: folder for everything that is made; by default runs/ and the data set's name.
        root: folder of the data sets that torchvision downloads.
        fresh: delete what an earlier run left in `out` and start over.
        quiet: show no progress.
    """

    data: str = "digits"
    space: str = "convnet_small"
    method: str = "dm"
    ipc: int = 10
    steps: int | None = None
    trials: int = 40
    search: int = 0
    max_params: float | None = None
    max_flops: float | None = None
    confirm: int = 5
    seeds: int = 1
    seed: int = 0
    proxy: Recipe = PROXY_RECIPE
    full: Recipe = FULL_RECIPE
    device: str = "auto"
    jobs: int | None = None
    scheduler: str | None = None
    trial_timeout: float | None = None
    out: str | None = None
    root: str = DEFAULT_ROOT
    fresh: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        for name, least in (("trials", 3), ("search", 0), ("confirm", 1), ("seeds", 1)):
            if getattr(self, name) < least:
                raise UserError(f"expected {name} of {least} or more, got {getattr(self, name)}")
        check_limits(self.jobs, self.trial_timeout)
        check_seed(self.seed)
        method_options(self.method, ipc=self.ipc, steps=self.steps, seed=self.seed)

    @property
    def folder(self) -> Path:
        """Where everything is kept."""
        return Path(self.out) if self.out else Path("runs") / Path(self.data).stem


@dataclass(frozen=True)
class RunResult:
    """What `run` leaves.

    Attributes:
        report: of the proxies against full-data training.
        best: the best architecture on the full data: ``architecture``, ``params``,
            ``validation_accuracy``, ``test_accuracy``, ``proxy_rank`` (1 is first), ``weights``.
        folder: where everything is.
    """

    report: Report
    best: dict[str, Any]
    folder: Path

    def to_dict(self) -> dict[str, Any]:
        """What ``report.json`` holds."""
        return {**self.report.to_dict(), "best": self.best, "out": str(self.folder)}

    def __str__(self) -> str:
        best = self.best
        weights = best["weights"]
        return "\n".join(
            [
                str(self.report),
                "",
                f"Best of {best['candidates']} trained on the full data: {best['architecture']}, "
                f"number {best['proxy_rank']} of {best['ranked']} on {best['proxy']}.",
                f"Validation accuracy {100 * best['validation_accuracy']:.1f}%, "
                f"test accuracy {100 * best['test_accuracy']:.1f}%.",
                "",
                f"Everything is in {self.folder}/: open report.html, or look into every trial with",
                f"    nasproxy dashboard --storage {self.folder}",
                "Rebuild the trained network with",
                f"    network = nasproxy.load_network({weights!r})",
            ]
        )


def run(options: RunOptions = RunOptions()) -> RunResult:
    """Condense, rank, train the truth, report; go on where an earlier run stopped.

    Raises:
        UserError: an option is off, or `out` holds a run with other options.
    """
    pick_device(options.device)
    data = load_dataset(options.data, options.root)
    space = replace(
        load_space(options.space), max_params=options.max_params, max_macs=options.max_flops
    )
    uniform = space.sample(options.trials, options.seed, data.input_shape, data.num_classes)
    folder = options.folder
    make_folder(folder)
    if options.fresh:  # after what may be refused
        _clear(folder)
    with logged_to(folder / "run.log"):
        return _run(options, data, space, uniform)


def _run(
    options: RunOptions, data: Dataset, space: Space, uniform: list[Architecture]
) -> RunResult:
    folder = options.folder
    tell = _Narrator(quiet=options.quiet)
    steps = 5 + 2 * (options.method != "random") + bool(options.search)
    outer = progress(f"nasproxy run on {data.name}", steps, show=not options.quiet)
    tell(
        f"{data.name}: {len(data.train)} training images {data.input_shape}, "
        f"{data.num_classes} classes; {options.trials} architectures of {space.name}"
    )
    main = _proxy(options, data, options.method, folder / "proxy.safetensors", tell)
    outer.update()
    beside = [main]
    if options.method != "random":
        beside.append(_proxy(options, data, "random", folder / "random.safetensors", tell))
        outer.update()
    storage = open_storage(f"sqlite:///{folder / 'study.db'}")
    with open_workers(
        options.jobs, options.device, options.trial_timeout, options.scheduler
    ) as workers:

        def ranked(by: Any, name: str, **more: Any) -> optuna.Study:
            # left at its default, `rank` asks the space for its own
            of_proxies = None if options.proxy == PROXY_RECIPE else options.proxy
            recipe = options.full if by == "full" else of_proxies
            before = len(_finished(storage, name))
            study = rank(
                space,
                by,
                data=data,
                seeds=options.seeds,
                seed=options.seed,
                recipe=None if by == "params" else recipe,
                study=name,
                storage=storage,
                workers=workers,
                device=options.device,
                progress=not options.quiet,
                **more,
            )
            now = len(scored(study))
            again = f", {before} of them before" if before else ""
            tell(f"{name}: {now} architectures scored{again}")
            outer.update()
            return study

        studies = [ranked(proxy, proxy_name(proxy), like=uniform) for proxy in beside]
        studies.append(ranked("params", "params", like=uniform))
        truth = ranked("full", "full", like=uniform)
        if options.search:
            total = sum(a.error is None for a in uniform) + options.search
            ranked(main, proxy_name(main), sampler="tpe", trials=total)
        ranked("full", "full", like=_leaders(studies[0], options.confirm))
    report = correlate(truth, studies, seed=options.seed)
    best = _best(options, data, space, studies[0], truth)
    pictures = {
        f"The {set_.metadata['method']} set": pictures_of(study).get("proxy set")
        or set_.picture(data=data)
        for set_, study in zip(beside, studies)
    }
    command = command_line("run", options)
    report.write(folder, {"best": best, "out": str(folder)}, pictures, command)
    attach(report, storage)
    outer.close()
    return RunResult(report, best, folder)


class _Narrator:
    """Says on stderr what has been done, and what an earlier run had done."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.start = time.monotonic()

    def __call__(self, text: str) -> None:
        say(f"[{time.monotonic() - self.start:5.0f} s] {text}", show=not self.quiet)


_MADE = (
    *("proxy.safetensors", "proxy.json", "proxy.png", kept_beside(Path("proxy")).name),
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


def _proxy(
    options: RunOptions, data: Dataset, method: str, path: Path, tell: _Narrator
) -> ProxySet:
    """Make a proxy set and its picture, or take the one that is there."""
    steps = options.steps if method == options.method else None
    space = options.space if has_option(method, "space") else None
    wanted = method_options(method, ipc=options.ipc, steps=steps, seed=options.seed, space=space)
    if path.exists():
        found = ProxySet.load(path)
        made = found.metadata
        found.check_fits(data)
        if (made["method"], made["options"]) != (method, asdict(wanted)):
            raise UserError(
                f"{path} was made by {made['method']} {made['options']}, now {method} "
                f"{asdict(wanted)} is asked for; use --fresh, or another --out"
            )
        tell(f"{path} is there: not made again")
        return found
    proxy = condense(
        data,
        method,
        device=options.device,
        progress=not options.quiet,
        checkpoint=kept_beside(path),
        **asdict(wanted),
    )
    proxy.preview(path.with_suffix(".png"), data=data)
    proxy.save(path)  # last: where it is, all is there
    tell(f"made {path}: {len(proxy)} images in {proxy.seconds:.1f} s")
    return proxy


def _finished(storage: optuna.storages.BaseStorage, name: str) -> list[FrozenTrial]:
    """Scored trials of a study that may not be there yet."""
    if name not in study_names(storage):
        return []
    return scored(optuna.load_study(study_name=name, storage=storage))


def _leaders(study: optuna.Study, count: int) -> list[Architecture]:
    """The best `count` architectures of a study, best first."""
    return [architecture_of(trial) for trial in _ranked(study)[:count]]


def _ranked(study: optuna.Study) -> list[FrozenTrial]:
    """Scored trials, best first; ties go to the lower validation loss, then the smaller."""

    def order(trial: FrozenTrial) -> tuple[float, float, float]:
        attributes = trial.user_attrs
        return -(trial.value or 0), attributes.get("loss", 0.0), attributes.get("params", 0.0)

    ranked = {architecture_of(trial).key: trial for trial in sorted(scored(study), key=order)}
    return list(ranked.values())  # one that was drawn twice is there once


def _best(
    options: RunOptions, data: Dataset, space: Space, proxy: optuna.Study, truth: optuna.Study
) -> dict[str, Any]:
    """The best on the full data: its weights on disk, and its one look at the test images."""
    candidates = _ranked(truth)
    winner = architecture_of(candidates[0])
    order = [trial.user_attrs["architecture"] for trial in _ranked(proxy)]
    path = options.folder / "best.safetensors"
    recipe = options.full.to_dict()
    same: dict[str, Any] = {
        "architecture": winner.key,
        "space_sha256": space.sha256,
        "recipe": recipe,
    }
    same |= {"dataset_digest": data.digest, "seed": options.seed}
    about = describe_network(path) if path.exists() else {}
    if any(about.get(key) != value for key, value in same.items()):
        estimator = make_estimator("full", data, options.full, options.device)
        assert isinstance(estimator, TrainingEstimator)
        shape, classes = estimator.input_shape, data.num_classes
        with threads(1):  # as the workers do: the very network that was ranked
            build = partial(space.build, winner.params, shape, classes)
            network = estimator.fit(Candidate(winner.key, build), options.seed).network
            test = evaluate_network(network.cpu(), data.test, estimator.prepare)
        about = {
            **same,
            "mean": list(data.normalisation.mean),
            "std": list(data.normalisation.std),
            "class_names": list(data.class_names),
            "test_accuracy": test.accuracy,
        }
        save_network(path, network, space, winner.params, shape, classes, **about)
    return {
        "architecture": winner.key,
        "params": winner.params,
        "validation_accuracy": candidates[0].user_attrs["accuracy"],
        "test_accuracy": about["test_accuracy"],
        "candidates": len(candidates),
        "proxy": proxy.study_name,
        "proxy_rank": order.index(winner.key) + 1 if winner.key in order else None,
        "ranked": len(order),
        "weights": str(path),
    }
