"""Rankings: architectures of a space scored by an estimator, in a study of their own."""

import contextlib
import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from nasproxy.data.dataset import Dataset, as_dataset
from nasproxy.errors import UserError, nearest
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.keeping import Keeping, make_keeping
from nasproxy.estimators.making import make_estimator
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.spaces.space import Architecture, Space, as_space
from nasproxy.studies.claims import Driver, Finished
from nasproxy.studies.identity import describe, load_study, note_floor, open_study, study_names
from nasproxy.studies.ledger import Ledger
from nasproxy.studies.loop import Loop
from nasproxy.studies.made_with import made_with
from nasproxy.studies.named import find_named
from nasproxy.studies.note import annotate
from nasproxy.studies.plan import TRIALS, built_for, large_first, make_plan
from nasproxy.studies.record import WITHOUT_SCORE, Record, broken_in_words, read_records, scored
from nasproxy.studies.reliability import reliability_of
from nasproxy.studies.rungs import Halving, climb, make_halving, make_rungs
from nasproxy.studies.steering import STEERED, Steering
from nasproxy.studies.storage import as_storage
from nasproxy.studies.twins import Twins, draw_again, read_again
from nasproxy.system.machine import check_seed
from nasproxy.system.progress import Forecast, say
from nasproxy.system.progress import progress as progress_bar
from nasproxy.training.recipe import Recipe
from nasproxy.workers.dask import open_workers
from nasproxy.workers.local import Workers, score

_AT_ONCE = 1000  # scores written together
_AT_MOST = 2.0  # seconds that they wait
SAMPLERS = ("random", "all", *STEERED)


