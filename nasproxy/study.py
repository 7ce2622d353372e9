"""The loop that every ranking is made by: ask, estimate, tell.

A ranking is an Optuna study. Its trials are architectures, and carry:

- ``architecture``: the readable key that studies are joined on;
- ``drawn``: ``uniform``, ``all`` (the whole space), or the sampler that steered, such as ``tpe``;
- the value: the score averaged over the seeds; ``score_seed0``, ... and ``spread`` (their
  standard deviation) where there are several; ``loss``, ``params``, ``seconds``, ...;
- ``invalid`` (it can't be built), ``broken`` (it can't be scored), ``missing`` (a table doesn't
  have it), ``duplicate``, or ``stopped`` (after so many epochs, by a pruner) where the state is
  PRUNED: FAIL would make TPE forget it and ask for it again. FAIL is what never was: a claim that
  another driver was before, or a trial whose driver died while it was being made.
"""

import contextlib
import itertools
import math
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import optuna
import torch
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from nasproxy.cluster import Cluster, open_workers
from nasproxy.data import Dataset
from nasproxy.drivers import UNBIASED, Driver, Ended
from nasproxy.errors import UserError, nearest
from nasproxy.estimators import Estimator, make_estimator, proxy_of, proxy_recipe
from nasproxy.estimators.base import Candidate, Scores
from nasproxy.estimators.training import TrainingEstimator
from nasproxy.halving import make_pruner, make_rungs
from nasproxy.note import annotate
from nasproxy.progress import progress as progress_bar
from nasproxy.proxy import ProxySet
from nasproxy.runtime import check_seed, contained, seeded, versions
from nasproxy.size import count_macs, count_params
from nasproxy.spaces import Architecture, Space, load_space
from nasproxy.storage import open_storage, open_study
from nasproxy.train import Recipe
from nasproxy.workers import ATTEMPTS, DIED, Outcome, Workers, score

# Samplers that steer by the scores so far. Each batch gets a new one, seeded by the number of
# trials: what it asks depends neither on the number of workers nor on interruptions.
STEERED: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: _tpe(seed),  # defined below
    "nsga2": lambda seed: NSGAIISampler(seed=seed),
}
SAMPLERS = ("random", "all", *STEERED)
_REASONS = ("broken", "missing", "invalid")  # attributes of trials without a score
_BATCH = 4  # architectures that a steering sampler asks for before it sees their scores
_PATIENCE = 25  # batches without anything new after which a space counts as exhausted
_ANY_IMAGES = (3, 32, 32), 10  # what an estimator that needs no data builds networks for
_BLOCK = 32  # architectures that are put in order of their work
_ENDINGS = {"invalid", "broken", "missing", "duplicate", "stopped"}  # said before the state is
POLL = 2.0  # seconds between looks at what other drivers are at


