"""The command line: one short handler a command, each calling the Python function of its name."""

import _thread
import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonargparse
import optuna
import yaml

from nasproxy.attach import attach
from nasproxy.calibration import calibrate
from nasproxy.comparison import Comparable, Reading, scores_among
from nasproxy.condense import METHODS, condense, method_options
from nasproxy.condense.kept import kept_beside
from nasproxy.dashboard import pictures_of, serve
from nasproxy.data import DATASETS, DEFAULT_ROOT, Dataset, load_dataset
from nasproxy.errors import UserError, one_line, reason
from nasproxy.estimators import ESTIMATORS
from nasproxy.estimators.table import TableEstimator, read_table, split_table
from nasproxy.evaluate import evaluate
from nasproxy.files import make_folder
from nasproxy.foreign import import_proxy
from nasproxy.progress import logged_to
from nasproxy.proxy import ProxySet
from nasproxy.report import Report, correlate
from nasproxy.run import RunOptions, run
from nasproxy.spaces import copy_space, load_space, space_names
from nasproxy.spec import command_line
from nasproxy.storage import (
    DEFAULT_STORAGE,
    STORAGE_ERRORS,
    hide_password,
    load_study,
    open_storage,
    storage_failure,
    study_names,
    without_passwords,
)
from nasproxy.study import rank, scored
from nasproxy.train import PROXY_RECIPE, Recipe

EXIT_INTERNAL = 1  # our own mistake
EXIT_ERROR = 2  # bad input
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class CondenseCommand:
    """Make a proxy set, and a picture of it.

    Attributes:
        data: a data set's name, a folder with one folder of images a class, or an .npz file.
        method: how; `nasproxy list methods` names them. Options left out are the method's own.
        out: file to write; its picture has the ending .png.
        ipc: images per class.
        seed: of every random choice.
        steps: updates of the images (dm: 300, dm-paper: 20000, dm-space: 120).
        real_batch: real images per class and step (dm: 64, dm-paper: 256).
        image_lr: learning rate of the images (dm: by ipc and size, dm-paper: 1, or 10 above 50);
            dm-space: how far the first update moves them, in standard deviations (0.06).
        momentum: of the images (0.5).
        width: channels of the embedding ConvNet (dm: 64, dm-paper: 128).
        depth: blocks of the embedding ConvNet (as many as end at about 4x4).
        augment: groups of augmentation such as color_crop_cutout, or none.
        precision: of the embedding's convolutions: float32, bfloat16, or auto for the faster.
        epochs: for which the ConvNet of herding and k-center is trained first (2).
        space: search space whose networks dm-space matches on (convnet_small).
        scheduler: address of a Dask scheduler, such as tcp://host:8786, whose workers make a class
            each at a time (dm, dm-paper). It is to be trusted like code.
        device: auto, cpu, cuda or cuda:N.
        root: folder of the data sets that torchvision downloads.
        quiet: show no progress.
        log: file to which progress is appended, every ten seconds.
    """

    data: str = "digits"
    method: str = "dm"
    out: str = "proxy.safetensors"
    ipc: int | None = None
    seed: int | None = None
    steps: int | None = None
    real_batch: int | None = None
    image_lr: float | None = None
    momentum: float | None = None
    width: int | None = None
    depth: int | None = None
    augment: str | None = None
    precision: str | None = None
    epochs: int | None = None
    space: str | None = None
    scheduler: str | None = None
    device: str = "auto"
    root: str = DEFAULT_ROOT
    quiet: bool = False
    log: str | None = None


def condense_command(options: CondenseCommand) -> "Answer":
    common = ("data", "method", "out", "scheduler", "device", "root", "quiet", "log")
    of_method = {k: v for k, v in dataclasses.asdict(options).items() if k not in common}
    method_options(options.method, **of_method)
    data = load_dataset(options.data, options.root)
    path = _proxy_path(options.out)
    proxy = condense(
        data,
        options.method,
        device=options.device,
        progress=not options.quiet,
        checkpoint=kept_beside(path),
        scheduler=options.scheduler,
        **of_method,
    )
    return _saved(proxy, data, path)