def rank(
    space: Space | str,
    by: str | Path | ProxySet | Estimator,
    *,
    data: Dataset | str | None = None,
    trials: int | None = None,
    sampler: str = "random",
    like: str | optuna.Study | Sequence[Architecture] | None = None,
    seeds: int = 1,
    seed: int = 0,
    recipe: Recipe | None = None,
    study: str | None = None,
    storage: str | optuna.storages.BaseStorage | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    workers: Workers | None = None,
    device: str = "auto",
    train_twins: bool = False,
    keep_weights: str | Path | None = None,
    pruner: str | Halving | None = None,
    rungs: Sequence[int] = (),
    doublings: int = 0,
    trial_timeout: float | None = None,
    max_params: float | None = None,
    max_flops: float | None = None,
    accept_space: bool = False,
    progress: bool = False,
) -> optuna.Study:
    """Score architectures of a space; the study that comes back is the ranking.

    How many architectures broke, and why the first did, is said on stderr: they rank last.
    A study that is there already goes on: what is finished is not done again. Several calls, in
    processes on one host or many, may fill one study in one storage: each architecture is scored by
    one of them, they take over what is left by one that died, and all return when all is done. With
    ``tpe`` no architecture is scored twice either, but what is asked depends on who
    was first, and each further driver may add one architecture to `trials`.

    Args:
        space: a search space's name, file or module. It is code, and runs.
        by: a proxy file, full, full:epochs=2 (early stopping), params, table:FILE:COLUMN or
            another name of `nasproxy list estimators`; or a proxy set, or an `Estimator`. Where
            several numbers tell how a training went, ``read`` says which is its score: another
            reading of trainings that are in the storage does not train again.
        data: a data set's name, a folder with one folder of images a class, or an .npz file; or a
            `Dataset`. A table does without.
        trials: architectures that the study shall hold, those already in it included and those
            that can't be built left out; by default 40, and all of `like`, of which it takes the
            first ones.
        sampler: ``random`` draws uniformly without repeats, ``all`` takes the whole space,
            ``tpe`` steers towards high scores (of no use to a correlation).
        like: study whose architectures to score, or a file of their names, one a line, or a list
            of architectures, instead of drawing some.
        seeds: trainings per architecture; the score is their mean.
        seed: of the draw; training k of an architecture has the seed `seed` + k.
        recipe: how to train; by default `FULL_RECIPE` on the full data, and on proxy sets
            `PROXY_RECIPE` with what the space's `proxy_recipe` says otherwise.
        study: name of the study; by default one that Optuna makes up, and on the command line
            that of the estimator. One that was made with another reading keeps its own values.
        storage: URL of the Optuna storage, or the storage; None keeps the study in memory.
        jobs: worker processes; by default one a core, or one a GPU.
        scheduler: address of a Dask scheduler, such as ``tcp://host:8786``, whose workers take the
            place of local ones. It is to be trusted like code: pickles go to and fro.
        workers: to use instead of starting `jobs`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        doublings: how often, at most, all are trained anew for twice as many updates because the
            ranking is not settled (see `nasproxy.studies.reliability`): its study is the last one,
            which has ``-x2``, ``-x4``, ... after its name.
        trial_timeout: seconds after which a training is given up, and recorded as broken.
        max_params: larger architectures are turned away, and recorded as invalid.
        max_flops: likewise, in multiply-accumulates of one image.
        train_twins: train an architecture although an isomorphic one has its score already.
        keep_weights: folder for the trained network of each architecture, one file for each seed,
            which `load_network` takes; none is taken over from a twin or another reading then.
        pruner: stop training what ranks low early: halving, or halving:reduction_factor=2. All
            come to a rung before any is stopped there.
        rungs: epochs after which the pruner is asked; by default 15, 20 and 33% of them.
        accept_space: go on with a study although the code of the space has changed, because it
            builds the same networks; the study says so, and is then of both.
        progress: show progress on stderr.

    Raises:
        UserError: an argument is off, the study has another identity, or no architecture could
            be scored.
    """
    given = dict(locals())
    _check_counts(trials=trials, seeds=seeds, jobs=jobs)
    if doublings < 0:
        raise UserError(f"expected doublings of 0 or more, got {doublings}")
    check_seed(seed)
    if sampler not in SAMPLERS:
        raise UserError(f"unknown sampler {sampler!r}{nearest(sampler, SAMPLERS)}")
    steered = sampler in STEERED and like is None
    space = as_space(space, max_params, max_flops)
    data = None if data is None else as_dataset(data)
    if isinstance(like, str):
        like, storage = _like(like, space, data, storage)
    with contextlib.ExitStack() as stack:
        pool = workers or stack.enter_context(open_workers(jobs, device, trial_timeout, scheduler))
        estimator = make_estimator(by, data, recipe, pool.place(device), space)
        seeds = seeds if estimator.seeded else 1
        keeping = _keeping(keep_weights, space, estimator, data, pool)
        stop = _stopping(pruner, rungs, estimator, pool, steered)
        if doublings and (estimator.twice is None or stop.halving or steered):
            raise UserError("doublings are of trainings without a pruner, and not of a search")
        if steered and estimator.components:
            raise UserError(
                f"{estimator.name} is only defined among others: it can't steer a search"
            )
        shape, classes = built_for(data)
        plan: list[Architecture] = []
        if not steered:  # before a storage is made for nothing
            plan = make_plan(space, shape, classes, trials, sampler, like, seed)
        about = made_with(estimator, pool, device)
        made = open_study(
            study,
            as_storage(storage),
            describe(space, estimator, data, seeds, seed, stop.text),
            about,
            estimator.metric,
            accept_space,
        )
        note_floor(made, estimator)
        driver = stack.enter_context(Driver(made))
        network_shape = estimator.network_shape or shape
        ledger = Ledger(made, driver, space, estimator, network_shape, classes)
        twins = Twins(ledger, train_twins or keeping is not None)
        in_rungs = stop.halving is not None
        loop = Loop(ledger, pool, seeds, seed, in_rungs, made_with=about, keeping=keeping)
        if steered:
            label, count = f"searching by {estimator.name}", trials or TRIALS
            forecast = _forecast("--trials", pool, estimator, stop)
            with progress_bar(label, count, 0, progress, forecast) as bar:
                Steering(loop, twins, sampler, shape, seed).run(count, bar)
        else:
            option = "" if sampler == "all" and like is None else "--trials"
            forecast = _forecast(option, pool, estimator, stop)
            _score(plan, loop, twins, stop, progress, forecast)
    _require_a_score(made)
    if keeping is not None:
        _say_what_is_not_kept(made, keeping, seeds, seed)
    if broken := broken_in_words(made):
        say(f"{made.study_name}: {broken}")
    picture = None if estimator.proxy is None else partial(estimator.proxy.picture, data=data)
    annotate(made, {} if picture is None else {"proxy set": picture})
    if doublings:
        return _doubled(made, estimator, given)
    return made


