import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import nasproxy
from nasproxy import UserError, rank
from nasproxy.estimators import estimator
from nasproxy.studies.identity import load_study
from nasproxy.studies.rank import SAMPLERS
from nasproxy.studies.storage import open_storage
from tests.conftest import QUICK, scored


@dataclass(frozen=True)
class Estimator(estimator.Estimator):
    """Scores without training: by the size, or as a test wants it."""

    name: str = "made"
    seeded: bool = True
    fails_with: str = ""
    value: float = 1.0

    copies_twins = True

    def __call__(self, candidate, seed: int) -> dict[str, float]:
        size = sum(p.numel() for p in candidate.build().parameters())
        if self.fails_with and size < 700:
            raise RuntimeError(self.fails_with)
        return {"score": self.value * (size + seed), "seconds": 0.5}


@dataclass(frozen=True)
class Deadly(Estimator):
    """Kills its worker: always, or until a file says that it has done so often enough."""

    folder: str = ""
    times: int = 99

    def __call__(self, candidate, seed: int) -> dict[str, float]:
        count = len(list(Path(self.folder).iterdir()))
        if count < self.times:
            (Path(self.folder) / f"{os.getpid()}-{count}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(candidate, seed)


def _keys(study: optuna.Study) -> list[str]:
    return [t.user_attrs["architecture"] for t in scored(study)]


def test_uniform_draws_are_distinct_and_invalid_ones_recorded(tiny_space, data) -> None:
    study = rank(tiny_space, Estimator(), data=data, trials=5, jobs=1)
    assert len(set(_keys(study))) == len(_keys(study)) == 5
    (invalid,) = [t for t in study.trials if "invalid" in t.user_attrs]
    assert invalid.state is TrialState.PRUNED
    assert invalid.user_attrs["invalid"] == "ValueError: too thin to be deep"
    assert {t.user_attrs["drawn"] for t in study.trials} == {"uniform"}


def test_training_is_recorded(tiny_space, data) -> None:
    study = rank(tiny_space, "full", data=data, trials=3, recipe=QUICK, jobs=1)
    for trial in scored(study):
        assert {"loss", "train_loss", "params", "seconds"} <= trial.user_attrs.keys()
        assert all(type(v) in (int, float, str) for v in trial.user_attrs.values())
        assert 0 <= trial.value <= 1
    assert study.metric_names == ["validation accuracy"]
    for key in ("space", "space_sha256", "dataset_digest", "recipe", "versions", "hardware"):
        assert key in study.user_attrs


def test_seeds_are_averaged(tiny_space, data) -> None:
    study = rank(tiny_space, Estimator(), data=data, trials=2, seeds=3, seed=10, jobs=1)
    trial = scored(study)[0]
    each = [trial.user_attrs[f"score_seed{k}"] for k in range(3)]
    assert each[1] - each[0] == 1
    assert trial.value == pytest.approx(sum(each) / 3)
    assert trial.user_attrs["spread"] == pytest.approx(1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_finds_the_whole_space_without_a_repeat(tiny_space, data, sampler) -> None:
    study = rank(tiny_space, Estimator(), data=data, trials=20, sampler=sampler, jobs=1)
    assert sorted(_keys(study)) == sorted(set(_keys(study)))
    assert len(_keys(study)) == 5
    for trial in study.trials:
        assert trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        if "duplicate" in trial.user_attrs:
            assert trial.state is TrialState.PRUNED


def test_steering_goes_on_after_uniform_draws(tiny_space, data) -> None:
    study = rank(tiny_space, Estimator(), data=data, trials=2, jobs=1)
    storage, name = study._storage, study.study_name
    more = rank(
        tiny_space, Estimator(), data=data, trials=4, sampler="tpe", study=name, storage=storage,
        jobs=1,
    )  # fmt: skip
    drawn = [t.user_attrs["drawn"] for t in scored(more)]
    assert drawn[:2] == ["uniform"] * 2
    assert set(drawn[2:]) == {"tpe"}


def test_like_scores_exactly_the_same(tiny_space, data) -> None:
    first = rank(tiny_space, "params", data=data, trials=3, seed=4)
    second = rank(tiny_space, Estimator(), data=data, like=first, trials=40, jobs=1)
    assert _keys(first) == _keys(second)


def test_jobs_do_not_change_the_scores(tiny_space, data) -> None:
    one = rank(tiny_space, "full", data=data, trials=4, recipe=QUICK, seeds=2, jobs=1)
    two = rank(tiny_space, "full", data=data, trials=4, recipe=QUICK, seeds=2, jobs=2)
    assert [t.params for t in one.trials] == [t.params for t in two.trials]
    assert [t.values for t in one.trials] == [t.values for t in two.trials]
    losses = [[t.user_attrs.get("loss") for t in study.trials] for study in (one, two)]
    assert losses[0] == losses[1]


def test_broken_architectures_are_pruned_with_the_reason(tiny_space, data) -> None:
    study = rank(tiny_space, Estimator(fails_with="no\nmemory"), data=data, sampler="all", jobs=1)
    broken = [t for t in study.trials if "broken" in t.user_attrs]
    assert broken
    assert {t.user_attrs["broken"] for t in broken} == {"RuntimeError: no memory"}
    assert all(t.state is TrialState.PRUNED for t in broken)
    assert scored(study)
    nan = Estimator(value=float("nan"))
    with pytest.raises(UserError, match="no architecture has a score; the first: the score is NaN"):
        rank(tiny_space, nan, data=data, trials=2, jobs=1)


def test_a_wrong_head_is_recorded(tmp_path: Path, data) -> None:
    text = Path(nasproxy.load_space("convnet").path).read_text()
    path = tmp_path / "head.py"
    path.write_text(
        text.replace("        num_classes,\n        width=", "        99,\n        width=")
    )
    with pytest.raises(UserError, match=r"expected logits \(2, 3\), got \(2, 99\)"):
        rank(str(path), "full", data=data, trials=1, recipe=QUICK, jobs=1)


def test_a_killed_worker_costs_nothing_but_time(tiny_space, data, tmp_path: Path) -> None:
    estimator = Deadly(folder=str(tmp_path), times=1)
    study = rank(tiny_space, estimator, data=data, sampler="all", jobs=2)
    assert len(_keys(study)) == 5


@dataclass(frozen=True)
class Poison(Estimator):
    """Kills its worker for one architecture alone, whenever it comes."""

    key: str = ""

    def __call__(self, candidate, seed: int) -> dict[str, float]:
        if candidate.key == self.key:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(candidate, seed)


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 4])
def test_who_kills_is_given_up_and_nobody_else(tiny_space, data, place: int) -> None:
    keys = _keys(rank(tiny_space, Estimator(), data=data, sampler="all", jobs=1))
    study = rank(tiny_space, Poison(key=keys[place]), data=data, sampler="all", jobs=2, seeds=2)
    assert sorted(_keys(study)) == sorted(set(keys) - {keys[place]})
    (broken,) = [t for t in study.trials if "broken" in t.user_attrs]
    assert broken.user_attrs["architecture"] == keys[place]
    assert broken.user_attrs["broken"] == "its worker died 3 times"