def _proxy_path(out: str) -> Path:
    path = Path(out)
    if path.suffix != ".safetensors":
        raise UserError(f"expected --out to end in .safetensors, got {out}")
    make_folder(path.parent)
    return path


def _saved(proxy: ProxySet, data: Dataset, path: Path) -> "Answer":
    """Save a set and its picture."""
    proxy.save(path)
    picture = path.with_suffix(".png")
    proxy.preview(picture, data=data)
    made = {"out": str(path), "preview": str(picture), "images": len(proxy)}
    made |= {"seconds": proxy.seconds, "digest": proxy.digest, **proxy.metadata}
    cost = "" if proxy.seconds is None else f" in {proxy.seconds:.1f} s"
    return Answer(made, f"{path}: {len(proxy)} images{cost}; see {picture}")


@dataclass(frozen=True)
class ImportCommand:
    """Take a proxy set that another program made.

    Attributes:
        path: .npz or .safetensors file with arrays images and labels, and perhaps mean and std.
        data: the data set that it stands for.
        out: file to write.
        index: which of several sets, from 0.
        root: folder of the data sets that torchvision downloads.
    """

    path: str
    data: str = "cifar10"
    out: str = "proxy.safetensors"
    index: int = 0
    root: str = DEFAULT_ROOT


def import_command(options: ImportCommand) -> "Answer":
    data = load_dataset(options.data, options.root)
    proxy = import_proxy(options.path, data, options.index)
    return _saved(proxy, data, _proxy_path(options.out))


@dataclass(frozen=True)
class EvaluateCommand:
    """Train ConvNets on a proxy set and on as many random real images, and test both.

    Attributes:
        proxy: file of the proxy set.
        data: the data set that it was made from.
        networks: trained on each, from different seeds.
        width: channels of the ConvNet.
        recipe: for both.
        seed: of the first network.
        jobs: worker processes; by default one a core, or one a GPU.
        device: auto, cpu, cuda or cuda:N.
        root: folder of the data sets that torchvision downloads.
        quiet: show no progress.
        log: file to which progress is appended, every ten seconds.
    """

    proxy: str
    data: str = "digits"
    networks: int = 3
    width: int = 64
    recipe: Recipe = PROXY_RECIPE
    seed: int = 0
    jobs: int | None = None
    device: str = "auto"
    root: str = DEFAULT_ROOT
    quiet: bool = False
    log: str | None = None


def evaluate_command(options: EvaluateCommand) -> "Answer":
    quality = evaluate(
        options.proxy,
        load_dataset(options.data, options.root),
        networks=options.networks,
        width=options.width,
        recipe=options.recipe,
        seed=options.seed,
        jobs=options.jobs,
        device=options.device,
        progress=not options.quiet,
    )
    return Answer(quality.to_dict(), str(quality))


@dataclass(frozen=True)
class RankCommand:
    """Score architectures; the study that keeps them is the ranking.

    Attributes:
        by: a proxy file, full, full:epochs=2 (early stopping), params, table:FILE:COLUMN or
            another name of `nasproxy list estimators`.
        data: a data set's name, a folder with one folder of images a class, or an .npz file.
        space: a search space's name, file or module. It is code, and runs.
        trials: architectures that the study shall hold.
        sampler: random (uniform, without repeats), all (the whole space), tpe or nsga2.
        like: study whose architectures to score, instead of drawing some.
        seeds: trainings of each architecture.
        seed: of every random choice.
        pruner: stop training what ranks low early: halving, halving:reduction_factor=2, or
            successive_halving, median or percentile with Optuna's options.
        rungs: epochs after which the pruner is asked; give it once for each; by default 15, 20
            and 33% of them.
        trial_timeout: seconds after which a training is given up, and recorded as broken.
        max_params: larger architectures are turned away, and recorded as invalid.
        max_flops: likewise, in multiply-accumulates of one image.
        study: name of the study; by default that of the estimator.
        storage: URL of the Optuna storage.
        jobs: worker processes; by default one a core, or one a GPU.
        scheduler: address of a Dask scheduler, such as tcp://host:8786, whose workers take the
            place of local ones. It is to be trusted like code.
        device: auto, cpu, cuda or cuda:N.
        root: folder of the data sets that torchvision downloads.
        quiet: show no progress.
        log: file to which progress is appended, every ten seconds.
    """

    by: str
    data: str = "digits"
    space: str = "convnet_small"
    trials: int = 40
    sampler: str = "random"
    like: str | None = None
    seeds: int = 1
    seed: int = 0
    pruner: str | None = None
    rungs: list[int] = dataclasses.field(default_factory=list)
    trial_timeout: float | None = None
    max_params: float | None = None
    max_flops: float | None = None
    study: str | None = None
    storage: str = DEFAULT_STORAGE
    jobs: int | None = None
    scheduler: str | None = None
    device: str = "auto"
    root: str = DEFAULT_ROOT
    quiet: bool = False
    log: str | None = None


