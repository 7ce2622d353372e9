"""Several drivers on one study: each architecture is one's, and what the dead leave is taken."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState, create_trial

import nasproxy
from nasproxy import Recipe, rank
from nasproxy.estimators.estimator import Estimator
from nasproxy.spaces.space import Architecture
from nasproxy.studies import claims as drivers
from nasproxy.studies import ledger as loop
from nasproxy.studies.claims import Driver
from nasproxy.studies.record import read_records, written
from nasproxy.studies.storage import hide_password, open_storage, without_passwords
from nasproxy.system import processes as process
from tests.conftest import make_arrays, scored
from tests.studies import postgres

SPACE = '''"""Thirty-two networks: one can't be built, and kinds a and b compute the same."""
from torch import nn


def build(trial, input_shape, num_classes):
    width = trial.suggest_int("width", 1, 8)
    kind = trial.suggest_categorical("kind", ["a", "b", "c", "d"])
    if (width, kind) == (3, "d"):
        raise ValueError("cannot be")
    channels, height, side = input_shape
    size = channels * height * side
    return nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.Linear(width, num_classes))


def canonical(params):
    return str(params | {"kind": params["kind"].replace("b", "a")})
'''
TRAINED = 23  # of the 32: 8 have a twin, 1 can't be built
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["nasproxy.pipeline", "tests.studies.test_claims"])


@dataclass(frozen=True)
class Noted(Estimator):
    """Scores by the architecture's name and the seed, after a while, and notes each time."""

    folder: str
    seconds: float = 0.0
    name: str = "noted"

    copies_twins = True

    def __call__(self, candidate: Any, seed: int) -> dict[str, float]:
        with (Path(self.folder) / "calls").open("a") as file:  # one short write: whole
            file.write(f"{candidate.key},{seed}\n")
        time.sleep(self.seconds)
        return {"score": zlib.crc32(candidate.key.encode()) / 2**32 + seed, "seconds": 1.0}


def calls(folder: Path) -> Counter[str]:
    path = folder / "calls"
    return Counter(path.read_text().split("\n")[:-1] if path.exists() else [])


def made() -> nasproxy.Dataset:
    return nasproxy.from_arrays(*make_arrays(), *make_arrays(90, seed=1), name="made")


def drive(folder: str, url: str, elsewhere: bool = False, seconds: float = 0.0, **more) -> None:
    """What a process does that is one of several drivers, `elsewhere` on another machine."""
    torch.set_num_threads(1)
    loop.POLL, drivers.BEAT = 0.2, 0.2
    drivers.GRACE = 3.0
    if elsewhere:
        process._machine = lambda: f"other{os.getpid()}"
    options = {"data": made(), "sampler": "all", "seeds": 2, "study": "s", "jobs": 1, **more}
    by = options.pop("by", None) or Noted(folder, seconds)
    rank(f"{folder}/space.py", by, storage=url, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "space.py").write_text(SPACE)
    return tmp_path


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow]),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty storage."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 's.db'}"
    return postgres.make_database(request.getfixturevalue("server"), tmp_path.name)


Start = Callable[..., Any]


@pytest.fixture
def start(folder: Path, url: str) -> Iterator[Start]:
    """Start a driver on the study."""
    started = []

    def call(**more: Any) -> Any:
        driver = FORKSERVER.Process(target=drive, args=(str(folder), url), kwargs=more)
        driver.start()
        started.append(driver)
        return driver

    yield call
    for driver in started:
        driver.kill()


def alone(folder: Path, **more: Any) -> dict[str, float]:
    """The values of one process alone."""
    options = {"sampler": "all", "seeds": 2, "jobs": 1, **more}
    by = options.pop("by", None) or Noted(str(folder.parent))
    return values(rank(f"{folder}/space.py", by, data=made(), **options))


def values(study: optuna.Study) -> dict[str, float]:
    return {t.user_attrs["architecture"]: float(t.value or 0) for t in scored(study)}


def check(study: optuna.Study, expected: dict[str, float]) -> None:
    """Every architecture once, with its value, all seeds, and no trial at work."""
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    kept = [t for t in study.trials if t.state is not TrialState.FAIL]
    keys = [t.user_attrs["architecture"] for t in kept]
    assert len(keys) == len(set(keys))
    assert values(study) == pytest.approx(expected)
    assert sum("invalid" in t.user_attrs for t in kept) == len(keys) - len(expected)
    for trial in scored(study):
        assert {"score_seed0", "score_seed1"} <= trial.user_attrs.keys()


def wait_for(what: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_two_drivers_at_once(folder: Path, url: str, start: Start, seconds: float) -> None:
    both = [start(seconds=seconds), start(seconds=seconds, elsewhere=True)]
    for driver in both:
        driver.join()
    assert [driver.exitcode for driver in both] == [0, 0]
    found = calls(folder)
    assert set(found.values()) == {1}
    assert len(found) == 2 * TRAINED
    study = optuna.load_study(study_name="s", storage=url)
    check(study, alone(folder))
    if seconds:  # both had a share
        names = Counter(t.user_attrs["driver"] for t in scored(study) if "driver" in t.user_attrs)
        assert len(names) == 2 and min(names.values()) > 2


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
@pytest.mark.parametrize("after", [3, 22])
def test_one_of_two_is_killed(
    folder: Path, url: str, start: Start, after: int, elsewhere: bool
) -> None:
    killed, other = start(seconds=0.05, elsewhere=elsewhere), start(seconds=0.05)
    wait_for(lambda: sum(calls(folder).values()) >= after)
    assert killed.is_alive()
    killed.kill()
    other.join()
    assert other.exitcode == 0
    found = calls(folder)
    assert sum(found.values()) <= 2 * TRAINED + 2  # the two that the dead was at are done again
    check(optuna.load_study(study_name="s", storage=url), alone(folder))


def test_a_claim_that_a_dead_driver_did_not_withdraw_is_not_left_running(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lost its architecture to another, and was killed before it could say so."""
    monkeypatch.setattr(drivers, "GRACE", 0.5)
    monkeypatch.setattr(loop, "POLL", 0.1)
    expected = alone(folder)
    _rank(folder, storage=url, study="s", seeds=2)
    study = optuna.load_study(study_name="s", storage=url)
    first = study.trials[0]
    attributes = {"architecture": first.user_attrs["architecture"], "driver": "elsewhere/1/2/3"}
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING, params=first.params, distributions=first.distributions,
            user_attrs={**attributes, "drawn": "all"},
        )
    )  # fmt: skip
    _rank(folder, storage=url, study="s", seeds=2)
    check(optuna.load_study(study_name="s", storage=url), expected)


@pytest.mark.slow
def test_a_slow_driver_elsewhere_is_not_taken_for_dead(
    folder: Path, url: str, start: Start
) -> None:
    more = {"trials": 2, "sampler": "random", "train_twins": True, "seeds": 1}
    slow = start(seconds=8.0, elsewhere=True, **more)  # more than GRACE
    wait_for(lambda: sum(calls(folder).values()) == 1)
    quick = start(**more)
    for driver in (slow, quick):
        driver.join()
    assert (slow.exitcode, quick.exitcode) == (0, 0)
    assert set(calls(folder).values()) == {1}
    assert len(calls(folder)) == 2


@pytest.mark.slow
def test_two_steered_drivers(folder: Path, url: str, start: Start) -> None:
    more = {"sampler": "tpe", "trials": 14, "seeds": 1, "seconds": 0.05, "train_twins": True}
    both = [start(**more), start(elsewhere=True, **more)]
    for driver in both:
        driver.join()
    assert [driver.exitcode for driver in both] == [0, 0]
    assert set(calls(folder).values()) == {1}
    study = optuna.load_study(study_name="s", storage=url)
    assert 14 <= len(values(study)) == len(scored(study)) == len(calls(folder)) <= 15
    assert not study.get_trials(states=(TrialState.RUNNING,))


@pytest.mark.slow
def test_two_drivers_stop_the_same_at_the_rungs(folder: Path, url: str, start: Start) -> None:
    recipe = Recipe(epochs=6, batch_size=20, lr=0.02, augment="none")
    more = {"by": "full", "recipe": recipe, "pruner": "halving", "rungs": (1, 2), "seeds": 1}
    both = [start(**more), start(**more)]
    for driver in both:
        driver.join()
    assert [driver.exitcode for driver in both] == [0, 0]
    study = optuna.load_study(study_name="s", storage=url)
    assert values(study) == alone(folder, **more)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["params", "table"])
def test_two_drivers_of_a_free_score(folder: Path, url: str, start: Start, by: str) -> None:
    if by == "table":
        rows = [f"{key},{n}" for n, key in enumerate(alone(folder))]
        (folder / "t.csv").write_text("\n".join(["architecture,accuracy", *rows]))
        by = f"table:{folder}/t.csv:accuracy"
    both = [start(by=by), start(by=by, elsewhere=True)]
    for driver in both:
        driver.join()
    assert [driver.exitcode for driver in both] == [0, 0]
    study = optuna.load_study(study_name="s", storage=url)
    assert len(scored(study)) == len(values(study))
    assert values(study) == alone(folder, by=by)


def test_of_many_claims_of_one_architecture_one_wins(folder: Path, url: str) -> None:
    study = optuna.create_study(study_name="c", storage=open_storage(url))
    won: list[str] = []

    def claim() -> None:
        mine = optuna.load_study(study_name="c", storage=open_storage(url))
        with Driver(mine) as driver:
            for n in range(12):
                architecture = Architecture({}, {}, key=f"a{n}")
                if driver.claim(architecture, written(architecture)) is not None:
                    won.append(f"a{n}")

    threads = [threading.Thread(target=claim) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted({f"a{n}" for n in range(12)})
    kept = [t for t in study.trials if t.state is TrialState.RUNNING]
    assert sorted(t.user_attrs["architecture"] for t in kept) == sorted(won)


def test_of_many_that_take_over_one_wins(url: str) -> None:
    study = optuna.create_study(study_name="c", storage=open_storage(url))
    for n in range(8):
        attributes = {"architecture": f"a{n}", "driver": ""}
        study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attributes))
    taken: list[int] = []
    ready = threading.Barrier(3)

    def take() -> None:
        mine = optuna.load_study(study_name="c", storage=open_storage(url))
        with Driver(mine) as driver:
            records = read_records(mine)
            ready.wait()
            taken.extend(record.number for record in driver.left_by_others(records))
            ready.wait()

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(8))


def test_what_another_ended_meanwhile_stays_as_it_is(folder: Path, url: str) -> None:
    @dataclass(frozen=True)
    class Overtaken(Noted):
        """While it scores, others end all trials, as they may of a driver held for dead."""

        def __call__(self, candidate: Any, seed: int) -> dict[str, float]:
            study = optuna.load_study(study_name="s", storage=url)
            for trial in study.get_trials(states=(TrialState.RUNNING,)):
                study.tell(trial.number, 5.0)
            return super().__call__(candidate, seed)

    study = rank(
        f"{folder}/space.py", Overtaken(str(folder)), data=made(), trials=3, seeds=2, jobs=1,
        study="s", storage=url,
    )  # fmt: skip
    assert set(values(study).values()) == {5.0}


def _left(study: optuna.Study, width: int, kind: str, driver: str | None, **attributes) -> None:
    """Add a running trial, as a driver leaves it."""
    distributions = {
        "width": optuna.distributions.IntDistribution(1, 8),
        "kind": optuna.distributions.CategoricalDistribution(["a", "b", "c", "d"]),
    }
    attributes |= {"architecture": f"kind={kind} width={width}", "drawn": "all"}
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params={"width": width, "kind": kind},
            distributions=distributions,
            user_attrs=attributes | ({} if driver is None else {"driver": driver}),
        )
    )


def _rank(folder: Path, **more: Any) -> optuna.Study:
    options = {"data": made(), "jobs": 1, "study": "s", "sampler": "all", **more}
    return rank(f"{folder}/space.py", Noted(str(folder)), **options)


@pytest.mark.parametrize("ending", ["broken", "invalid", "duplicate", "stopped"])
def test_a_driver_that_died_before_the_state_was_written(folder: Path, ending: str) -> None:
    """The reason is written before the state: it must not be trained for a second time."""
    storage = optuna.storages.InMemoryStorage()
    study = _rank(folder, storage=storage, trials=2, sampler="random")
    known = scored(study)[0].params
    _left(study, known["width"], known["kind"], None, **{ending: 1})
    again = _rank(folder, storage=storage, trials=2, sampler="random")
    assert again.trials[-1].state is TrialState.PRUNED
    assert again.trials[-1].user_attrs[ending] == 1
    assert len(values(again)) == len(scored(again)) == 2


@pytest.mark.parametrize("kind", ["claim", "copy"])
def test_a_claim_that_lost_or_a_copy_is_not_gone_on_with(folder: Path, kind: str) -> None:
    storage = optuna.storages.InMemoryStorage()
    study = _rank(folder, storage=storage, trials=31, sampler="random")
    before = values(study)
    if kind == "claim":  # died between losing and withdrawing
        _left(study, 1, "a", None)
        number = study.trials[-1].number
        again = _rank(folder, storage=storage, trials=31, sampler="random")
        assert again.trials[number].state is TrialState.FAIL
        assert values(again) == before
    else:
        other = optuna.create_study(study_name="t", storage=storage, direction="maximize")
        for key, value in study.user_attrs.items():
            other.set_user_attr(key, value)
        _left(other, 1, "b", None, twin="kind=a width=1")
        found = _rank(folder, storage=storage, study="t")
        assert found.trials[0].state is TrialState.FAIL
        twin = values(found)
        assert twin["kind=b width=1"] == twin["kind=a width=1"]


@pytest.mark.parametrize("how", ["reused", "unreaped", "of an earlier version"])
def test_who_is_dead_on_this_machine_is_known_at_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(loop, "POLL", 0.05)
    monkeypatch.setattr(drivers, "GRACE", 0.3 if how == "of an earlier version" else 1e9)
    storage = open_storage(f"sqlite:///{tmp_path / 's.db'}")
    study = _rank(folder, storage=storage, trials=1, sampler="random")
    host, mine, call = Driver(study).name.split("/")
    machine, _, start = mine.split("-")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        if how == "reused":  # the process is another than the one that had this id
            name = f"{host}/{machine}-{child.pid}-{int(start) - 1}/{call}"
        elif how == "unreaped":
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            name = f"{host}/{machine}-{child.pid}-{fields[19]}/{call}"
            child.kill()
            wait_for(lambda: ") Z" in Path(f"/proc/{child.pid}/stat").read_text())
        else:
            name = f"{host}:{child.pid}"
        _left(study, 5, "c", name)
        again = _rank(folder, storage=storage)
    finally:
        child.kill()
        child.wait()
    (trial,) = [t for t in scored(again) if t.params == {"width": 5, "kind": "c"}]
    assert trial.number < len(values(study))
    assert not again.get_trials(states=(TrialState.RUNNING,))


def test_an_interrupted_driver_gives_up_what_it_has(folder: Path, tmp_path: Path) -> None:
    class Interrupted(Noted):
        def __call__(self, candidate: Any, seed: int) -> dict[str, float]:
            if sum(calls(Path(self.folder)).values()) == 3:
                raise KeyboardInterrupt
            return super().__call__(candidate, seed)

    url = f"sqlite:///{tmp_path / 's.db'}"
    options = {"data": made(), "study": "s", "storage": url, "jobs": 1, "sampler": "all"}
    with pytest.raises(KeyboardInterrupt):
        rank(f"{folder}/space.py", Interrupted(str(folder)), seeds=2, **options)
    other = FORKSERVER.Process(target=drive, args=(str(folder), url))
    other.start()  # while this process lives on
    other.join()
    assert other.exitcode == 0
    check(optuna.load_study(study_name="s", storage=url), alone(folder))


SECRET = "s3cret/@x"
WRITTEN = "s3cret%2F%40x"
STORAGES = {
    "refused": f"postgresql://me:{WRITTEN}@127.0.0.1:1/db",
    "driver named": f"postgresql+psycopg://me:{WRITTEN}@127.0.0.1:1/db",
    "in the query": f"postgresql://127.0.0.1:1/db?user=me&password={WRITTEN}",
    "unescaped": "postgresql://me:s3cret/@x@127.0.0.1:1/db",
    "two @": "postgresql://me:s3cret@x@127.0.0.1:1/db",
    "no port": f"postgresql://me:{WRITTEN}@127.0.0.1:port/db",
    "no database": f"nonsense://me:{WRITTEN}@127.0.0.1/db",
}
COMMANDS = {
    "rank": ("rank", "--by", "params"),
    "rank like": ("rank", "--by", "params", "--like", "a", "--json"),
    "correlate": ("correlate", "--truth", "a", "--study", "b"),
    "calibrate": ("calibrate", "--truth", "a", "--study", "b", "--json"),
}


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_no_password_in_what_is_said(command, arguments: tuple[str, ...], storage: str) -> None:
    status, out, err = command(*arguments, "--storage", storage)
    assert status == 2
    assert err.startswith("nasproxy: error: ") and err.count("\n") == 1
    assert "s3cret" not in out + err


def test_no_password_in_what_the_parser_says(command) -> None:
    status, out, err = command("rank", "--by", "params", "--storge", STORAGES["refused"])
    assert status == 2
    assert "s3cret" not in out + err


@pytest.mark.postgres
def test_no_password_in_what_is_kept_or_printed(
    command, npz: str, tiny_space_file: str, server: str, tmp_path: Path
) -> None:
    url = postgres.make_database(server, tmp_path.name)
    secret, written = postgres.PASSWORD, url.split(":")[2].split("@")[0]
    common = ("--data", npz, "--space", tiny_space_file, "--storage", url, "--json")
    said = []
    for by in ("params", "flops"):
        status, out, err = command("rank", "--by", by, *common)
        assert status == 0, err
        assert "***" in json.loads(out)["storage"]
        said += [out, err]
    pair = ("--truth", "params", "--study", "flops", "--storage", url, "--json")
    for name in ("correlate", "calibrate"):
        status, out, err = command(name, *pair, *(["--out", tmp_path] if name[1] == "o" else []))
        said += [out, err]
    said += [path.read_text() for path in tmp_path.glob("report.*")]
    storage = open_storage(url)
    for study in storage.get_all_studies():  # the dashboard's notes and figures too
        said += [str(study.user_attrs), str(study.system_attrs)]
    wrong = url.replace(written, "wr0ng")
    status, out, err = command("rank", "--by", "params", "--storage", wrong)
    assert status == 2 and "password authentication failed" in err and err.count("\n") == 1
    assert "wr0ng" not in out + err
    assert not [text for text in said if secret in text or written in text]


def test_passwords_are_blotted_out_wherever_they_stand() -> None:
    assert hide_password("postgresql://me:abc@h/d") == "postgresql://me:***@h/d"
    assert "abc" not in hide_password("postgresql://h/d?user=me&password=abc")
    assert hide_password("sqlite:///a.db") == "sqlite:///a.db"
    assert without_passwords("at x://me:p@q:r@h/d, x://h/d") == "at x://me:***@h/d, x://h/d"


def test_a_missing_driver_package_is_named(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    status, _, err = command("rank", "--by", "params", "--storage", STORAGES["refused"])
    assert status == 2
    assert err.count("\n") == 1
    assert "pip install 'nasproxy[postgres]'" in err


@pytest.mark.postgres
@pytest.mark.slow
def test_a_server_that_goes_away_is_said_in_one_line(
    command, folder: Path, npz: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While architectures are scored; another server of the same data would go on from there."""
    with postgres.server() as server:
        url = postgres.make_database(server, tmp_path.name)
        add = Driver.add

        def stop(self: Driver, *given: Any) -> None:
            engine = self._study._storage._backend.engine  # type: ignore[attr-defined]
            with engine.connect() as connection:
                backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            about = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()
            os.kill(int(about[1]), signal.SIGQUIT)  # the server's first process
            wait_for(lambda: not Path(f"/proc/{backend}").exists())
            add(self, *given)

        monkeypatch.setattr(Driver, "add", stop)
        common = ("--data", npz, "--space", f"{folder}/space.py", "--storage", url)
        status, out, err = command("rank", "--by", "params", *common)
    assert status == 2
    assert err.count("\n") == 1 and "the storage postgresql" in err and " failed: " in err
    assert postgres.PASSWORD not in out + err
