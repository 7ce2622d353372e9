"""Real Dask clusters of processes on this machine: the same studies, whoever dies."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

import nasproxy
from nasproxy import UserError, rank
from nasproxy.estimators.making import make_estimator
from nasproxy.proxies import by_class as spread
from nasproxy.proxies import checkpoint as kept
from nasproxy.proxies.methods import method_options
from nasproxy.workers import dask as cluster
from nasproxy.workers import dask_worker
from tests.conftest import QUICK, SOON, scored, without_times
from tests.studies.test_rank import Endless, Estimator, Poison

distributed = pytest.importorskip("distributed", reason="needs the extra [cluster]")

ROOT = Path(__file__).parents[2]
TIMED = ("seconds", "latency", "driver")


@pytest.fixture(scope="module")
def two_workers() -> "Iterator[str]":
    """The address of a cluster of two workers of two threads each."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address=None
    ) as local:
        yield local.scheduler_address


def _all(study: optuna.Study) -> list[tuple]:
    """All that a study holds but times."""
    return [
        (
            trial.state,
            trial.values,
            trial.params,
            {k: v for k, v in trial.user_attrs.items() if not k.startswith(TIMED)},
        )
        for trial in study.trials
    ]


@dataclass(frozen=True)
class Killer(Estimator):
    """Does what `inner` does, and first kills the Dask worker, until that was done `times`."""

    inner: Any = None
    folder: str = ""
    times: int = 1

    @property
    def identity(self) -> dict:
        return self.inner.identity

    def __call__(self, candidate, seed: int) -> dict[str, float]:
        count = len(list(Path(self.folder).iterdir()))
        if count < self.times:
            (Path(self.folder) / str(count)).touch()
            time.sleep(0.3)  # the other worker has begun, too
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return self.inner(candidate, seed)


@dataclass(frozen=True)
class Reports(Estimator):
    """Takes a while, and records which Dask worker it was."""

    pause: float = 0.2

    def __call__(self, candidate, seed: int) -> dict[str, float]:
        time.sleep(self.pause)
        return {**super().__call__(candidate, seed), "worker": float(os.getppid())}


@pytest.mark.slow
def test_the_same_study_as_in_one_process(two_workers, tiny_space, data) -> None:
    options = {"data": data, "recipe": QUICK, "sampler": "all", "seeds": 2}
    one = rank(tiny_space, "full", jobs=1, **options)
    assert _all(rank(tiny_space, "full", scheduler=two_workers, **options)) == _all(one)