def rank_command(options: RankCommand) -> "Answer":
    data = load_dataset(options.data, options.root)
    storage: Any = options.storage
    if options.like:
        storage = open_storage(storage, must_exist=True)
    study = rank(
        options.space,
        options.by,
        data=data,
        trials=options.trials,
        sampler=options.sampler,
        like=load_study(options.like, storage) if options.like else None,
        seeds=options.seeds,
        seed=options.seed,
        pruner=options.pruner,
        rungs=options.rungs,
        trial_timeout=options.trial_timeout,
        max_params=options.max_params,
        max_flops=options.max_flops,
        study=options.study or _study_name(options.by),
        storage=storage,
        jobs=options.jobs,
        scheduler=options.scheduler,
        device=options.device,
        progress=not options.quiet,
    )
    trials = scored(study)
    rows = [
        {"architecture": t.user_attrs["architecture"], "score": float(score), "params": t.params}
        for t, score in zip(trials, scores_among(study, trials), strict=True)
    ]
    rows.sort(key=lambda row: -row["score"])
    lines = [f"{study.study_name}: {len(rows)} architectures by {study.user_attrs['estimator']}"]
    lines += [f"  {row['score']:<10.6g} {row['architecture']}" for row in rows[:10]]
    if len(rows) > 10:
        lines.append(f"  ... and {len(rows) - 10} more")
    made = {"study": study.study_name, "storage": hide_password(options.storage), "ranking": rows}
    return Answer(made, "\n".join(lines))


def _study_name(by: str) -> str:
    """An estimator without the folder and the ending of its file."""
    if table := split_table(by):
        return f"table:{Path(table[0]).name}:{table[1]}"
    path, ending, options = by.partition(".safetensors")
    return Path(path).name + options if ending else by


@dataclass(frozen=True)
class CorrelateCommand:
    """Correlate rankings with the study named as truth.

    Attributes:
        truth: name of the study, or table:FILE:COLUMN.
        study: name of a ranking, or table:FILE:COLUMN; give it once for each. NAME@fit_loss reads
            trainings by another number than their score: accuracy, loss (of validation),
            train_loss (last epoch), mean_loss (all updates), fit_loss (images trained on), both
            (accuracy and train_loss).
        storage: URL of the Optuna storage that holds them all.
        combine: rankings to combine by rank, as A,B; give it once for each combination.
        combination: log (sum of the logarithms of ranks) or mean (of ranks).
        out: folder for report.json, report.md and figures.
        seed: of the bootstrap.
    """

    truth: str
    study: list[str]
    combine: list[str] = dataclasses.field(default_factory=list)
    combination: str = "log"
    storage: str = DEFAULT_STORAGE
    out: str | None = None
    seed: int = 0


def correlate_command(options: CorrelateCommand) -> "Answer":
    given = _comparables([options.truth, *options.study], options.storage)
    truth, *rankings = given
    report = correlate(
        truth,
        rankings,
        combine=[names.split(",") for names in options.combine],
        combination=options.combination,
        seed=options.seed,
    )
    if options.out:
        make_folder(Path(options.out))
        command = without_passwords(command_line("correlate", options))
        report.write(options.out, None, _pictures(given), command)
    if any(not isinstance(one, TableEstimator) for one in given):
        _attach(report, options.storage)
    return Answer(report.to_dict(), str(report))


