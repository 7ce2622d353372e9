"""Does successive halving on a proxy find the same first five for less training?

The exhaustive ranking is made first, so that its first five are known; halving then ranks the
same architectures on the same proxy set, with two processes.
"""

from collections.abc import Sequence

import optuna

import nasproxy
from benchmarks.results import Figure, of_rounds
from benchmarks.sides import apart, photographs
from nasproxy.training.recipe import PROXY_RECIPE, Recipe

SPACE = "convnet_small"
PRUNER = "halving"
TARGET = 0.5  # of the exhaustive ranking's time
FIRST = 5


def measure(name: str, quick: bool, root: str) -> Figure:
    """Share of the exhaustive training's epochs, 1 for a round that misses one of the first."""
    # the rungs were chosen on the draws of seeds 0 and 1
    seeds = (12,) if quick else (10, 11, 12)
    found = [apart(_round, quick, seed, root) for seed in seeds]
    shares = [epochs if hits == FIRST else 1.0 for epochs, _, hits, _ in found]
    figure, n, spread = of_rounds(shares)
    details = "; ".join(
        f"{epochs:.0%} of the epochs, {seconds:.0%} of the seconds, {hits} of the first {FIRST}, "
        f"{100 * regret:.1f} points of accuracy lost on the first"
        for epochs, seconds, hits, regret in found
    )
    return Figure(
        name=name,
        figure=figure,
        target=TARGET,
        unit=f"of the exhaustive training's epochs for the same first {FIRST}",
        better="less",
        n=n,
        spread=spread,
        note=f"{PRUNER}, {SPACE}, {'digits' if quick else 'CIFAR-10'}; by round: {details}",
    )


def _round(quick: bool, seed: int, root: str) -> tuple[float, float, int, float]:
    """Shares of the epochs and of the seconds, how many of the first are found, accuracy lost."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data = nasproxy.load_dataset("digits") if quick else photographs(root)
    proxy = nasproxy.condense(data, "random", ipc=10 if quick else 20, seed=seed)
    recipe = Recipe(**{**vars(PROXY_RECIPE), "epochs": 60})
    whole, halved = (
        nasproxy.rank(
            SPACE, proxy, data=data, recipe=recipe, trials=40, seed=seed, jobs=2, pruner=pruner
        )
        for pruner in (None, PRUNER)
    )
    epochs, seconds = (
        _sum(halved.trials, name) / _sum(whole.trials, name) for name in ("epochs", "seconds")
    )
    first, others = _first(whole.trials), _first(halved.trials)
    # of equals at the fifth place, any will do: compare accuracies, not names
    hits = sum(a <= b for a, b in zip(first, others, strict=True))
    return epochs, seconds, hits, first[0] - others[0]


def _sum(trials: Sequence[optuna.trial.FrozenTrial], name: str) -> float:
    return sum(trial.user_attrs.get(name, 0.0) for trial in trials)


def _first(trials: Sequence[optuna.trial.FrozenTrial]) -> list[float]:
    """Accuracies of the first, best first; zero for what was not found."""
    values = sorted((t.value for t in trials if t.value is not None), reverse=True)
    return (values + [0.0] * FIRST)[:FIRST]
