"""ProxySampler as any user of Optuna has it: every objective, every way of asking."""

import math
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import nasproxy
from nasproxy import ProxySampler, UserError

SPACE = '''"""Up to eight layers, or a flat network: what is asked depends on the first choice."""
from torch import nn


def build(trial, input_shape, num_classes):
    size = input_shape[0] * input_shape[1] * input_shape[2]
    kind = trial.suggest_categorical("kind", ["deep", "flat"])
    if kind == "flat":
        width = trial.suggest_int("width", 1, 64, log=True)
        return nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.Linear(width, num_classes))
    layers = [nn.Flatten()]
    for _ in range(trial.suggest_int("depth", 1, 8)):
        layers += [nn.Linear(size, size), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(size, num_classes))
'''


@pytest.fixture
def space(tmp_path: Path) -> nasproxy.Space:
    path = tmp_path / "conditional.py"
    path.write_text(SPACE)
    return nasproxy.load_space(str(path))


def truth(params: dict) -> float:
    """Deep is better, and wide."""
    return params["depth"] if params["kind"] == "deep" else math.log(params["width"]) / 3


def objective(space: nasproxy.Space):
    def build_and_judge(trial: optuna.Trial) -> float:
        space.module.build(trial, (1, 2, 2), 3)
        trial.suggest_float("lr", 1e-4, 1e-1, log=True)  # no part of the architecture
        return truth(trial.params)

    return build_and_judge


def make(space, data, **more) -> ProxySampler:
    return ProxySampler(space, data, ["params", "flops"], **{"pool": 40, "jobs": 1, **more})


def test_it_finds_the_best_in_a_few(space, data) -> None:
    study = optuna.create_study(direction="maximize", sampler=make(space, data))
    study.optimize(objective(space), n_trials=6)
    assert study.best_value == 8
    assert {t.user_attrs["drawn"] for t in study.trials} == {"surrogate", "blind"}
    keys = [tuple(v for k, v in t.params.items() if k != "lr") for t in study.trials]
    assert len(set(keys)) == 6
    assert len({t.params["lr"] for t in study.trials}) == 6


def test_minimising_is_the_mirror_image(space, data) -> None:
    up = optuna.create_study(direction="maximize", sampler=make(space, data))
    down = optuna.create_study(direction="minimize", sampler=make(space, data))
    up.optimize(objective(space), n_trials=5)
    down.optimize(lambda trial: -objective(space)(trial), n_trials=5)
    assert [t.params for t in up.trials] == [t.params for t in down.trials]


def test_ask_and_tell_several_at_once(space, data) -> None:
    study = optuna.create_study(direction="maximize", sampler=make(space, data))
    for _ in range(3):
        trials = [study.ask() for _ in range(3)]
        for trial in trials:
            study.tell(trial, objective(space)(trial))
    chosen = {t.system_attrs["nasproxy:pick"] for t in study.trials}
    assert len(chosen) == 9
    assert study.best_value == 8


def test_several_jobs_share_a_storage(space, data, tmp_path: Path) -> None:
    study = optuna.create_study(
        direction="maximize", sampler=make(space, data), storage=f"sqlite:///{tmp_path / 's.db'}"
    )
    study.optimize(objective(space), n_trials=8, n_jobs=4)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 8
    assert study.best_value == 8


def test_what_fails_counts_as_seen_and_bad(space, data) -> None:
    def failing(trial: optuna.Trial) -> float:
        value = objective(space)(trial)
        if trial.params["kind"] == "deep":
            raise RuntimeError("no memory")
        return value

    study = optuna.create_study(direction="maximize", sampler=make(space, data))
    study.optimize(failing, n_trials=12, catch=RuntimeError)
    failed = [t for t in study.trials if t.state is TrialState.FAIL]
    assert failed and len(failed) < 9  # it learns to stay away from what breaks
    chosen = [t.system_attrs["nasproxy:pick"] for t in study.trials]
    assert len(set(chosen)) == 12


def test_trials_of_another_sampler_count(space, data) -> None:
    study = optuna.create_study(direction="maximize", sampler=make(space, data))
    study.enqueue_trial({"kind": "deep", "depth": 8})
    study.optimize(objective(space), n_trials=4)
    assert sum(t.params.get("depth") == 8 for t in study.trials) == 1


def test_when_all_have_been_tried(tiny_space, data) -> None:
    study = optuna.create_study(sampler=make(tiny_space, data))

    def build(trial: optuna.Trial) -> float:
        tiny_space.module.build(trial, data.input_shape, 3)
        return 1.0

    study.optimize(build, n_trials=5)  # one of the six can't be built
    with pytest.raises(UserError, match="all 5 architectures"):
        build(study.ask())


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"pool": 1}, "pool of 2 or more"),
        ({"seed": -1}, "expected a seed"),
        ({"scores": ["nonsense"]}, "unknown estimator"),
        ({"scores": ["table:nowhere.csv:x"]}, "no such table"),
    ],
)
def test_bad_input_is_one_line(space, data, arguments, said) -> None:
    with pytest.raises(UserError, match=said):
        study = optuna.create_study(sampler=ProxySampler(space, data, **arguments))
        study.optimize(objective(space), n_trials=1)


def test_two_objectives_are_refused(space, data) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=make(space, data))
    with pytest.raises(UserError, match="one objective"):
        objective(space)(study.ask())