def _pictures(given: Sequence[Comparable]) -> dict[str, bytes]:
    """The pictures that the studies have in the dashboard, each once, by caption."""
    found: dict[bytes, str] = {}
    for one in given:
        study = one.study if isinstance(one, Reading) else one
        if isinstance(study, optuna.Study):
            for name, png in pictures_of(study).items():
                found.setdefault(png, f"{study.study_name}: the {name}")
    return {caption: png for png, caption in found.items()}


def _attach(report: Report, url: str) -> None:
    """Show the report in the dashboard; a storage that can't be written to is no failure."""
    try:
        attach(report, open_storage(url, must_exist=True))
    except (UserError, *STORAGE_ERRORS, optuna.exceptions.OptunaError) as error:
        said = str(error) if isinstance(error, UserError) else storage_failure(error)
        print(f"nasproxy: the dashboard does not show this report: {said}", file=sys.stderr)


def _comparables(names: Sequence[str], url: str) -> list[Comparable]:
    """Studies, readings of them and columns of tables, by name."""
    tables = {name: read_table(*table) for name in names if (table := split_table(name))}
    if len(tables) < len(set(names)):
        storage = open_storage(url, must_exist=True)
    return [tables.get(name) or _study_or_reading(name, storage) for name in names]


def _study_or_reading(name: str, storage: optuna.storages.BaseStorage) -> "optuna.Study | Reading":
    study, at, by = name.rpartition("@")
    if not at or name in study_names(storage):
        return load_study(name, storage)
    return Reading(load_study(study, storage), by)


@dataclass(frozen=True)
class CalibrateCommand:
    """Rank all architectures by cheap rankings, calibrated by the full trainings of a few.

    Attributes:
        truth: name of the study of full trainings, or table:FILE:COLUMN.
        study: name of a ranking of all architectures, as in `correlate`; give it once for each.
        storage: URL of the Optuna storage that holds them all.
        seed: of the bootstrap.
    """

    truth: str
    study: list[str]
    storage: str = DEFAULT_STORAGE
    seed: int = 0


def calibrate_command(options: CalibrateCommand) -> "Answer":
    truth, *rankings = _comparables([options.truth, *options.study], options.storage)
    found = calibrate(truth, rankings, seed=options.seed)
    return Answer(found.to_dict(), str(found))


@dataclass(frozen=True)
class DashboardCommand:
    """Look into studies in a browser, with optuna-dashboard.

    Attributes:
        storage: URL of the Optuna storage, or the folder of a `nasproxy run`.
        host: to listen on. There is no password: whoever can reach it may change studies.
        port: to listen on; 0 takes a free one.
    """

    storage: str = DEFAULT_STORAGE
    host: str = "127.0.0.1"
    port: int = 8080


def dashboard_command(options: DashboardCommand) -> "Answer":
    kept = Path(options.storage) / "study.db"
    serve(f"sqlite:///{kept}" if kept.is_file() else options.storage, options.host, options.port)
    return Answer({}, "")  # never: it is interrupted


def run_command(options: RunOptions) -> "Answer":
    """Condense a data set, rank architectures on it, and say how far to trust the ranking."""
    result = run(options)
    return Answer(result.to_dict(), str(result))


@dataclass(frozen=True)
class ListCommand:
    """Name what can be chosen from.

    Attributes:
        what: spaces, datasets, methods or estimators.
    """

    what: str


def list_command(options: ListCommand) -> "Answer":
    listings: dict[str, Callable[[], dict[str, str]]] = {
        "spaces": lambda: {name: load_space(name).summary for name in space_names()},
        "datasets": lambda: {name: source.summary for name, source in DATASETS.items()},
        "methods": lambda: {name: method.summary for name, method in METHODS.items()},
        "estimators": lambda: ESTIMATORS,
    }
    if options.what not in listings:
        raise UserError(f"expected one of {', '.join(listings)}, got {options.what!r}")
    found = listings[options.what]()
    lines = [f"{name:<20} {summary}".rstrip() for name, summary in found.items()]
    return Answer({options.what: found}, "\n".join(lines))


