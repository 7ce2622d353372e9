"""The best architecture for a budget of full trainings: `nasproxy search`, step by step."""

import inspect
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from nasproxy.data.dataset import Dataset, as_dataset
from nasproxy.data.named import DEFAULT_ROOT
from nasproxy.errors import UserError
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.making import make_estimator
from nasproxy.estimators.training import TrainingEstimator
from nasproxy.estimators.winner import keep_winner
from nasproxy.searches.budget import score_within_budget
from nasproxy.searches.costs import with_costs
from nasproxy.searches.job import Job
from nasproxy.searches.page import leave
from nasproxy.searches.pareto import front, hypervolume, places
from nasproxy.searches.picks import Picks
from nasproxy.searches.pool import Pool, check_pool, draw_pool
from nasproxy.searches.result import AHEAD, SearchResult
from nasproxy.searches.sampler import Chooser
from nasproxy.searches.scoring import Scoring
from nasproxy.searches.surrogate import Belief
from nasproxy.searches.trace import trace
from nasproxy.spaces.space import Space, as_space
from nasproxy.studies.claims import Driver
from nasproxy.studies.identity import describe, note_floor, open_study
from nasproxy.studies.ledger import Ledger
from nasproxy.studies.loop import Loop
from nasproxy.studies.made_with import made_with
from nasproxy.studies.note import annotate
from nasproxy.studies.plan import built_for
from nasproxy.studies.storage import open_storage
from nasproxy.system.files import alone, make_folder, runs_folder, write_json
from nasproxy.system.machine import check_seed
from nasproxy.system.progress import Forecast, logged_to, progress
from nasproxy.system.spelling import command_line
from nasproxy.workers.dask import open_workers

_FAR = 500  # random trainings that are thought of


def search(
    data: Dataset | str | None = "fashion",
    space: Space | str = "convnet_tiny",
    *,
    trainings: int = 20,
    hours: float | None = None,
    pool: int = 1000,
    scores: Sequence[str] = (),
    method: str = "random",
    ipc: int = 10,
    full: str | Estimator = "full",
    max_params: float | None = None,
    max_flops: float | None = None,
    max_latency: float | None = None,
    objective: str | None = None,
    seed: int = 0,
    jobs: int | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    trial_timeout: float | None = None,
    out: str | None = None,
    root: str = DEFAULT_ROOT,
    image_size: int | None = None,
    flip: bool | None = None,
    splits: bool = True,
    accept_space: bool = False,
    quiet: bool = False,
) -> SearchResult:
    """Find the best architecture for a budget of full trainings.

    A pool is drawn uniformly and scored by what is cheap, in at most a quarter of the time; then a
    surrogate over all cheap rankings learns from each full training which of them tell the truth
    in this space, and chooses the next. A search that was killed goes on where it was, when it is
    called again with the same options; called at the same time, in the same folder, several share
    the work.

    Args:
        data: a data set's name, a folder with one folder of images a class, or an .npz file; or a
            `Dataset`. Where a table stands for the full training it may be left out.
        space: a search space's name, file or module. It is code, and runs.
        trainings: architectures that are trained in full.
        hours: of this call, after which no training is begun any more; whichever comes first.
        pool: architectures that are drawn; all of a space that has no more.
        scores: of the pool, as `rank` takes them: free scores, proxy files, table:FILE:COLUMN; by
            default the free scores that there is time for.
        method: how the proxy set is made that the promising are trained on: random, dm, another of
            `nasproxy list methods`, a proxy file, or none.
        ipc: images per class of the proxy set.
        full: the full training: full, full:epochs=10, FILE.py:FUNCTION with
            function(network, data, seed), or table:FILE:COLUMN.
        max_params: larger architectures are not drawn.
        max_flops: likewise, in multiply-accumulates of one image.
        max_latency: slower ones are left out, in milliseconds an image, measured here.
        objective: what shall be low beside a high accuracy: latency, params, flops, a column as
            table:FILE:COLUMN, or FILE.py:FUNCTION; the trainings are then spread along the front.
        seed: of everything.
        jobs: worker processes; by default one a core, or one a GPU.
        scheduler: address of a Dask scheduler, such as tcp://host:8786, whose workers take the
            place of local ones. It is to be trusted like code.
        device: auto, cpu, cuda or cuda:N.
        trial_timeout: seconds after which a training is given up, and counts as bad.
        out: folder for everything that is made; by default runs/search-DATA-SPACE.
        root: folder of the data sets that torchvision downloads.
        image_size: side in pixels to which image files are brought; by default their own.
        flip: whether a mirror image keeps its class; by default the data set's name decides.
        splits: whether folders named like train, val and test are splits, and no classes.
        accept_space: go on with a search although the code of the space has changed, because it
            builds the same networks; its study says so, and is then of both.
        quiet: show no progress.

    Raises:
        UserError: an option is off, nothing in the space can be built, or the folder holds another
            search.
    """
    given = dict(locals())
    _check(trainings, hours, pool, max_latency)
    check_seed(seed)
    space = as_space(space, max_params, max_flops)
    data = None if data is None else as_dataset(data, root, image_size, flip, splits)
    name = "table" if data is None else data.name
    folder = Path(out or runs_folder("search", name, space.name))
    make_folder(folder)
    with (
        logged_to(folder / "search.log"),
        open_workers(jobs, device, trial_timeout, scheduler) as workers,
    ):
        scoring = Scoring(space, data, workers, workers.place(device), seed, show=not quiet)
        estimator = make_estimator(full, data, device=scoring.device)
        job = Job(
            scoring,
            estimator,
            folder,
            trainings,
            None if hours is None else 3600 * hours,
            objective,
            _command(
                given,
                data=data and data.name,
                space=space.name,
                full=full if isinstance(full, str) else full.name,
            ),
        )
        with alone(folder, "another search scores the pool", scoring.show):
            drawn = with_costs(job, _drawn(job, pool), objective, max_latency)
            _take_up(job, drawn)
            score_within_budget(job, drawn, scores, method, ipc)
            study = _open(job, accept_space)
        return _train(job, drawn, study)


