"""What does a trial cost besides training, and does it grow with the study?

A study in sqlite is filled with trials as ours are, and then goes on for 100 more with an
estimator that builds the network but does not train it. What is left is drawing, storing, and the
traffic to the worker processes, in seconds of a core; beside a trial of two seconds it is a
fraction. The validation of a trained network is part of its score, and is not counted here.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

import nasproxy
from benchmarks.results import Figure, of_rounds
from benchmarks.sides import Stopwatch, apart
from nasproxy.estimators.estimator import Estimator
from nasproxy.studies.storage import open_storage
from nasproxy.system.machine import seeded
from nasproxy.workers.local import Workers
from nasproxy.workers.task import Candidate, Scores

SPACE = "nasbench201:C=8,N=1"
SHAPE, CLASSES = (3, 32, 32), 10
TRIAL = 2.0  # seconds
TARGETS = {1_000: 0.05, 15_000: 0.10}  # fraction of a trial, by trials in the study
MORE = 100  # trials that are timed


@dataclass(frozen=True)
class Untrained(Estimator):
    """An estimator that builds its network and says what a trained one would."""

    name = "untrained"
    needs_data = False
    copies_twins = True

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        start = time.perf_counter()
        with seeded(seed):
            candidate.build()
        return _scores(time.perf_counter() - start)


def _scores(seconds: float) -> Scores:
    names = ("score", "loss", "train_loss", "params", "macs", "latency")
    return {**dict.fromkeys(names, 0.5), "seconds": seconds}


def measure(name: str, quick: bool, root: str) -> Figure:
    """Fraction of a two-second trial; the figure is for 1,000 trials, the note has 15,000."""
    rounds = 1 if quick else 3
    sizes = {1_000: TARGETS[1_000], 3_000: TARGETS[15_000]} if quick else TARGETS
    found = {n: apart(_seconds, n, rounds) for n in sizes}
    fractions = {n: [s / TRIAL for s in some["seconds"]] for n, some in found.items()}
    small, large = sizes
    figure, n, spread = of_rounds(fractions[small])
    grown, _, grown_spread = of_rounds(fractions[large])
    # one figure for both promises: the one that is nearer to its limit, on the first one's scale
    worst = max(figure, grown * sizes[small] / sizes[large])
    going_on = found[large]["going_on"]
    return Figure(
        name=name,
        figure=worst,
        target=sizes[small],
        unit=f"of a {TRIAL:.0f} s trial at {small:,} trials (twice that allowed at {large:,})",
        better="less",
        n=n,
        spread=spread,
        note=(
            f"{figure:.1%} at {small:,} trials and {grown:.1%} at {large:,} (spread "
            f"{100 * (grown_spread or 0):.1f} points), each over {MORE} more trials by two "
            f"processes; drawing {large:,} architectures and opening their study took "
            f"{going_on:.1f} s once"
        ),
    )


def _seconds(n: int, rounds: int) -> dict[str, Any]:
    """Seconds of a core per trial in a study of `n`, and those of going on with it at all."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = []
    with tempfile.TemporaryDirectory() as folder, Workers(2) as workers:
        storage = f"sqlite:///{Path(folder) / 'study.db'}"
        space = nasproxy.load_space(SPACE)
        _rank(space, storage, workers, 2)  # the workers have started, the study has its identity
        _fill(space, storage, n)
        for k in range(rounds):
            done = n + k * (1 + MORE)
            _, going_on = _rank(space, storage, workers, done + 1)
            study, seconds = _rank(space, storage, workers, done + 1 + MORE)
            building = sum(t.user_attrs["seconds"] for t in study.trials[-MORE:]) / MORE
            found.append((seconds - going_on) / MORE + building)
    return {"seconds": found, "going_on": going_on}


def _rank(
    space: nasproxy.Space, storage: str, workers: Workers, trials: int
) -> tuple[optuna.Study, float]:
    watch = Stopwatch()
    study = nasproxy.rank(
        space, Untrained(), trials=trials, study="a", storage=storage, workers=workers,
        train_twins=True,
    )  # fmt: skip
    return study, watch.seconds


def _fill(space: nasproxy.Space, url: str, n: int) -> None:
    """Add the first `n` architectures of the draw as finished trials."""
    study = optuna.load_study(study_name="a", storage=open_storage(url))
    attributes: dict[str, Any] = {k: v for k, v in _scores(2.0).items() if k != "score"}
    done = len(study.trials)
    study.add_trials(
        optuna.trial.create_trial(
            value=0.5,
            params=a.choices,
            distributions=a.distributions,
            user_attrs={"architecture": a.key, "drawn": a.drawn, "driver": "a:1", **attributes},
        )
        for a in space.sample(n, 0, SHAPE, CLASSES)[done:]
    )