@pytest.mark.slow
def test_data_are_sent_once(two_workers, tiny_space, data, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    send = cluster.Cluster._send
    monkeypatch.setattr(
        cluster.Cluster, "_send", lambda *given: (sent.append(given), send(*given))[1]
    )
    rank(tiny_space, Estimator(), data=data, sampler="all", seeds=5, scheduler=two_workers)
    assert len(sent) == 1  # to all, in one go


@pytest.mark.slow
def test_a_set_is_made_class_by_class(two_workers, data, tmp_path, monkeypatch) -> None:
    options = {"method": "dm", "ipc": 3, "steps": 4, "seed": 5}
    one = nasproxy.condense(data, **options)
    kept_beside = tmp_path / "kept.safetensors"
    monkeypatch.setattr(kept, "EVERY", 0)
    submitted: list[str] = []
    submit = cluster.Cluster.submit
    monkeypatch.setattr(
        cluster.Cluster,
        "submit",
        lambda *given: (submitted.append(given[1].candidate.key), submit(*given))[1],
    )

    class Bar:
        seen = 0

        def update(self) -> None:
            self.seen += 1
            if self.seen == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(spread, "progress", lambda *_: Bar())
        nasproxy.condense(data, **options, scheduler=two_workers, checkpoint=kept_beside)
    assert sorted(submitted) == ["0", "1", "2"]
    submitted.clear()
    many = nasproxy.condense(data, **options, scheduler=two_workers, checkpoint=kept_beside)
    assert len(submitted) == 2  # what was done is not done again
    assert not kept_beside.exists()
    assert torch.equal(many.labels, one.labels)
    torch.testing.assert_close(many.images, one.images, rtol=1e-4, atol=1e-5)
    assert many.metadata == one.metadata


@pytest.mark.slow
def test_a_class_that_cannot_be_made_is_named(two_workers, data) -> None:
    def fails(*_: Any, only: list[int]) -> None:
        raise ValueError("no paint")

    options = method_options("dm", ipc=2)
    nowhere = kept.Checkpoint(None, {})
    with pytest.raises(UserError, match=r"class '\d' was not made: ValueError: no paint"):
        spread.make_by_class(fails, data, options, "auto", False, nowhere, two_workers)


@pytest.mark.parametrize("method", ["dm-space", "random", "herding", "k-center"])
def test_what_makes_all_classes_at_once_refuses_a_scheduler(data, method: str) -> None:
    with pytest.raises(UserError, match="a scheduler is of use to dm, dm-paper"):
        nasproxy.condense(data, method, scheduler="tcp://127.0.0.1:1")


@pytest.mark.slow
def test_run_writes_the_same_report(
    two_workers, npz: str, tiny_space_file: str, tmp_path: Path, command: Callable
) -> None:
    reports = []
    for options in (["--jobs", "1"], ["--scheduler", two_workers]):
        status, out, err = command(
            *("run", "--data", npz, "--space", tiny_space_file, "--ipc", "2", "--steps", "2"),
            *("--trials", "4", "--confirm", "2", "--proxy.epochs", "2", "--full.epochs", "2"),
            *("--out", str(tmp_path / "out"), "--fresh", "--quiet", "--json", *options),
        )
        assert status == 0, err
        cores = re.sub(r"\d+ cores", "cores", out)  # a test's own process is told of one
        # what a cluster computes in, only its workers know
        reports.append(without_times(json.loads(cores), "precision", "float32 convolutions"))
    assert reports[0] == reports[1]


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(two_workers, tiny_space, data, tmp_path: Path) -> None:
    inner = make_estimator("full", data, QUICK, "cpu")
    one = rank(tiny_space, inner, data=data, sampler="all", seeds=2, jobs=1)
    estimator = Killer(inner=inner, folder=str(tmp_path))
    study = rank(tiny_space, estimator, data=data, sampler="all", seeds=2, scheduler=two_workers)
    assert len(list(tmp_path.iterdir())) == 1
    assert _all(study) == _all(one)


@pytest.mark.slow
def test_who_kills_its_process_is_given_up_and_nobody_else(two_workers, tiny_space, data) -> None:
    keys = _keys(rank(tiny_space, Estimator(), data=data, sampler="all", jobs=1))
    poison = Poison(key=keys[2])
    study = rank(tiny_space, poison, data=data, sampler="all", seeds=2, scheduler=two_workers)
    assert sorted(_keys(study)) == sorted(set(keys) - {keys[2]})
    assert _broken(study) == {keys[2]: "its worker died 3 times"}


@dataclass(frozen=True)
class WorkerPoison(Estimator):
    """Kills not only its process but the Dask worker, for one architecture."""

    key: str = ""

    def __call__(self, candidate, seed: int) -> dict[str, float]:
        if candidate.key == self.key:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return super().__call__(candidate, seed)


@pytest.mark.slow
def test_who_kills_dask_workers_is_given_up_and_nobody_else(tiny_space, data) -> None:
    import dask

    keys = _keys(rank(tiny_space, Estimator(), data=data, sampler="all", jobs=1))
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as c,
    ):
        study = rank(
            tiny_space,
            WorkerPoison(key=keys[2]),
            data=data,
            sampler="all",
            scheduler=c.scheduler_address,
        )
    assert sorted(_keys(study)) == sorted(set(keys) - {keys[2]})
    assert _broken(study) == {keys[2]: "its worker died 3 times"}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["python", "c"])
def test_what_never_ends_is_given_up(two_workers, tiny_space, data, where: str) -> None:
    keys = _keys(rank(tiny_space, Estimator(), data=data, sampler="all", jobs=1))
    study = rank(
        tiny_space,
        Endless(key=keys[1], where=where),
        data=data,
        sampler="all",
        scheduler=two_workers,
        trial_timeout=1.5,
    )
    assert sorted(_keys(study)) == sorted(set(keys) - {keys[1]})
    assert _broken(study) == {keys[1]: "not done within 1.5 seconds"}


@pytest.mark.slow
def test_a_worker_that_joins_later_gets_work(tiny_space, data) -> None:
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as local:
        joins = threading.Timer(1, local.scale, [2])
        joins.start()
        study = rank(
            tiny_space,
            Reports(pause=1),
            data=data,
            sampler="all",
            seeds=8,
            scheduler=local.scheduler_address,
        )
        joins.join()
    seen = {v for t in scored(study) for k, v in t.user_attrs.items() if k.startswith("worker_")}
    assert len(seen) == 2