def rank(
    space: Space | str,
    by: "str | ProxySet | Estimator",
    *,
    data: Dataset | None = None,
    trials: int = 40,
    sampler: str = "random",
    like: "optuna.Study | Sequence[Architecture] | None" = None,
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
    pruner: str | BasePruner | None = None,
    rungs: Sequence[int] = (),
    trial_timeout: float | None = None,
    max_params: float | None = None,
    max_flops: float | None = None,
    progress: bool = False,
) -> optuna.Study:
    """Score architectures of a space; the study that comes back is the ranking.

    A study that is there already goes on: what is finished is not done again. Several calls, in
    processes on one host or many, may fill one study in one storage: each architecture is scored by
    one of them, they take over what is left by one that died, and all return when all is done. With
    ``tpe`` and ``nsga2`` no architecture is scored twice either, but what is asked depends on who
    was first, and each further driver may add one architecture to `trials`.

    Args:
        space: or its name.
        by: a proxy set or its file, ``full``, ``full:epochs=2``, ``params`` or an estimator.
        data: images and classes that the networks are for; a table does without.
        trials: architectures that the study shall hold, those already in it included and those
            that can't be built left out.
        sampler: ``random`` draws uniformly without repeats, ``all`` takes the whole space,
            ``tpe`` and ``nsga2`` steer towards high scores (of no use to a correlation).
        like: score exactly the architectures of this study (or these) instead.
        seeds: trainings per architecture; the score is their mean.
        seed: of the draw; training k of an architecture has the seed `seed` + k.
        recipe: how to train; by default `FULL_RECIPE` on the full data, and on proxy sets
            `PROXY_RECIPE` with what the space's `proxy_recipe` says otherwise.
        study: its name in the storage.
        storage: URL or storage; None keeps the study in memory.
        jobs: worker processes; by default one a core, or one a GPU.
        scheduler: address of a Dask scheduler, such as ``tcp://host:8786``, whose workers take the
            place of local ones. It is to be trusted like code: pickles go to and fro.
        workers: to use instead of starting `jobs`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        trial_timeout: seconds after which a training is given up, and recorded as broken.
        max_params: larger architectures are turned away, and recorded as invalid.
        max_flops: likewise, in multiply-accumulates of one image.
        train_twins: train an architecture although an isomorphic one has its score already.
        pruner: stop training what ranks low: ``halving``, ``halving:reduction_factor=2``, another
            of `PRUNERS`, or any of Optuna's. All come to a rung before any is stopped there.
        rungs: epochs after which the pruner is asked; by default 15, 20 and 33% of them.
        progress: show progress on stderr.

    Raises:
        UserError: an argument is off, the study has another identity, or no architecture could
            be scored.
    """
    for name, value in (("trials", trials), ("seeds", seeds), ("jobs", jobs)):
        if value is not None and value < 1:
            raise UserError(f"expected {name} of 1 or more, got {value}")
    check_seed(seed)
    if sampler not in SAMPLERS:
        raise UserError(f"unknown sampler {sampler!r}{nearest(sampler, SAMPLERS)}")
    space = load_space(space) if isinstance(space, str) else space
    if max_params is not None or max_flops is not None:
        space = replace(space, max_params=max_params, max_macs=max_flops)
    pool = workers or open_workers(jobs, device, trial_timeout, scheduler)
    where = pool.place(device)
    proxy = proxy_of(by)  # now: its file may be another when all is ranked
    if proxy is not None and recipe is None:
        recipe = proxy_recipe(space, data)
    estimator = make_estimator(by, data, recipe, where)
    seeds = seeds if estimator.seeded else 1
    if pruner is not None and not isinstance(estimator, TrainingEstimator):
        raise UserError(f"{estimator.name} trains nothing that a pruner could stop")
    if pruner is not None and isinstance(pool, Cluster):
        raise UserError("a pruner keeps half-trained networks in a local folder: not on a cluster")
    if pruner is not None and sampler in STEERED and like is None:
        raise UserError(f"a pruner compares architectures drawn together: not with {sampler}")
    pruned = "none"
    if pruner is not None and isinstance(estimator, TrainingEstimator):
        rungs = make_rungs(estimator.epochs, rungs)
        pruned, pruner = f"{_named(pruner)} after {rungs} epochs", make_pruner(pruner)
    elif rungs:
        raise UserError("rungs are a pruner's; give one, such as halving")
    if sampler in STEERED and "components" in estimator.identity:
        raise UserError(f"{estimator.name} is only defined among others: it can't steer a search")
    identity = {
        "space": space.name,
        "space_sha256": space.sha256,
        "budget": f"{space.max_params or 'any'} parameters, {space.max_macs or 'any'} FLOPs",
        "seeds": seeds,
        "seed": seed,
        "pruner": pruned,
        **estimator.identity,
    }
    if estimator.needs_data and data is not None:
        identity |= {"dataset": data.name, "dataset_digest": data.digest}
    shape, classes = (data.input_shape, data.num_classes) if data else _ANY_IMAGES
    record = {
        "kind": estimator.kind,
        "cost": estimator.cost,
        "hardware": pool.hardware(where),
        "versions": versions(),
    }
    plan: list[Architecture] = []
    if like is not None or sampler not in STEERED:  # before a storage is made for nothing
        plan = _plan(space, shape, classes, trials, sampler, like, seed)
    opened = open_storage(storage) if isinstance(storage, str | None) else storage
    made = open_study(study, opened, identity, record, estimator.metric)
    if isinstance(pruner, BasePruner):
        made.pruner = pruner
    with contextlib.nullcontext() if workers else pool, Driver(made) as driver:
        scoring = _Scoring(
            made, driver, space, shape, classes, estimator, seeds, seed, pool, train_twins, rungs,
            progress,
        )  # fmt: skip
        if like is None and sampler in STEERED:
            scoring.steer(sampler, trials)
        else:
            scoring.score(plan)
    _require_a_score(made)
    annotate(made, {} if proxy is None else {"proxy set": partial(proxy.picture, data=data)})
    return made


