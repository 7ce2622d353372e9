"""Stopping early: the same survivors whoever works, and the same scores as without it."""

import itertools
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

import nasproxy
from nasproxy import Recipe, UserError
from nasproxy.report.sources import scores_among, unbiased_trials
from nasproxy.studies.ledger import Ledger
from nasproxy.studies.record import Record
from nasproxy.studies.rungs import Halving, make_rungs
from nasproxy.training.convnet import ConvNet
from nasproxy.training.training import Training
from nasproxy.workers.local import Workers
from tests.conftest import make_arrays

RECIPE = Recipe(epochs=9, batch_size=20, lr=0.02, augment="crop")
SPACE = '''"""Thirty networks, of which those of width 13 break while they train."""
import torch
from torch import nn


class Breaks(nn.Module):
    def forward(self, x):
        return x * (torch.nan if self.training else 1)


def build(trial, input_shape, num_classes):
    width = trial.suggest_categorical("width", [1, 2, 3, 5, 8, 13])
    drop = trial.suggest_categorical("drop", [0.0, 0.1, 0.3, 0.5, 0.7])
    size = input_shape[0] * input_shape[1] * input_shape[2]
    layers = [nn.Flatten(), nn.Linear(size, width), nn.ReLU(), nn.Dropout(drop)]
    if width == 13:
        layers.append(Breaks())
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
'''


@pytest.fixture
def space(tmp_path: Path) -> nasproxy.Space:
    path = tmp_path / "thirty.py"
    path.write_text(SPACE)
    return nasproxy.load_space(str(path))


def _rank(space, data, **more) -> optuna.Study:
    return nasproxy.rank(
        space, "full", data=data, recipe=RECIPE, **{"sampler": "all", "jobs": 1, **more}
    )


def _ends(study: optuna.Study) -> dict[str, tuple]:
    """How each architecture ended: state, score, last epoch."""
    return {
        t.user_attrs["architecture"]: (
            t.state.name,
            t.value,
            t.user_attrs.get("stopped"),
            tuple(t.intermediate_values.items()),
        )
        for t in study.trials
        if t.state is not TrialState.FAIL
    }


@pytest.fixture(scope="module")
def noisy() -> nasproxy.Dataset:
    """Images whose class is hard to see, so that architectures differ."""
    x, y = make_arrays(400, seed=3)
    noise = torch.randint(-90, 90, x.shape, generator=torch.Generator().manual_seed(0)).numpy()
    return nasproxy.from_arrays((x + noise).clip(0, 255).astype("uint8"), y, name="noisy")


def test_survivors_have_the_score_of_a_whole_training(space, noisy) -> None:
    whole = _rank(space, noisy)
    halved = _rank(space, noisy, pruner="halving:reduction_factor=3", rungs=[1, 3])
    assert len(whole.trials) == len(halved.trials) == 30
    expected = {t.user_attrs["architecture"]: t.value for t in whole.trials}
    done = [t for t in halved.trials if t.state is TrialState.COMPLETE]
    assert 0 < len(done) <= 25 / 9 + 2
    for trial in done:
        assert trial.value == expected[trial.user_attrs["architecture"]]
        assert trial.user_attrs["epochs"] == 9
        assert list(trial.intermediate_values) == [1, 3]
    stopped = [t for t in halved.trials if "stopped" in t.user_attrs]
    broken = [t for t in halved.trials if "broken" in t.user_attrs]
    assert len(broken) == 5
    assert len(stopped) + len(broken) + len(done) == 30
    for trial in stopped:
        assert trial.state is TrialState.PRUNED
        assert trial.user_attrs["epochs"] == trial.user_attrs["stopped"] in (1, 3)


def test_more_jobs_stop_the_same(space, noisy) -> None:
    one = _rank(space, noisy, pruner="halving", rungs=[2, 4])
    two = _rank(space, noisy, pruner="halving", rungs=[4, 2], jobs=2)
    assert _ends(one) == _ends(two)
    assert [t for t in two.trials if "stopped" in t.user_attrs]
    assert not [t for t in two.trials if not t.state.is_finished()]
    assert max(t.user_attrs["seconds"] for t in two.trials if "seconds" in t.user_attrs) > 0


def test_images_are_sent_to_the_workers_once(space, noisy, monkeypatch) -> None:
    sent: list[object] = []
    publish = Workers._publish

    def noted(workers: Workers, scorer: object) -> Path:
        if all(scorer is not one for one in sent):
            sent.append(scorer)
        return publish(workers, scorer)

    monkeypatch.setattr(Workers, "_publish", noted)
    _rank(space, noisy, pruner="halving", rungs=[2, 4], jobs=2, sampler="random", trials=6)
    assert len(sent) == 1


def test_seeds_are_averaged_at_the_rungs(space, noisy) -> None:
    study = _rank(space, noisy, pruner="halving", seeds=2, sampler="random", trials=8)
    singles = [
        _rank(space, noisy, seeds=1, seed=s, like=study, rungs=(), train_twins=True) for s in (0, 1)
    ]
    values = [{t.user_attrs["architecture"]: t.value for t in s.trials} for s in singles]
    done = [t for t in study.trials if t.state is TrialState.COMPLETE]
    assert done
    for trial in done:
        key = trial.user_attrs["architecture"]
        assert trial.value == pytest.approx((values[0][key] + values[1][key]) / 2)


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=20), st.floats(1.1, 6))
def test_halving_keeps_the_best(values: list[float], factor: float) -> None:
    lowest = Halving(factor).lowest_kept(values)
    kept = sorted((v for v in values if v >= lowest), reverse=True)
    keep = math.ceil(len(values) / factor)
    assert kept[:keep] == sorted(values, reverse=True)[:keep]
    assert set(kept[keep:]) <= {lowest}  # ties with the last


