"""Progress: bars on a terminal, lines in a log, silence elsewhere."""

import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import nasproxy
from nasproxy.errors import UserError
from nasproxy.system import progress
from tests.conftest import QUICK


def test_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    bar = progress.progress("training", 3)
    for _ in range(3):
        bar.update()
    bar.close()
    assert capsys.readouterr().err == ""


def test_a_log_has_lines_now_and_then(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY", 0.0)
    with progress.logged_to(tmp_path / "log"):
        progress.say("one", show=False)
        bar = progress.progress("training", 3, done=1)
        bar.update()
    progress.say("after", show=False)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0].endswith(" one")
    assert "training" in lines[-1] and "2/3" in lines[-1]
    with pytest.raises(ValueError), progress.logged_to(tmp_path / "log"):
        raise ValueError("why")
    assert (tmp_path / "log").read_text().splitlines()[-1].endswith("ended by ValueError: why")
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write"), progress.logged_to(tmp_path):
        pass


@pytest.mark.slow
def test_bars_on_a_terminal_unless_quiet(npz: str, tmp_path: Path) -> None:
    program = shutil.which("nasproxy", path=str(Path(sys.executable).parent))
    environment = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"}
    for quiet in ([], ["--quiet"]):
        shown, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        out = tmp_path / f"p{len(quiet)}.safetensors"
        arguments = ["condense", "--data", npz, "--ipc", "2", "--steps", "3", "--out", out]
        subprocess.run([program, *arguments, *quiet], stderr=end, check=True, env=environment)
        os.close(end)
        seen = b""
        while True:
            try:
                seen += (more := os.read(shown, 4096))
            except OSError:  # the other end is closed
                break
            if not more:
                break
        os.close(shown)
        assert (b"3/3" in seen) == (not quiet), seen


class _Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Time:
    clock = _Time()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def _said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("seconds", "total", "said"),
    [
        (60.0, 120, "steps: about 1.9 h left; --steps 40 would take 40 min in all"),
        (6.0, 120, "steps: about 12 min left; --steps 40 would take 4 min in all"),
        (3600.0, 8, "steps: about 4 h left"),  # a third is done already
        (3600.0, 400, "steps: about 16 days left; --steps 133 would take 5.5 days in all"),
        (2.0, 100, None),
    ],
)
def test_long_work_is_foreseen_once(
    clock: _Time, capsys: pytest.CaptureFixture[str], seconds: float, total: int, said: str | None
) -> None:
    bar = progress.progress("steps", total, forecast=progress.Forecast("--steps", few=3))
    for _ in range(total):
        clock.now += seconds
        bar.update()
    assert capsys.readouterr().err == ("" if said is None else f"{said}\n")


@pytest.mark.parametrize("start", [0.0, 50.0])
@pytest.mark.parametrize("together", [True, False])
def test_workers_share_the_time(
    clock: _Time, capsys: pytest.CaptureFixture[str], together: bool, start: float
) -> None:
    """Eight trainings of 40 seconds at a time: 200 take 1000 seconds, however workers begin."""
    forecast = progress.Forecast("--trials", lambda: 8)
    bar = progress.progress("ranking", 200, forecast=forecast)
    began = clock.now + start
    for k in range(200):
        clock.now = began + 40 * (k // 8 + 1) if together else began + 40 + 5 * k
        bar.update()
    (line,) = capsys.readouterr().err.splitlines()
    left = int(line.removeprefix("ranking: about ").partition(" min")[0])
    assert 14 <= left <= 16
    assert "--trials 66 would take" in line


def test_what_was_done_before_is_no_measure(
    clock: _Time, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = progress.progress("ranking", 100, forecast=progress.Forecast("--trials"))
    bar.update(80)
    for _ in range(20):
        clock.now += 100
        bar.update()
    assert capsys.readouterr().err == "ranking: about 30 min left\n"


def test_a_forecast_is_quiet_where_progress_is(
    clock: _Time, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with progress.logged_to(tmp_path / "log"):
        forecast = progress.Forecast("--steps")
        bar = progress.progress("steps", 100, show=False, forecast=forecast)
        for _ in range(3):
            clock.now += 100
            bar.update()
    assert capsys.readouterr().err == ""
    assert "about 2.7 h left" in (tmp_path / "log").read_text()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any time is long."""
    for name in ("_LONG", "_WARM", "_COLD"):
        monkeypatch.setattr(progress, name, 0.0)


def test_condensing_is_foreseen(impatient, data, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"method": "dm-space", "space": "convnet_tiny", "ipc": 1, "steps": 30}
    nasproxy.condense(data, **options, progress=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("condensing made: about 1 min left; --steps 10 would take 1 min in all")
    nasproxy.condense(data, **options)
    assert capsys.readouterr().err == ""


def test_trainings_are_foreseen(
    impatient, data, tiny_space, capsys: pytest.CaptureFixture[str]
) -> None:
    same = {"data": data, "recipe": QUICK, "sampler": "all", "jobs": 1}
    nasproxy.rank(tiny_space, "full", **same, progress=True)
    err = capsys.readouterr().err
    assert err.count("ranking by full: about 1 min left, or less: the largest come first\n") == 1
    nasproxy.rank(tiny_space, "full", **same)
    nasproxy.rank(tiny_space, "full", **same, pruner="halving", rungs=[1], progress=True)
    assert "left" not in capsys.readouterr().err
