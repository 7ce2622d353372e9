"""The README's commands are real, and do what it says."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nasproxy.cli import _spell, make_parser

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def _commands() -> list[list[str]]:
    lines = [line for block in _blocks("bash") for line in block.splitlines()]
    parts = [part for line in lines for part in line.split("&&")]
    return [shlex.split(part, comments=True)[1:] for part in parts if part.split()[0] == "nasproxy"]


@pytest.mark.parametrize("arguments", _commands(), ids=" ".join)
def test_commands_parse(arguments: list[str]) -> None:
    make_parser().parse_args(_spell(arguments))


def test_every_file_is_in_the_tree() -> None:
    names = {path.name for path in (ROOT / "nasproxy").glob("*.py")} - {"__init__.py"}
    for name in names - {
        *("errors.py", "files.py", "runtime.py", "progress.py", "__main__.py", "spec.py", "size.py")
    }:
        assert name in TEXT, name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        assert (ROOT / target).exists(), target


@pytest.mark.slow
def test_the_first_command_and_the_python_work(tmp_path: Path) -> None:
    program = shutil.which("nasproxy", path=str(Path(sys.executable).parent))
    assert program
    done = subprocess.run([program, "run"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Best of 40 trained on the full data" in done.stdout
    for block in _blocks("python"):
        subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True)


@pytest.mark.slow
def test_step_by_step(tmp_path: Path) -> None:
    program = shutil.which("nasproxy", path=str(Path(sys.executable).parent))
    block = next(block for block in _blocks("bash") if "correlate" in block)
    for line in block.splitlines():
        arguments = shlex.split(line, comments=True)[1:]
        done = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.md").exists()