def _doubled(made: optuna.Study, estimator: Estimator, given: dict[str, Any]) -> optuna.Study:
    """The same ranking by trainings of twice as many updates, and so on, until it is settled.

    Each begins anew: a training whose rate has come down to zero can't go on as a longer one.

    Args:
        made: the ranking so far.
        estimator: by which.
        given: the arguments of `rank`.
    """
    known = reliability_of(made)
    if known is None or known.is_settled is not False:
        return made
    first, _, times = made.study_name.rpartition("-x")
    name = f"{first}-x{2 * int(times)}" if first and times.isdigit() else f"{made.study_name}-x2"
    say(f"{known.in_words(made.study_name)[0]} Training anew for twice as many, as {name}.")
    left = given["doublings"] - 1
    return rank(
        **{**given, "by": estimator.twice, "recipe": None, "study": name, "doublings": left}
    )


def _like(
    name: str,
    space: Space,
    data: Dataset | None,
    storage: str | optuna.storages.BaseStorage | None,
) -> tuple[optuna.Study | list[Architecture], str | optuna.storages.BaseStorage | None]:
    """The study of a name, or else the architectures that the file of this name has; the storage.

    Raises:
        UserError: there is neither, or the file's names can't be read.
    """
    path = Path(name)
    try:
        there = as_storage(storage, must_exist=True)
    except UserError:
        if not path.is_file():
            raise
        return find_named(path, space, *built_for(data), None), storage
    if path.is_file() and name not in study_names(there):
        return find_named(path, space, *built_for(data), there), there
    return load_study(name, there), there


def _keeping(
    folder: str | Path | None,
    space: Space,
    estimator: Estimator,
    data: Dataset | None,
    pool: Workers,
) -> Keeping | None:
    """What keeps trained networks; None where none are to be kept.

    Raises:
        UserError: they can't be.
    """
    if folder is None:
        return None
    if not pool.is_local:
        raise UserError("keep_weights writes to a folder of this machine: not on a cluster")
    return make_keeping(folder, space, estimator, data)


def _say_what_is_not_kept(study: optuna.Study, keeping: Keeping, seeds: int, seed: int) -> None:
    """Say how many have a score and no network: what was scored before none were kept."""
    files = [keeping.path(r.key or "", seed + k) for r in scored(study) for k in range(seeds)]
    missing = sum(not file.is_file() for file in files)
    if missing:
        say(
            f"{study.study_name}: {missing} of {len(files)} trainings were done without "
            f"keep_weights, and have no file in {keeping.folder}; another study trains them again"
        )


@dataclass(frozen=True)
class _Stopping:
    """How trainings are stopped early: after which epochs, in words too; None is not at all."""

    halving: Halving | None = None
    rungs: Sequence[int] = ()
    text: str = "none"


