"""The search as an Optuna sampler: any objective, ask and tell, several jobs or processes."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nasproxy.data.dataset import Dataset, as_dataset
from nasproxy.errors import UserError
from nasproxy.searches.encoding import encode
from nasproxy.searches.pareto import places
from nasproxy.searches.pool import Pool, check_pool, draw_pool
from nasproxy.searches.scoring import FREE, Scoring
from nasproxy.searches.surrogate import Belief, Pick, Surrogate
from nasproxy.spaces.space import Space, as_space
from nasproxy.studies.plan import built_for
from nasproxy.studies.record import DRAWN
from nasproxy.system.machine import check_seed
from nasproxy.workers.dask import open_workers

_PICK = "nasproxy:pick"  # system attribute: which architecture of the pool a trial is of


class Chooser:
    """Chooses from a pool, given the truth of some; the same for the same, in any process.

    Args:
        pool: with its cheap scores.
        seed: of the few that are drawn.
    """

    def __init__(self, pool: Pool, seed: int) -> None:
        self.pool, self._seed = pool, seed
        choices = encode(
            [a.choices for a in pool.architectures], [a.distributions for a in pool.architectures]
        )
        where = None if pool.costs is None else places(pool.costs)
        self._surrogate = Surrogate(pool.scores, choices, list(pool.kinds.values()), where)

    def believe(self, truth: Mapping[int, float]) -> Belief:
        """What the truth of some, by index, says of all; what isn't finite broke."""
        return self._surrogate.fit(list(truth), list(truth.values()))

    def choose(self, belief: Belief, pending: Collection[int]) -> Pick | None:
        """The next to train; None where all of the pool are known or being trained."""
        generator = np.random.default_rng([self._seed, len(belief.known) + len(pending)])
        picks = belief.choose(1, sorted(pending), generator)
        return picks[0] if picks else None


class ProxySampler(BaseSampler):
    """Suggests the architectures of a space that are worth a full training.

    A pool is drawn uniformly and scored by what is cheap, once, when the first trial asks; from
    then on every trial is the architecture that a surrogate over all cheap rankings thinks worth
    the most, given what has come out so far. The objective builds it as the space does, from
    ``trial.suggest_...``, and trains it however it likes; a trial that fails counts as bad.

    Args:
        space: a search space or its name.
        data: a data set or its name; what a table scores does without.
        scores: what the pool is scored by, as `rank` takes it: free scores, proxy sets' files,
            ``table:FILE:COLUMN``.
        pool: architectures that are drawn.
        seed: of the pool and of what is drawn from it.
        jobs: worker processes for the scores; by default one a core.
        device: for the scores: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UserError: the space, the data or a score is not there.
    """

    def __init__(
        self,
        space: Space | str,
        data: Dataset | str | None = None,
        scores: Sequence[str] = FREE,
        pool: int = 1000,
        seed: int = 0,
        jobs: int | None = None,
        device: str = "auto",
    ) -> None:
        check_seed(seed)
        check_pool(pool)
        self._space, self._size, self._seed = as_space(space), pool, seed
        self._data = None if data is None else as_dataset(data)
        self._scores, self._jobs, self._device = tuple(scores), jobs, device
        self._chooser: Chooser | None = None
        self._index: dict[str, int] = {}
        self._blind = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Choose the trial's architecture: its parameters are what is suggested."""
        chooser = self._prepared()
        truth, pending = self._seen(study, trial)
        pick = chooser.choose(chooser.believe(truth), pending)
        if pick is None:
            raise UserError(f"all {len(chooser.pool)} architectures of the pool have been tried")
        storage = study._storage
        storage.set_trial_system_attr(trial._trial_id, _PICK, pick.index)
        storage.set_trial_user_attr(trial._trial_id, DRAWN, pick.by)
        return dict(chooser.pool.architectures[pick.index].distributions)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """The parameters of the architecture that was chosen."""
        index = study._storage.get_trial(trial._trial_id).system_attrs[_PICK]
        return dict(self._prepared().pool.architectures[index].choices)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """What is no parameter of the architecture, such as a learning rate, is drawn blindly."""
        return self._blind.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Optuna's wish where it runs several jobs: only what is drawn blindly heeds it."""
        self._blind.reseed_rng()

    def _prepared(self) -> Chooser:
        if self._chooser is None:
            pool = draw_pool(self._space, *built_for(self._data), self._size, self._seed)
            with open_workers(self._jobs, self._device, None, None) as workers:
                where = workers.place(self._device)
                scoring = Scoring(self._space, self._data, workers, where, self._seed)
                scoring.add(pool, self._scores)
            self._index = {_key(a.choices): i for i, a in enumerate(pool.architectures)}
            self._chooser = Chooser(pool, self._seed)
        return self._chooser

    def _seen(self, study: optuna.Study, trial: FrozenTrial) -> tuple[dict[int, float], set[int]]:
        """The truth so far by index, and what other trials are at."""
        if len(study.directions) > 1:
            raise UserError("expected a study of one objective, got several")
        sign = 1.0 if study.direction is StudyDirection.MAXIMIZE else -1.0
        truth: dict[int, list[float]] = {}
        pending: set[int] = set()
        for other in study.get_trials(deepcopy=False):
            index = other.system_attrs.get(_PICK, self._index.get(_key(other.params)))
            if index is None or other._trial_id == trial._trial_id:
                continue
            if not other.state.is_finished():
                pending.add(index)
            elif other.state is TrialState.COMPLETE:
                truth.setdefault(index, []).append(sign * (other.value or 0.0))
            else:  # it broke, or a pruner found it bad
                truth.setdefault(index, []).append(-math.inf)
        means = {index: sum(values) / len(values) for index, values in truth.items()}
        return means, pending - means.keys()


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(dict(params), sort_keys=True, default=repr)