@dataclass(frozen=True)
class CopyCommand:
    """Copy a search space's file, to be edited and used as your own.

    Attributes:
        space: a search space's name.
        path: file to write, such as ./my_space.py.
    """

    space: str
    path: str


def copy_command(options: CopyCommand) -> "Answer":
    copy_space(options.space, options.path)
    return Answer({"out": options.path}, f"{options.path}: edit it and use --space {options.path}")


@dataclass(frozen=True)
class Answer:
    """What a command puts on stdout: a JSON document, or the same in words."""

    document: Any
    text: str


@dataclass(frozen=True)
class Command:
    """A command: its options, its handler, and which options are given by position."""

    options: type
    handler: Callable[[Any], Answer]
    positional: tuple[str, ...] = ()


COMMANDS = {
    "run": Command(RunOptions, run_command),
    "condense": Command(CondenseCommand, condense_command),
    "import": Command(ImportCommand, import_command, ("path",)),
    "evaluate": Command(EvaluateCommand, evaluate_command, ("proxy",)),
    "rank": Command(RankCommand, rank_command),
    "correlate": Command(CorrelateCommand, correlate_command),
    "calibrate": Command(CalibrateCommand, calibrate_command),
    "dashboard": Command(DashboardCommand, dashboard_command),
    "list": Command(ListCommand, list_command, ("what",)),
    "copy": Command(CopyCommand, copy_command, ("space", "path")),
}


def make_parser() -> jsonargparse.ArgumentParser:
    """The parser of every command, made from the options' dataclasses."""
    parser = jsonargparse.ArgumentParser(
        prog="nasproxy",
        description="Rank neural architectures on a condensed data set.",
        version=version("nasproxy"),
        exit_on_error=False,
    )
    commands = parser.add_subcommands(required=True, dest="command")
    for name, command in COMMANDS.items():
        commands.add_subcommand(name, _command_parser(command), help=_summary(command))
    return parser


def _summary(command: Command) -> str:
    text = command.handler.__doc__ or command.options.__doc__ or ""
    return text.strip().partition("\n")[0]