def _command(given: dict[str, Any], **named: Any) -> str:
    """What makes the search again, with names for objects."""
    defaults = {
        name: option.default for name, option in inspect.signature(search).parameters.items()
    }
    return command_line("search", given | named, defaults)


def _check(trainings: int, hours: float | None, pool: int, max_latency: float | None) -> None:
    if trainings < 1:
        raise UserError(f"expected trainings of 1 or more, got {trainings}")
    if hours is not None and not 0 < hours < math.inf:
        raise UserError(f"expected hours above 0, got {hours}")
    if max_latency is not None and not max_latency > 0:
        raise UserError(f"expected max_latency above 0, got {max_latency}")
    check_pool(pool)


def _drawn(job: Job, size: int) -> Pool:
    """The pool."""
    space = job.scoring.space
    drawn = draw_pool(space, *built_for(job.scoring.data), size, job.scoring.seed)
    job.tell(f"{space.name}: a pool of {len(drawn)} distinct architectures")
    if len(drawn) < job.trainings:
        job.tell(f"these are fewer than {job.trainings}: all of them will be trained")
    return drawn


def _take_up(job: Job, pool: Pool) -> None:
    """Give a pool the scores that an earlier call has left."""
    path = job.folder / "pool.csv"
    if path.is_file():
        pool.load(path)
        job.tell(f"{path} has its scores by {', '.join(pool.columns) or 'nothing'}")


def _open(job: Job, accept_space: bool) -> optuna.Study:
    """The search's study, made when its pool is scored."""
    scoring = job.scoring
    study = open_study(
        "search",
        open_storage(f"sqlite:///{job.folder / 'study.db'}"),
        describe(scoring.space, job.full, scoring.data, 1, scoring.seed, "none"),
        _made_with(job),
        job.full.metric,
        accept_space,
    )
    note_floor(study, job.full)
    return study


def _made_with(job: Job) -> dict[str, Any]:
    return made_with(job.full, job.scoring.workers, str(job.scoring.device))