def _stopping(
    pruner: str | Halving | None,
    rungs: Sequence[int],
    estimator: Estimator,
    pool: Workers,
    steered: bool,
) -> _Stopping:
    """What a pruner and its rungs mean for an estimator.

    Raises:
        UserError: they make no sense there.
    """
    if pruner is None:
        if rungs:
            raise UserError("rungs are a pruner's; give one, such as halving")
        return _Stopping()
    if estimator.epochs is None:
        raise UserError(f"{estimator.name} trains nothing that a pruner could stop")
    if not pool.is_local:
        raise UserError("a pruner keeps half-trained networks in a local folder: not on a cluster")
    if steered:
        raise UserError("a pruner compares architectures drawn together: not those of a sampler")
    made = make_rungs(estimator.epochs, rungs)
    text = pruner if isinstance(pruner, str) else str(pruner)
    return _Stopping(make_halving(pruner), made, f"{text} after {made} epochs")


def _score(
    plan: list[Architecture],
    loop: Loop,
    twins: Twins,
    stop: _Stopping,
    show: bool,
    forecast: Forecast | None,
) -> None:
    """Score every architecture of the plan that is not in the study yet."""
    ledger = loop.ledger
    buildable = [a for a in plan if a.error is None]
    label = f"ranking by {ledger.estimator.name}"
    with progress_bar(label, len(buildable), ledger.done(buildable), show, forecast) as bar:
        while True:
            left = ledger.learn()
            twins.learn()
            draw_again(ledger, plan)
            if stop.halving is None and loop.keeping is None:
                read_again(ledger, plan, loop.seeds)
            todo = {a.key: a for a in plan if a.key not in ledger.known}
            if ledger.estimator.seeded:
                _train(left, list(todo.values()), loop, twins, stop, bar)
            else:
                _score_at_once(todo.values(), ledger, loop.seed, bar)
            if ledger.is_over(plan):
                return
            ledger.wait(bar)
            bar.update(ledger.done(buildable) - bar.n)


def _forecast(
    option: str, workers: Workers, estimator: Estimator, stop: _Stopping
) -> Forecast | None:
    """How the time is measured that scoring will take; None where it can't be foreseen."""
    if stop.halving is not None:  # at a rung trainings only pause, and many end together
        return None
    if not estimator.seeded:  # one after the other, in this process
        return Forecast(option, few=10)
    return Forecast(option, lambda: workers.jobs, but=", or less: the largest come first")


def _train(
    left: list[Record],
    todo: list[Architecture],
    loop: Loop,
    twins: Twins,
    stop: _Stopping,
    bar: Any,
) -> None:
    """Score what a dead driver left and what of the plan no other driver comes to first."""
    ledger = loop.ledger
    loop.heed_memory(todo)
    ordered = large_first(todo, lambda a: ledger.num_params(a, loop.seed))
    claimed = (ledger.claim(a) for a in ordered if not twins.has_twin(a))
    records = itertools.chain(left, filter(None, claimed))
    if stop.halving is None:
        loop.run(records, bar)
    else:
        climb(loop, stop.halving, stop.rungs, records, bar)
    bar.update(twins.copy(a for a in todo if a.key not in ledger.known))  # scored by now


def _score_at_once(plan: Iterable[Architecture], ledger: Ledger, seed: int, bar: Any) -> None:
    """Scores that take no time: many go into the storage together, every few seconds."""
    found, written = list[Finished](), time.monotonic()
    try:
        for architecture in plan:
            outcome = None
            if architecture.error is None:
                outcome = score(ledger.estimator, ledger.candidate(architecture), seed)
                bar.update()
            found.append(ledger.finished(architecture, outcome))
            if len(found) >= _AT_ONCE or time.monotonic() > written + _AT_MOST:
                ledger.add(found)
                found, written = [], time.monotonic()
    finally:  # also what an interruption would lose
        ledger.add(found)


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UserError(f"expected {name} of 1 or more, got {value}")


def _require_a_score(study: optuna.Study) -> None:
    if scored(study):
        return
    reasons = (r.why for r in read_records(study) if r.ending in WITHOUT_SCORE)
    first = next(filter(None, reasons), "none was drawn")
    raise UserError(f"study {study.study_name!r}: no architecture has a score; the first: {first}")