def test_stopped_trials_rank_below_those_that_went_further(space, noisy) -> None:
    truth, halved = _rank(space, noisy), _rank(space, noisy, pruner="halving", rungs=[1, 3])
    trials = unbiased_trials(halved)
    assert len(trials) == 30
    scores = dict(zip([t.number for t in trials], scores_among(halved, trials)))
    by_end = {end: [scores[t.number] for t in trials if t.epochs == end] for end in (1, 3, None)}
    finished = [v for v in by_end[None] if v > -math.inf]
    assert max(by_end[1]) < min(by_end[3]) <= max(by_end[3]) < min(finished)
    report = nasproxy.correlate(truth, [halved])
    assert report.rankings[0].n == 30
    assert report.rankings[0].broken == 5
    with pytest.raises(UserError, match="no truth"):
        nasproxy.correlate(halved, [truth])


def test_training_goes_on_where_it_was_put_aside(data) -> None:
    def make(seed: int) -> Training:
        torch.manual_seed(seed)
        network = torch.nn.Sequential(ConvNet(data.input_shape, 3, 4), torch.nn.Dropout(0.2))
        recipe = Recipe(epochs=5, batch_size=32, augment="crop_scale")
        return Training(network, data.train, recipe, data.normalisation, seed=4)

    whole = make(0)
    whole.run()
    first = make(0)
    first.run(2)
    state = first.state()
    torch.manual_seed(99)
    second = make(7)
    second.load_state(state)
    assert second.epoch == 2
    second.run()
    assert second.loss == whole.loss
    for a, b in zip(whole.network.parameters(), second.network.parameters()):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"by": "params", "pruner": "halving"}, "trains nothing"),
        ({"pruner": "median"}, "expected halving"),
        ({"pruner": "halving:reduction_factor=1"}, "above 1"),
        ({"pruner": "halving:factor=2"}, "factor"),
        ({"pruner": "halving", "sampler": "tpe"}, "not those of a sampler"),
        ({"pruner": "halving", "rungs": [9]}, "from 1 to 8"),
        ({"rungs": [3]}, "pruner"),
        ({"pruner": "halving", "recipe": Recipe(epochs=1)}, "too few"),
    ],
)
def test_what_makes_no_sense_is_said(space, noisy, arguments, words: str) -> None:
    by = arguments.pop("by", "full")
    given = {"recipe": RECIPE, **arguments}
    with pytest.raises(UserError, match=words):
        nasproxy.rank(space, by, data=noisy, trials=5, **given)


def test_rungs() -> None:
    assert make_rungs(100) == [15, 20, 33]
    assert make_rungs(3) == [1]
    assert make_rungs(100, [7, 3, 7]) == [3, 7]


@pytest.mark.slow
@pytest.mark.parametrize("reports", [27, 40, 51])
def test_an_interruption_between_two_rungs_stops_nobody_too_early(
    tmp_path: Path, space, noisy, monkeypatch: pytest.MonkeyPatch, reports: int
) -> None:
    """Some have come to the second rung then: they are not judged before all have."""
    expected = _ends(_rank(space, noisy, pruner="halving"))
    options = {"pruner": "halving", "study": "s", "storage": f"sqlite:///{tmp_path / 's.db'}"}
    report, count = Ledger.report, itertools.count(1)

    def counted(self: Ledger, record: Record, value: float, epoch: int) -> None:
        report(self, record, value, epoch)
        if next(count) == reports:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Ledger, "report", counted)
        _rank(space, noisy, **options)
    assert _ends(_rank(space, noisy, **options)) == expected


DRIVER = """
import sys, nasproxy, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
data = nasproxy.load_dataset(sys.argv[2])
nasproxy.rank(sys.argv[1], "full", data=data, recipe=nasproxy.Recipe(epochs=9, batch_size=20,
    lr=0.02, augment="crop"), sampler="all", jobs=2, pruner="halving", study="s",
    storage=sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0])
def test_a_killed_halving_goes_on_to_the_same_end(
    tmp_path: Path, space, npz: str, seconds: float
) -> None:
    data = nasproxy.load_dataset(npz)
    expected = _ends(_rank(space, data, pruner="halving"))
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "thirty.py"), npz, storage]
    for _ in range(2):
        driver = subprocess.Popen(command, start_new_session=True)
        database = tmp_path / "study.db"
        while not database.exists() and driver.poll() is None:
            time.sleep(0.05)
        time.sleep(seconds)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    subprocess.run(command, check=True)
    study = optuna.load_study(study_name="s", storage=storage)
    assert not [t for t in study.trials if t.state is TrialState.RUNNING]
    ended = [t for t in study.trials if t.state is not TrialState.FAIL]
    assert len(ended) == 30
    assert _ends(study) == expected