def _command_parser(command: Command) -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(description=_summary(command), exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with options")
    parser.add_argument("--json", action="store_true", help="put one JSON document on stdout")
    fields = dataclasses.fields(command.options)
    helps = _field_helps(command.options)
    flags = {field.name for field in fields if field.type in (bool, "bool")}
    for name in command.positional:
        parser.add_argument(name, type=str, help=helps[name])
    skip: set[str | int] = {*command.positional, *flags}
    parser.add_class_arguments(command.options, skip=skip, as_group=False)
    for name in sorted(flags):
        parser.add_argument(f"--{name}", action="store_true", help=helps[name])
    return parser


def _field_helps(options: type) -> dict[str, str]:
    """Help of each field, from the `Attributes` of the docstring."""
    text = (options.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name: " ".join(described.split()) for name, described in found}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it warns of, we say in one line
    try:
        chosen = _parse(_spell(sys.argv[1:] if arguments is None else arguments))
        values = dict(vars(chosen[chosen.command]))
        values.pop("config", None)
        as_json = values.pop("json")
        command = COMMANDS[chosen.command]
        _check_values(command.options, values)
        with _no_interrupt_lost(), _stdout_for_the_answer(), logged_to(values.get("log")):
            answer = command.handler(command.options(**values))
        text = json.dumps(answer.document, allow_nan=False) if as_json else answer.text
        print(text.encode(errors="backslashreplace").decode())
        return 0
    except UserError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("nasproxy: interrupted; the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone
        sys.stderr.close()
        return EXIT_ERROR
    except OSError as error:
        return _refuse(f"{error.filename or 'the system'}: {error.strerror or error}")
    except MemoryError as error:
        return _refuse(f"there is not enough memory: {error}")
    except STORAGE_ERRORS as error:
        return _refuse(storage_failure(error))
    except Exception as error:
        if os.environ.get("NASPROXY_TRACEBACK"):
            raise
        said = without_passwords(reason(error))
        print(
            f"nasproxy: internal error: {said}; please report it, with what "
            "NASPROXY_TRACEBACK=1 in the environment shows",
            file=sys.stderr,
        )
        return EXIT_INTERNAL


def _parse(given: Sequence[str]) -> Any:
    """The options of a command.

    Raises:
        UserError: they are not what was expected, in whatever way.
    """
    words = [part for word in given for part in word.split("=", 1)]
    configs = [path for option, path in itertools.pairwise(words) if option == "--config"]
    for path in configs:
        if Path(path).is_file():
            _check_config(path)
    parser = make_parser()
    try:
        return parser.instantiate(parser.parse_args(list(given)))
    except Exception as error:
        known = (UserError, argparse.ArgumentError, jsonargparse.ArgumentError)
        said = str(error) if isinstance(error, known) else reason(error)
        raise UserError(": ".join([*configs, said])) from error


def _check_config(path: str) -> None:
    """Refuse what no config needs and its reader may choke on: aliases and deep nesting."""
    depth = 0
    try:
        for event in yaml.parse(Path(path).read_text("utf-8-sig"), yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{path}: expected every value written out, got *{event.anchor}")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > 9:
                raise UserError(f"{path}: expected options, got lists in lists")
        _check_keys(path, yaml.compose(Path(path).read_text("utf-8-sig"), yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a YAML file in UTF-8 ({error})") from None


def _check_keys(path: str, node: Any) -> None:
    """Refuse what is given twice: a YAML reader takes the last, and says nothing."""
    if not isinstance(node, yaml.MappingNode):
        return
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"{path}: {key} is there twice: expected it once")
    for _, value in node.value:
        _check_keys(path, value)


def _check_values(options: type, values: Mapping[str, Any]) -> None:
    """Refuse NUL, and null where there must be something: the parser takes both."""
    for field in dataclasses.fields(options):
        value = values[field.name]
        if isinstance(value, str) and "\0" in value:
            raise UserError(f"expected {field.name} without NUL, got {value!r}")
        if value is None and "None" not in str(field.type):
            raise UserError(f"expected something as {field.name}, got null")
        if dataclasses.is_dataclass(value):
            _check_values(type(value), vars(value))


def _refuse(why: str) -> int:
    """Say in one line, and no endless one, what is wrong with the input."""
    print(f"nasproxy: error: {without_passwords(one_line(why))[:2000]}", file=sys.stderr)
    return EXIT_ERROR


@contextlib.contextmanager
def _no_interrupt_lost() -> Iterator[None]:
    """Raise KeyboardInterrupt again where Python throws it away: in a finaliser or weak reference.

    SQLAlchemy has many of these, and the command would go on as if nobody had pressed Ctrl-C.
    """
    before = sys.unraisablehook
    again: list[threading.Timer] = []

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # later, since at once it would be thrown away here, too
            again.append(threading.Timer(0.05, _thread.interrupt_main))
            again[-1].start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in again:
            timer.cancel()


@contextlib.contextmanager
def _stdout_for_the_answer() -> Iterator[None]:
    """Send what somebody's network prints to stderr, from worker processes too."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _spell(arguments: Sequence[str]) -> list[str]:
    """What the parser calls an option: --real-batch is --real_batch, and a list's grows by +."""
    command = COMMANDS.get(arguments[0]) if arguments else None
    fields = dataclasses.fields(command.options) if command else ()
    lists = {f"--{field.name}" for field in fields if str(field.type).startswith("list")}

    def spelled(option: re.Match[str]) -> str:
        name = "--" + option[0][2:].replace("-", "_")
        return name + "+" if name in lists else name

    return [re.sub(r"^--[\w.-]+", spelled, argument) for argument in arguments]
