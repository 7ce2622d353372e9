"""What we store opens in optuna-dashboard."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from nasproxy import rank


@pytest.mark.slow
def test_the_dashboard_opens_a_study(tiny_space, data, tmp_path: Path) -> None:
    program = shutil.which("optuna-dashboard", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("optuna-dashboard is not installed")
    url = f"sqlite:///{tmp_path / 's.db'}"
    rank(tiny_space, "params", data=data, trials=4, study="mine", storage=url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [program, url, "--port", str(port), "--host", "127.0.0.1"], stderr=subprocess.DEVNULL
    )
    try:
        found = _get(f"http://127.0.0.1:{port}/api/studies")
        (study,) = found["study_summaries"]
        assert study["study_name"] == "mine"
        detail = _get(f"http://127.0.0.1:{port}/api/studies/{study['study_id']}?after=0")
        assert len(detail["trials"]) >= 4
        assert "parameters" in json.dumps(detail), detail.keys()
    finally:
        server.terminate()
        server.wait(10)


def _get(url: str) -> dict:
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")