def _train(job: Job, pool: Pool, study: optuna.Study) -> SearchResult:
    """Train in full what is worth the most, one after the other, and say what came out."""
    start, scoring, full = time.monotonic(), job.scoring, job.full
    shape, classes = built_for(scoring.data)
    scoring.heed_memory(pool, full, range(len(pool)))
    with Driver(study) as driver:
        ledger = Ledger(study, driver, scoring.space, full, full.network_shape or shape, classes)
        picks = Picks(job, pool, Chooser(pool, scoring.seed), ledger)
        loop = Loop(ledger, scoring.workers, 1, scoring.seed, ahead=1, made_with=_made_with(job))
        total, done = min(job.trainings, len(pool)), len(picks.seen()[0])
        forecast = Forecast("--trainings", lambda: scoring.workers.jobs)
        label = f"searching by {full.name}"
        with progress(label, total, done, scoring.show, forecast) as bar:
            loop.run(picks.records(), bar)
            while ledger.wait(bar):  # others may die, and leave something
                loop.run(picks.records(), bar)
    annotate(study)
    job.seconds["full"] = time.monotonic() - start
    with alone(job.folder, "another search saves the best", scoring.show):
        result = _result(job, pool, picks)
        write_json(job.folder / "search.json", result.to_dict())
        leave(result, study, job.objective, job.command)
    return result


def _result(job: Job, pool: Pool, picks: Picks) -> SearchResult:
    """What came out; the winner's network trained again and kept.

    Raises:
        UserError: nothing could be trained.
    """
    truth, _ = picks.seen()
    if not any(map(math.isfinite, truth.values())):
        why = next((r.why for r in picks.ledger.records() if r.why), "nothing was trained")
        raise UserError(f"no architecture could be trained in full; the first: {why}")
    belief, scoring = picks.chooser.believe(truth), job.scoring
    index = belief.best()
    winner = pool.architectures[index]
    kept: dict[str, Any] = {"test_accuracy": None, "weights": None}
    if isinstance(job.full, TrainingEstimator) and scoring.data is not None:
        path = job.folder / "best.safetensors"
        about = keep_winner(path, scoring.space, winner, job.full, scoring.data, scoring.seed)
        kept = {"test_accuracy": about["test_accuracy"], "weights": str(path)}
    generator = np.random.default_rng(scoring.seed)
    random = belief.random_curve(_FAR, generator)
    mean, low, high = random[:, min(len(truth), random.shape[1]) - 1].tolist()
    # what is believed of the best, as of the random ones: what was seen of it has luck in it
    as_good = np.flatnonzero(random[0] >= belief.predict()[0][index])
    return SearchResult(
        best={
            "architecture": winner.key,
            "params": winner.choices,
            "validation_accuracy": truth[index],
            **kept,
        },
        trainings=len(truth),
        pool=len(pool),
        seconds={stage: round(seconds, 3) for stage, seconds in job.seconds.items()},
        expected_of_random={"mean": mean, "interval": [low, high]},
        random_needs=int(as_good[0]) + 1 if len(as_good) else None,
        scores=dict(zip(pool.columns, map(float, belief.weights()), strict=True)),
        gain=belief.gain(AHEAD, generator),
        noise=belief.noise(),
        ended=picks.ended,
        folder=job.folder,
        steps=trace(picks.chooser, picks.trained()),
        random_curve=random[:, : len(truth)].T.tolist(),
        **_two_objectives(pool, truth, belief, generator),
    )


def _two_objectives(
    pool: Pool, truth: Mapping[int, float], belief: Belief, generator: np.random.Generator
) -> dict[str, Any]:
    """The front of what was trained, and its hypervolume beside that of random trainings."""
    if pool.costs is None:
        return {}
    index = np.array(list(truth))
    seen, costs, place = (
        np.array(list(truth.values())),
        pool.costs[index],
        places(pool.costs)[index],
    )
    worst = float(seen[np.isfinite(seen)].min())
    mean, interval = belief.hypervolume_of_random(len(index), worst, generator)
    return {
        "front": [
            {
                "architecture": pool.architectures[index[k]].key,
                "validation_accuracy": float(seen[k]),
                "cost": float(costs[k]),
            }
            for k in front(seen, costs)
        ],
        "hypervolume": {
            "found": hypervolume(seen, place, worst),
            "of_random": {"mean": mean, "interval": list(interval)},
        },
    }
