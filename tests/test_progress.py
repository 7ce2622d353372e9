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

from nasproxy import progress
from nasproxy.errors import UserError


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