@dataclass(frozen=True)
class Endless(Estimator):
    """Never ends for one architecture: in Python, hiding from exceptions, or inside C."""

    key: str = ""
    where: str = "python"

    def __call__(self, candidate, seed: int) -> dict[str, float]:
        while candidate.key == self.key:
            try:
                if self.where == "c":
                    sum(itertools.repeat(0))
            except Exception:
                pass
        return super().__call__(candidate, seed)


@pytest.mark.parametrize(
    ("where", "jobs"),
    [("python", 1), *(pytest.param(where, 2, marks=pytest.mark.slow) for where in ("python", "c"))],
)
def test_what_never_ends_is_given_up(tiny_space, data, where: str, jobs: int) -> None:
    keys = _keys(rank(tiny_space, Estimator(), data=data, sampler="all", jobs=1))
    study = rank(
        tiny_space,
        Endless(key=keys[1], where=where),
        data=data,
        sampler="all",
        jobs=jobs,
        trial_timeout=1.5,
    )
    assert sorted(_keys(study)) == sorted(set(keys) - {keys[1]})
    (broken,) = [t for t in study.trials if "broken" in t.user_attrs]
    assert broken.user_attrs["broken"] == "not done within 1.5 seconds"


def test_a_timeout_must_be_a_time(tiny_space, data) -> None:
    with pytest.raises(UserError, match="timeout above 0"):
        rank(tiny_space, "params", data=data, trial_timeout=0)