@pytest.mark.slow
def test_other_versions_are_refused(tiny_space, data) -> None:
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as local:
        joins = threading.Timer(1, local.scale, [2])
        with distributed.Client(local.scheduler_address, set_as_default=False) as client:
            client.register_plugin(_Older())  # workers that join are older than those that are here
            client.run(_pretend, "99.0")
            with pytest.raises(UserError, match=r"the worker tcp://\S+ has torch 99.0, expected"):
                rank(tiny_space, Estimator(), data=data, scheduler=local.scheduler_address)
            client.run(_pretend, None)
            joins.start()
            with pytest.raises(UserError, match=r"the worker tcp://\S+ has torch 0.0, expected"):
                rank(
                    tiny_space,
                    Reports(pause=1),
                    data=data,
                    sampler="all",
                    seeds=20,
                    scheduler=local.scheduler_address,
                )
            joins.join()


class _Older(distributed.WorkerPlugin):
    """Makes a worker say that its torch is older."""

    name = "older"

    def setup(self, worker: Any) -> None:
        _pretend("0.0")


def _pretend(torch: str | None) -> None:
    """In a worker: what it says its version of torch is; None for the truth."""
    true = nasproxy.system.machine.versions()
    dask_worker.versions = lambda: {**true, **({"torch": torch} if torch else {})}