def _plan(
    space: Space,
    input_shape: tuple[int, int, int],
    num_classes: int,
    trials: int,
    sampler: str,
    like: "optuna.Study | Sequence[Architecture] | None",
    seed: int,
) -> list[Architecture]:
    if isinstance(like, optuna.Study):
        return [
            architecture_of(trial)
            for trial in like.get_trials(deepcopy=False)
            if trial.state is TrialState.COMPLETE
            or trial.user_attrs.keys() & {"invalid", "broken", "missing", "stopped"}
        ]
    if like is not None:
        return list(like)
    if sampler == "all":
        return list(space.enumerate(input_shape, num_classes))
    return space.sample(trials, seed, input_shape, num_classes)


def architecture_of(trial: FrozenTrial) -> Architecture:
    """The architecture of a trial of ours."""
    attributes = trial.user_attrs
    for key in ("architecture", "drawn"):
        if not isinstance(attributes.get(key), str):
            raise UserError(f"trial {trial.number} has no {key}: its study is not of our making")
    return Architecture(
        trial.params,
        trial.distributions,
        key=attributes["architecture"],
        error=attributes.get("invalid"),
        drawn=attributes["drawn"],
    )


@dataclass
class _Scoring:
    """One study being filled."""

    study: optuna.Study
    driver: Driver
    space: Space
    input_shape: tuple[int, int, int]
    num_classes: int
    estimator: Estimator
    seeds: int
    seed: int
    workers: Workers
    train_twins: bool
    rungs: Sequence[int]  # epochs after which the study's pruner is asked
    show: bool
    _known: set[str] = field(default_factory=set)  # keys of architectures
    _invalid: set[str] = field(default_factory=set)  # those of them that can't be built
    _twins: dict[str, str] = field(default_factory=dict)  # key of the first of each canonical
    _waiting: int = 0  # trials of other drivers, as the progress has it
    _canonical: dict[str, str] = field(default_factory=dict)  # by key: it may take its time

    def score(self, plan: list[Architecture]) -> None:
        """Score every architecture of the plan that is not in the study yet."""
        buildable = [a for a in plan if a.error is None]
        label = f"ranking by {self.estimator.name}"
        with progress_bar(label, len(buildable), self._done(buildable), self.show) as bar:
            while True:
                left = self._learn()
                self._draw_again(plan)
                todo = {a.key: a for a in plan if a.key not in self._known}
                self._fill(left, list(todo.values()), bar)
                if self._done(plan) == len(plan):
                    return
                self._wait(bar)
                bar.update(self._done(buildable) - bar.n)

    def _done(self, plan: Iterable[Architecture]) -> int:
        """How many of the plan have ended, by whichever driver."""
        trials = self.study.get_trials(deepcopy=False)
        ended = {_key(t) for t in trials if t.state.is_finished() and _counts(t)}
        return sum(a.key in ended for a in plan)

    def _fill(self, left: list[Trial], todo: list[Architecture], bar: Any) -> None:
        """Score what a dead driver left and what of the plan no other driver comes to first."""
        if not self.estimator.seeded:
            self._score_at_once(todo, bar)
            return
        asked = (self._claim(a) for a in self._large_first(todo) if not self._has_twin(a))
        if self.rungs:
            self._climb(itertools.chain(left, filter(None, asked)), bar)
        else:
            self._run(itertools.chain(left, filter(None, asked)), bar)
        for architecture in todo:  # their twins are scored by now
            if architecture.key not in self._known:
                bar.update(int(self._copy(architecture)))

    def _wait(self, bar: Any) -> bool:
        """Give other drivers some time; whether there are any at work."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if len(running) != self._waiting:
            self._waiting = len(running)
            bar.set_postfix_str(f"waiting for {len(running)} at other drivers" if running else "")
        if running:
            time.sleep(POLL)
        return bool(running)

    def _large_first(self, plan: list[Architecture]) -> Iterator[Architecture]:
        """The plan block by block, the largest first in each: no worker ends long after others.

        Only within blocks, so that an interrupted study is a uniform draw but for its last one.
        """
        for first in range(0, len(plan), _BLOCK):
            yield from sorted(plan[first : first + _BLOCK], key=self._size, reverse=True)

    def _size(self, architecture: Architecture) -> int:
        """Its parameters: what it computes would have to be run, and might never come back."""
        if architecture.error is not None:
            return 0
        try:
            # no memory for weights: this is the driver's process
            with contained(), seeded(self.seed), torch.device("meta"):
                network = self._candidate(architecture.key, architecture.params).build()
                return count_params(network)
        except Exception:  # what is wrong will be said when it is scored
            return 0

    def _score_at_once(self, plan: Iterable[Architecture], bar: Any) -> None:
        """Scores that take no time: each goes into the storage whole, once it is known."""
        for architecture in plan:
            attributes: dict[str, Any] = {"architecture": architecture.key}
            attributes["drawn"] = architecture.drawn
            outcome: Outcome | None = None
            if architecture.error is not None:
                attributes["invalid"] = architecture.error
            else:
                candidate = self._candidate(architecture.key, architecture.params)
                outcome = score(self.estimator, candidate, self.seed)
                bar.update()
            self._add(architecture, attributes, outcome)

    def _add(
        self,
        architecture: Architecture,
        attributes: dict[str, Any],
        outcome: Outcome | None,
        by_epoch: dict[int, float] | None = None,
        again: bool = False,
    ) -> None:
        """Record what is known already, unless another driver has done so."""
        if isinstance(outcome, str):  # what a table lacks may still be a good architecture
            attributes["missing" if self.estimator.kind == "table" else "broken"] = outcome
        elif outcome is not None:
            attributes |= {k: float(v) for k, v in outcome.items() if k != "score"}
        good = isinstance(outcome, dict) and "stopped" not in attributes
        trial_id = self.driver.claim(architecture, attributes, by_epoch, again)
        self._known.add(architecture.key)
        if trial_id is not None:
            state = TrialState.COMPLETE if good else TrialState.PRUNED
            value = float(outcome["score"]) if good else None  # type: ignore[index]
            self.driver.end(trial_id, state, value)

    def _has_twin(self, architecture: Architecture) -> bool:
        """Whether an isomorphic architecture is, or is about to be, in the study."""
        if self.train_twins or self.estimator.kind == "free" or architecture.error is not None:
            return False
        canonical = self.space.canonical(architecture.params)
        twin = self._twins.setdefault(canonical, architecture.key)
        return twin != architecture.key

    def _copy(self, architecture: Architecture) -> bool:
        """Give an architecture the score of its twin, which computes the same; whether it could."""
        key = self._twins[self.space.canonical(architecture.params)]
        trials = self.study.get_trials(deepcopy=False)
        twin = next((t for t in trials if _key(t) == key and has_result(t)), None)
        if twin is None:  # another driver is at it
            return False
        self._add_as(architecture, twin, twin=key)
        return True

    def _add_as(
        self, architecture: Architecture, other: FrozenTrial, again: bool = False, **more: Any
    ) -> None:
        """Record an architecture with the score of another trial; its size is its own."""
        attributes = {k: v for k, v in other.user_attrs.items() if k != "driver"}
        attributes |= {"architecture": architecture.key, "drawn": architecture.drawn, **more}
        if "params" in attributes:
            with seeded(self.seed):
                network = self._candidate(architecture.key, architecture.params).build()
            attributes["params"] = float(count_params(network))
            if "macs" in attributes:
                attributes["macs"] = float(count_macs(network, self._shape))
        outcome: Outcome = attributes.get("broken") or {"score": float(other.value or 0.0)}
        self._add(architecture, attributes, outcome, other.intermediate_values, again)

    def _draw_again(self, plan: Iterable[Architecture]) -> None:
        """Uniform draws that a search had come to: their scores count as drawn uniformly too.

        Without them the draws that a correlation sees would lack what the search liked.
        """
        trials = self.study.get_trials(deepcopy=False)
        blind = {_key(t) for t in trials if t.user_attrs.get("drawn") in UNBIASED and _counts(t)}
        steered = {
            _key(t): t
            for t in trials
            if t.user_attrs.get("drawn") not in UNBIASED and has_result(t)
        }
        for architecture in plan:
            key = architecture.key
            if architecture.drawn in UNBIASED and key in steered and key not in blind:
                self._add_as(architecture, steered[key], again=True)

    def steer(self, sampler: str, trials: int) -> None:
        """Let a sampler ask, a batch at a time, until the study holds `trials` architectures."""
        label = f"searching by {self.estimator.name}"
        with progress_bar(label, trials, 0, self.show) as bar:
            idle = 0
            while True:
                left = self._learn()
                bar.update(self._buildable() - len(left) - bar.n)
                self._run(iter(left), bar)
                if idle < _PATIENCE and self._buildable() < trials:
                    before = len(self._known)
                    self._run(iter(self._ask_some(sampler, trials)), bar)
                    idle = idle + 1 if len(self._known) == before else 0
                elif not self._wait(bar):
                    return

    def _learn(self) -> list[Trial]:
        """Learn what the study holds; what dead drivers left is taken over."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self.driver.end(trial._trial_id, TrialState.FAIL)  # not ours: nothing here waits
        trials = self.study.get_trials(deepcopy=False)
        self.driver.learn(trials)
        left: list[Trial] = []
        for trial in reversed(self.driver.left_by_others(trials)):  # the first of several is kept
            if _ENDINGS & trial.user_attrs.keys():
                self.driver.end(trial._trial_id, TrialState.PRUNED, _last(trial))
            elif not self._can_go_on(trial):
                self.driver.end(trial._trial_id, TrialState.FAIL)
            else:
                left.insert(0, Trial(self.study, trial._trial_id))
        self._known, self._invalid, self._twins = set(), set(), {}
        for trial in self.study.get_trials(deepcopy=False):
            key = _key(trial)
            if key is None or not _counts(trial):
                continue
            self._known.add(key)
            if "invalid" in trial.user_attrs:
                self._invalid.add(key)
            elif not trial.state.is_finished() or has_result(trial):
                if key not in self._canonical:
                    self._canonical[key] = self.space.canonical(trial.params)
                self._twins.setdefault(self._canonical[key], key)
        return left

    def _buildable(self) -> int:
        return len(self._known) - len(self._invalid)

    def _can_go_on(self, trial: FrozenTrial) -> bool:
        """Whether a dead driver's trial is worth going on with; what was a copy is copied anew."""
        try:
            named = self.space.key(trial.params) == trial.user_attrs["architecture"]
        except Exception:  # it died before all was stored
            return False
        if not named or not self.estimator.seeded or "twin" in trial.user_attrs:
            return False
        return self.driver.is_alone(trial._trial_id, trial.user_attrs["architecture"])

    def _claim(self, architecture: Architecture) -> Trial | None:
        """A running trial for a given architecture; None if it is another's or can't be built."""
        invalid = {} if architecture.error is None else {"invalid": architecture.error}
        trial_id = self.driver.claim(architecture, invalid)
        self._known.add(architecture.key)
        if trial_id is None:
            return None
        if invalid:
            self._invalid.add(architecture.key)
            self.driver.end(trial_id, TrialState.PRUNED)
            return None
        return Trial(self.study, trial_id)

    def _ask_some(self, sampler: str, trials: int) -> list[Trial]:
        """A batch of running trials that the sampler chose, without known or invalid ones."""
        asked: list[Trial | None] = []
        steering: BaseSampler | None = None
        while len(asked) < _BATCH:
            self._known |= self.driver.names()
            if self._buildable() >= trials:
                break
            trial_id = self.driver.start({"drawn": sampler})
            if steering is None:  # seeded by a number that no other driver gets
                number = self.study._storage.get_trial(trial_id).number
                steering = STEERED[sampler]((self.seed * 1_000_003 + number) % 2**32)
            asked.append(self._ask(trial_id, steering))
        return [trial for trial in asked if trial is not None]

    def _ask(self, trial_id: int, sampler: BaseSampler) -> Trial | None:
        """Let a sampler choose what a trial is of; None if it is known or can't be built."""
        storage = self.study._storage
        fresh = optuna.load_study(  # its cache of trials lasts for one trial
            study_name=self.study.study_name, storage=storage, sampler=sampler
        )
        trial = Trial(fresh, trial_id)
        architecture = self.space.trace(trial, self.input_shape, self.num_classes)
        known = architecture.key in self._known or self._has_twin(architecture)
        if known:
            trial.set_user_attr("duplicate", True)  # first: what is named has the name
        trial.set_user_attr("architecture", architecture.key)
        if known or not self.driver.is_alone(trial_id, architecture.key):
            self._prune(trial, "duplicate", True)
            return None
        self._known.add(architecture.key)
        if architecture.error is not None:
            self._invalid.add(architecture.key)
            self._prune(trial, "invalid", architecture.error)
            return None
        return trial

    def _prune(
        self, trial: Trial, attribute: str, why: str | float, value: float | None = None
    ) -> None:
        with contextlib.suppress(Ended):
            trial.set_user_attr(attribute, why)
        self.driver.end(trial._trial_id, TrialState.PRUNED, value)

    def _climb(self, trials: Iterable[Trial], bar: Any) -> None:
        """Train all trials to each rung, stop those that the pruner names, and finish the rest."""
        alive: list[Trial] = []
        folder = self.workers.folder
        assert isinstance(self.estimator, TrainingEstimator)

        def below(rung: int, trials: Iterable[Trial]) -> Iterator[Trial]:
            for trial in trials:
                alive.append(trial)
                if rung not in _by_epoch(self.study, trial):
                    yield trial

        for rung in self.rungs:
            estimator = self.estimator.up_to(rung, folder)
            self._run(below(rung, trials), bar, rung, estimator)
            while not self._all_are_at(rung):
                left = self._stop_low(self._learn(), range(rung), bar)
                self._run(below(rung, left), bar, rung, estimator)
                if not self._all_are_at(rung):
                    self._wait(bar)
            alive = [trial for trial in alive if not _is_finished(self.study, trial)]
            alive.sort(key=lambda trial: trial.number)
            trials, alive = self._stop_low(alive, [rung], bar), []
        self._run(iter(trials), bar, None, self.estimator.up_to(None, folder))

    def _all_are_at(self, rung: int) -> bool:
        """Whether no trial of any driver has yet to come to a rung: all are judged together."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return all(rung in trial.intermediate_values for trial in running)

    def _stop_low(self, trials: list[Trial], rungs: Collection[int], bar: Any) -> list[Trial]:
        """Stop what the pruner names among those whose last rung is one of `rungs`; the others."""
        low = [
            trial
            for trial in trials
            if max(_by_epoch(self.study, trial), default=-1) in rungs and trial.should_prune()
        ]  # all are judged before any is stopped
        for trial in low:
            by_epoch = _by_epoch(self.study, trial)
            self._prune(trial, "stopped", max(by_epoch), by_epoch[max(by_epoch)])
            bar.update()
        return [trial for trial in trials if trial not in low]

    def _run(
        self,
        trials: Iterator[Trial],
        bar: Any,
        rung: int | None = None,
        estimator: Estimator | None = None,
    ) -> None:
        """Score trials as workers come free, each seed by itself, and tell when all are in.

        At a rung, that is before all epochs, trials report and go on running.
        """
        scores: dict[int, dict[int, Outcome]] = {}  # by trial number and seed
        tasks = self._tasks(trials, bar)
        for trial, k, outcome in self._outcomes(estimator or self.estimator, tasks):
            of_trial = scores.setdefault(trial.number, self._stored(trial))
            of_trial[k] = outcome
            if rung is None:
                self._store(trial, k, outcome)
            if len(of_trial) == self.seeds:
                ended = self._tell(trial, [of_trial[i] for i in range(self.seeds)], rung)
                del scores[trial.number]
                bar.update(int(ended))

    def _outcomes(
        self, estimator: Estimator, tasks: Iterator[tuple[Trial, int]]
    ) -> Iterator[tuple[Trial, int, Outcome]]:
        """Outcomes of tasks, a trial and a seed each, in the order in which they come in.

        When a worker dies, all that was under way is lost. Each of these is then done again by
        itself, since only what dies alone is known to be the cause.
        """
        running: dict[Future[Outcome], tuple[Trial, int]] = {}
        suspects: deque[tuple[Trial, int]] = deque()
        deaths: Counter[tuple[int, int]] = Counter()
        while True:
            if suspects and not running:
                trial, k = suspects.popleft()
                running[self._submit(estimator, trial, k)] = trial, k
            elif not suspects:
                room = 2 * self.workers.jobs - len(running)  # one more each, ready when it is done
                for trial, k in itertools.islice(tasks, max(room, 0)):
                    running[self._submit(estimator, trial, k)] = trial, k
            if not running:
                return
            alone = len(running) == 1
            for future in self.workers.wait(running):
                trial, k = running.pop(future)
                error = future.exception()
                if isinstance(error, UserError):
                    raise error
                if error is None:
                    yield trial, k, future.result()
                    continue
                deaths[trial.number, k] += alone
                late = self.workers.overran(trial.user_attrs["architecture"], self.seed + k)
                if late is not None:
                    yield trial, k, late
                elif deaths[trial.number, k] == ATTEMPTS:
                    yield trial, k, DIED
                else:
                    suspects.append((trial, k))

    def _tasks(self, trials: Iterator[Trial], bar: Any) -> Iterator[tuple[Trial, int]]:
        for trial in trials:
            stored = self._stored(trial)
            if len(stored) == self.seeds:  # its driver died with nothing left but to tell
                self._tell(trial, [stored[k] for k in range(self.seeds)])
                bar.update()
            yield from ((trial, k) for k in range(self.seeds) if k not in stored)

    def _submit(self, estimator: Estimator, trial: Trial, k: int) -> "Future[Outcome]":
        candidate = self._candidate(trial.user_attrs["architecture"], trial.params)
        return self.workers.submit(estimator, candidate, self.seed + k)

    def _candidate(self, key: str, params: dict[str, Any]) -> Candidate:
        return Candidate(key, partial(self.space.build, params, self._shape, self.num_classes))

    @property
    def _shape(self) -> tuple[int, int, int]:
        """What networks are built for: a recipe may bring images to another size."""
        if isinstance(self.estimator, TrainingEstimator):
            return self.estimator.input_shape
        return self.input_shape

    def _stored(self, trial: Trial) -> dict[int, Outcome]:
        """Seeds finished before an interruption."""
        found: dict[int, Outcome] = {}
        if self.seeds == 1:
            return found
        attributes = trial.user_attrs
        for k in range(self.seeds):
            end = f"_seed{k}"
            if f"score{end}" in attributes:
                found[k] = {
                    name.removesuffix(end): value
                    for name, value in attributes.items()
                    if name.endswith(end)
                }
        return found

    def _store(self, trial: Trial, k: int, outcome: Outcome) -> None:
        """Keep one seed of several; the score comes last: it says that all is there."""
        if self.seeds > 1 and not isinstance(outcome, str):
            names = (name for name in outcome if "@" not in name)
            with contextlib.suppress(Ended):
                for name in sorted(names, key=lambda name: name == "score"):
                    trial.set_user_attr(f"{name}_seed{k}", float(outcome[name]))

    def _tell(self, trial: Trial, outcomes: list[Outcome], rung: int | None = None) -> bool:
        """Record the mean over the seeds; at a rung it is reported. Whether the trial ended."""
        wrong = [outcome for outcome in outcomes if isinstance(outcome, str)]
        good: list[Scores] = [outcome for outcome in outcomes if not isinstance(outcome, str)]
        if not wrong and not all(math.isfinite(outcome["score"]) for outcome in good):
            wrong = ["the score is NaN or infinite"]
        if wrong:
            self._prune(trial, "broken", wrong[0])
            return True
        before = trial.user_attrs.get("seconds", 0.0) if self.rungs else 0.0
        score = sum(outcome["score"] for outcome in good) / len(good)
        with contextlib.suppress(Ended):
            for name in sorted(set.intersection(*(set(outcome) for outcome in good)) - {"score"}):
                mean = sum(outcome[name] for outcome in good) / len(good)
                _, curve, epoch = name.partition("@")
                if curve and not self.rungs:
                    trial.report(mean, int(epoch))
                elif math.isfinite(mean) and not curve:
                    trial.set_user_attr(name, mean + before if name == "seconds" else mean)
            if len(good) > 1:
                squares = sum((outcome["score"] - score) ** 2 for outcome in good)
                trial.set_user_attr("spread", math.sqrt(squares / (len(good) - 1)))
            if rung is not None:
                trial.report(score, rung)
                return False
        self.driver.end(trial._trial_id, TrialState.COMPLETE, score)
        return True


def _named(pruner: str | BasePruner) -> str:
    """A pruner in words that are the same for the same pruner."""
    if isinstance(pruner, str):
        return pruner
    options = ",".join(f"{k.lstrip('_')}={v}" for k, v in sorted(vars(pruner).items()))
    return f"{type(pruner).__name__}({options})"


def _by_epoch(study: optuna.Study, trial: Trial) -> dict[int, float]:
    return study._storage.get_trial(trial._trial_id).intermediate_values


def _is_finished(study: optuna.Study, trial: Trial) -> bool:
    return study._storage.get_trial(trial._trial_id).state.is_finished()


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(multivariate=True, constant_liar=True, seed=seed)


def _key(trial: FrozenTrial) -> str | None:
    return trial.user_attrs.get("architecture")


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial is what its architecture has come to, or will."""
    return trial.state is not TrialState.FAIL and "duplicate" not in trial.user_attrs


def _last(trial: FrozenTrial) -> float | None:
    """What was reported last: the value of a trial that was stopped, as `study.tell` has it."""
    return None if trial.last_step is None else trial.intermediate_values[trial.last_step]


def has_result(trial: FrozenTrial) -> bool:
    """Whether a trial says how its architecture does: by a score, or why it has none."""
    if trial.state is TrialState.PRUNED:
        return bool(trial.user_attrs.keys() & {"broken", "stopped"})
    return trial.state is TrialState.COMPLETE


def scored(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that have a score."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _require_a_score(study: optuna.Study) -> None:
    if scored(study):
        return
    reasons: Iterable[Any] = (
        next((trial.user_attrs[k] for k in _REASONS if k in trial.user_attrs), None)
        for trial in study.get_trials(deepcopy=False)
    )
    first = next(filter(None, reasons), "none was drawn")
    raise UserError(f"study {study.study_name!r}: no architecture has a score; the first: {first}")