def test_resuming_does_nothing_twice(tiny_space, data, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    options = {"data": data, "study": "s", "storage": url, "jobs": 1}
    first = rank(tiny_space, Estimator(), trials=3, **options)
    ends = [t.datetime_complete for t in first.trials]
    second = rank(tiny_space, Estimator(), trials=5, **options)
    assert [t.datetime_complete for t in second.trials][: len(ends)] == ends
    assert len(_keys(second)) == 5


_KILLED = """
    import sys, time
    import nasproxy
    from tests.studies.test_rank import Estimator
    from tests.conftest import make_arrays

    class Slow(Estimator):
        def __call__(self, candidate, seed):
            time.sleep(0.05)
            return super().__call__(candidate, seed)

    data = nasproxy.from_arrays(*make_arrays(), *make_arrays(90, seed=1), name="made")
    nasproxy.rank(sys.argv[1], Slow(), data=data, sampler="all", seeds=3, study="s",
                  storage=sys.argv[2], jobs=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(6))
def test_kill_9_and_resume(tiny_space_file, data, tmp_path: Path, moment: int) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(_KILLED))
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, script, tiny_space_file, url], env={**os.environ, "PYTHONPATH": str(root)}
    )
    database = tmp_path / "s.db"
    while not database.exists() and child.poll() is None:
        time.sleep(0.01)
    time.sleep(0.5 + 0.25 * moment)
    child.kill()
    child.wait()
    space = nasproxy.load_space(tiny_space_file)
    study = rank(
        space, Estimator(), data=data, sampler="all", seeds=3, study="s", storage=url, jobs=1
    )
    assert sorted(_keys(study)) == sorted(set(_keys(study)))
    assert len(_keys(study)) == 5
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    for trial in scored(study):
        assert trial.value == pytest.approx(trial.user_attrs["score_seed1"])


def test_a_study_of_another_identity_is_refused(tiny_space, data, tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 's.db'}")
    options = {"data": data, "study": "s", "storage": storage, "trials": 2, "jobs": 1}
    rank(tiny_space, Estimator(), **options)
    with pytest.raises(UserError, match="was made with estimator = made, now it is other"):
        rank(tiny_space, Estimator(name="other"), **options)
    with pytest.raises(UserError, match="was made with seeds = 1, now it is 2"):
        rank(tiny_space, Estimator(), **options, seeds=2)
    optuna.create_study(study_name="foreign", storage=storage).enqueue_trial({})
    with pytest.raises(UserError, match="was not made by nasproxy"):
        rank(tiny_space, Estimator(), **{**options, "study": "foreign"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "fulll"}, "unknown estimator 'fulll'; did you mean 'full'"),
        ({"by": "full:epoch=2"}, "did you mean 'epochs'"),
        ({"by": "full:epochs=two"}, "expected int as epochs, got 'two'"),
        ({"by": "full:epochs"}, "expected full:option=value"),
        ({"by": "params:x=1"}, "params has no options"),
        ({"by": "missing.safetensors"}, "no such proxy file"),
        ({"sampler": "tpo"}, "did you mean 'tpe'"),
        ({"trials": 0}, "expected trials of 1 or more"),
        ({"seeds": 0}, "expected seeds of 1 or more"),
        ({"jobs": 0}, "expected jobs of 1 or more"),
        ({"data": None}, "needs a data set"),
        ({"storage": "sqlite://"}, "expected a file in the storage URL"),
        ({"storage": "nonsense"}, "expected a storage URL such as"),
        ({"storage": "mysql://u:secret@h/d"}, r"cannot open the storage mysql://u:\*\*\*@h/d"),
    ],
)
def test_bad_arguments(tiny_space, data, options: dict, message: str) -> None:
    given = {"by": "params", "data": data, **options}
    with pytest.raises(UserError, match=message) as caught:
        rank(tiny_space, **given)
    assert "secret" not in str(caught.value)


def test_storages_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with pytest.raises(UserError, match="no such storage"):
        open_storage(f"sqlite:///{path}", must_exist=True)
    assert not path.exists()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(UserError, match="cannot open the storage"):
        open_storage(f"sqlite:///{path}")
    assert path.read_bytes() == b"this is no database" * 100
    with pytest.raises(UserError, match="no study 'x' in the storage"):
        load_study("x", open_storage(None))


def test_sqlite_is_in_wal_mode(tiny_space, data, tmp_path: Path) -> None:
    import sqlite3

    rank(tiny_space, "params", data=data, trials=1, storage=f"sqlite:///{tmp_path / 's.db'}")
    connection = sqlite3.connect(tmp_path / "s.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_estimator_names(data, tmp_path: Path) -> None:
    from nasproxy.estimators.making import make_estimator

    proxy = nasproxy.condense(data, "random", ipc=2)
    proxy.save(tmp_path / "p.safetensors")
    names = itertools.chain(
        (make_estimator(by, data).name for by in ("full", "full:epochs=2,lr=0.1", "params")),
        (make_estimator(f"{tmp_path}/p.safetensors{end}", data).name for end in ("", ":epochs=3")),
    )
    assert list(names) == [
        "full",
        "full:epochs=2,lr=0.1",
        "params",
        "random-2",
        "random-2:epochs=3",
    ]
    with pytest.raises(UserError, match="was made from made"):
        make_estimator(proxy, nasproxy.load_dataset("digits"))


def test_a_driver_that_died_before_telling_is_made_up_for(tiny_space, data) -> None:
    study = rank(tiny_space, Estimator(), data=data, trials=2, seeds=2, jobs=1)
    storage, name = study._storage, study.study_name
    left = next(
        a for a in tiny_space.enumerate((1, 8, 8), 3) if a.key not in _keys(study) and not a.error
    )
    study.enqueue_trial(left.choices, user_attrs={"architecture": left.key, "drawn": "uniform"})
    trial = study.ask(left.distributions)
    for k in range(2):
        trial.set_user_attr(f"score_seed{k}", 7.0 + k)
    again = rank(
        tiny_space, Estimator(), data=data, trials=2, seeds=2, jobs=1, study=name, storage=storage
    )
    assert len(_keys(again)) == 3
    assert again.trials[-1].value == 7.5


def test_draws_that_a_search_had_made_count_as_uniform(tiny_space, data) -> None:
    study = rank(tiny_space, Estimator(), data=data, trials=3, sampler="tpe", jobs=1)
    options = {"study": study.study_name, "storage": study._storage, "jobs": 1}
    more = rank(tiny_space, Estimator(), data=data, trials=5, **options)
    uniform = [t for t in scored(more) if t.user_attrs["drawn"] == "uniform"]
    assert len({t.user_attrs["architecture"] for t in uniform}) == 5
    truth = rank(tiny_space, Estimator(), data=data, sampler="all", jobs=1)
    assert nasproxy.correlate(truth, [more]).n == 5


def test_like_a_study_that_is_at_work(tiny_space, data) -> None:
    study = rank(tiny_space, Estimator(), data=data, trials=2, jobs=1)
    study.enqueue_trial({"width": 16}, user_attrs={"architecture": "x", "drawn": "uniform"})
    other = rank(tiny_space, Estimator(), data=data, like=study, jobs=1)
    assert _keys(other) == _keys(study)


def test_a_score_among_others_cannot_steer(data) -> None:
    with pytest.raises(UserError, match="can't steer a search"):
        rank("convnet_small", "az_nas", data=data, sampler="tpe")


@dataclass(frozen=True)
class Partial(Estimator):
    """Has a second figure for some seeds only, as AZ-NAS may."""

    def __call__(self, candidate, seed: int) -> dict[str, float]:
        found = super().__call__(candidate, seed)
        return found | ({"extra": 1.0} if seed == 0 else {})


def test_figures_that_some_seeds_lack_are_left_out(tiny_space, data) -> None:
    study = rank(tiny_space, Partial(), data=data, trials=2, seeds=2, jobs=1)
    assert all("extra" not in t.user_attrs for t in scored(study))
    assert all("seconds" in t.user_attrs for t in scored(study))


def test_twins_do_not_count_among_what_a_search_finds(data) -> None:
    space = nasproxy.load_space("nasbench201:C=4,N=1")
    study = rank(space, Estimator(), data=data, trials=30, sampler="tpe", jobs=1)
    again = rank(
        space, Estimator(), data=data, trials=32, sampler="tpe", jobs=1,
        study=study.study_name, storage=study._storage,
    )  # fmt: skip
    assert len(scored(again)) == 32
    canonical = {space.canonical(t.params) for t in scored(again)}
    assert len(canonical) == 32


HALF_BROKEN = """
from torch import nn


class Wrong(nn.Module):
    def forward(self, x):
        raise KeyError("mine")


def build(trial, shape, classes):
    width = trial.suggest_int("width", 1, 4)
    layers = [nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, classes)]
    return nn.Sequential(*layers, *([Wrong()] if width % 2 else []))
"""


@pytest.mark.parametrize(("by", "what"), [("full:steps=2", "trained"), ("snip", "scored")])
def test_nothing_breaks_quietly(command, npz, tmp_path, by: str, what: str) -> None:
    (tmp_path / "half.py").write_text(HALF_BROKEN)
    status, out, err = command(
        *("rank", "--space", tmp_path / "half.py", "--data", npz, "--by", by, "--sampler", "all"),
        *("--storage", f"sqlite:///{tmp_path}/s.db", "--study", "half", "--jobs", 1, "--json"),
    )
    assert status == 0, err
    assert f"half: 2 of 4 could not be {what}, and rank last; the first: width=" in err
    assert "KeyError: 'mine'" in err
    broken = json.loads(out)["broken"]
    assert {b["architecture"] for b in broken} == {"width=1", "width=3"}
    assert all("KeyError" in b["why"] for b in broken)