@pytest.mark.slow
def test_data_that_change_on_the_way_are_refused(
    two_workers, tiny_space, data, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = cluster.Cluster._publish

    def damaged(self: cluster.Cluster, estimator: Any) -> Path:
        path = publish(self, estimator)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        return path

    monkeypatch.setattr(cluster.Cluster, "_publish", damaged)
    with pytest.raises(UserError, match="received other data than were sent"):
        rank(tiny_space, Estimator(), data=data, scheduler=two_workers)


@pytest.mark.slow
def test_a_cluster_without_workers_is_said(
    tiny_space, data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_WORKERS_WITHIN", 2.0)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as local:
        with pytest.raises(UserError, match="has had no workers for 2 seconds"):
            rank(tiny_space, Estimator(), data=data, scheduler=local.scheduler_address)
        local.scale(1)
        leaves = threading.Timer(15, local.scale, [0])
        leaves.start()
        with pytest.raises(UserError, match="has had no workers for 2 seconds"):
            rank(
                tiny_space,
                Reports(pause=2),
                data=data,
                sampler="all",
                seeds=20,
                scheduler=local.scheduler_address,
            )
        leaves.join()


@pytest.mark.slow
@pytest.mark.parametrize("mute", [False, True])
def test_no_scheduler_there_is_said_in_a_line(
    mute: bool, tiny_space_file: str, npz: str, tmp_path: Path, command: Callable
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not mute:
            server.close()
        start = time.monotonic()
        status, out, err = command(
            *("rank", "--by", "full", "--data", npz, "--space", tiny_space_file),
            *("--scheduler", f"tcp://127.0.0.1:{port}", "--storage", f"sqlite:///{tmp_path}/s.db"),
        )
    assert (status, out) == (2, "")
    assert err.startswith(f"nasproxy: error: no Dask scheduler answers at tcp://127.0.0.1:{port}: ")
    assert err.count("\n") == 1
    assert time.monotonic() - start < SOON
    assert not (tmp_path / "s.db").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scheduler": "localhost"}, "expected a scheduler such as tcp://host:8786"),
        ({"scheduler": ""}, "expected a scheduler such as tcp://host:8786"),
        ({"scheduler": "tcp://localhost:8786", "jobs": 2}, "jobs are local processes"),
        ({"scheduler": "tcp://localhost:8786", "trial_timeout": 0}, "timeout above 0"),
    ],
)
def test_what_makes_no_sense_is_said(tiny_space, data, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        rank(tiny_space, "params", data=data, **options)


def test_without_dask_it_is_said(tiny_space, data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install 'nasproxy\[cluster\]'"):
        rank(tiny_space, "params", data=data, scheduler="tcp://localhost:8786")


@pytest.mark.slow
def test_a_pruner_is_refused(two_workers, tiny_space, data) -> None:
    with pytest.raises(UserError, match="not on a cluster"):
        rank(tiny_space, "full", data=data, pruner="halving", scheduler=two_workers)


DRIVER = """
import sys, nasproxy
from nasproxy.cli import main
from tests.workers import test_dask as test_cluster
from tests.conftest import make_arrays
data = nasproxy.from_arrays(*make_arrays(), *make_arrays(90, seed=1), name="made")
estimator = getattr(test_cluster, sys.argv[4])(**eval(sys.argv[5]))
try:
    nasproxy.rank(sys.argv[1], estimator, data=data, sampler="all", seeds=4, study="s",
                  storage=sys.argv[2], scheduler=sys.argv[3])
except nasproxy.UserError as error:
    sys.exit(str(error))
"""


def _start(*arguments: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _drive(space: str, storage: str, scheduler: str, estimator: str, options: dict) -> Any:
    return _start("-c", DRIVER, space, storage, scheduler, estimator, options)


def _wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def _finished(storage: str) -> int:
    """How many trials are complete; asked without Optuna, which would make the tables."""
    try:
        with sqlite3.connect(storage.removeprefix("sqlite:///")) as connection:
            return connection.execute(
                "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
            ).fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0


@pytest.mark.slow
def test_a_lost_scheduler_is_said_and_the_study_goes_on(
    tiny_space, tiny_space_file: str, data, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    storage = f"sqlite:///{tmp_path / 's.db'}"
    given = ("--no-dashboard", "--host", "127.0.0.1", "--port", address.rpartition(":")[2])
    worker = ("-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard")
    running = [_start("-m", "distributed.cli.dask_scheduler", *given), _start(*worker)]
    try:
        driver = _drive(tiny_space_file, storage, address, "Reports", {})
        running.append(driver)
        _wait_until(lambda: _finished(storage) > 0)
        os.killpg(running[0].pid, signal.SIGKILL)
        assert driver.wait(SOON) == 1
        assert driver.stderr.read().splitlines() == [
            f"the Dask scheduler at {address} is gone; what is finished is kept: "
            "the same command goes on once it is back"
        ]
        before = optuna.load_study(study_name="s", storage=storage).trials
        assert len(scored(optuna.load_study(study_name="s", storage=storage))) < 5
        running.append(_start("-m", "distributed.cli.dask_scheduler", *given))
        running.append(_start(*worker))
        driver = _drive(tiny_space_file, storage, address, "Reports", {})
        running.append(driver)
        assert driver.wait(60) == 0, driver.stderr.read()
    finally:
        _end(running)
    study = optuna.load_study(study_name="s", storage=storage)
    one = rank(tiny_space, Estimator(), data=data, sampler="all", seeds=4, jobs=1)
    assert {t.user_attrs["architecture"]: t.value for t in scored(study)} == {
        t.user_attrs["architecture"]: t.value for t in scored(one)
    }
    assert len(scored(study)) == 5
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    for old in before:  # done once
        if old.state is TrialState.COMPLETE:
            assert study.trials[old.number].datetime_complete == old.datetime_complete


def _end(running: "list[subprocess.Popen[str]]") -> None:
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_ends_leaves_no_work_behind(
    tiny_space, tiny_space_file: str, data, tmp_path: Path, how: signal.Signals
) -> None:
    import psutil

    keys = _keys(rank(tiny_space, Estimator(), data=data, sampler="all", jobs=1))
    storage = f"sqlite:///{tmp_path / 's.db'}"
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address=None
    ) as local:
        driver = _drive(
            tiny_space_file, storage, local.scheduler_address, "Endless", {"key": keys[3]}
        )
        try:
            _wait_until(lambda: _finished(storage) >= 3)
            busy = [c for c in psutil.Process().children(recursive=True) if _serves(c)]
            assert busy
            driver.send_signal(how)
            driver.wait(SOON)
            _wait_until(lambda: not any(c.is_running() and _works(c) for c in busy), SOON)
        finally:
            _end([driver])
        study = rank(
            tiny_space, Estimator(), data=data, sampler="all", seeds=4, study="s", storage=storage,
            scheduler=local.scheduler_address,
        )  # fmt: skip
    assert sorted(_keys(study)) == sorted(keys)
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))


def _serves(process: Any) -> bool:
    import psutil

    try:
        return any("_serve(" in word for word in process.cmdline())
    except psutil.Error:  # it ended just now
        return False


def _works(process: Any) -> bool:
    """Whether it is computing: what never ends takes all it gets."""
    try:
        before = process.cpu_times().user
        time.sleep(0.5)
        return process.cpu_times().user > before + 0.02
    except Exception:  # it ended just now
        return False


def _keys(study: optuna.Study) -> list[str]:
    return [t.user_attrs["architecture"] for t in scored(study)]


def _broken(study: optuna.Study) -> dict[str, str]:
    trials = [t for t in study.trials if "broken" in t.user_attrs]
    return {t.user_attrs["architecture"]: t.user_attrs["broken"] for t in trials}
