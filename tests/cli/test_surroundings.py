"""Names, shells and systems that are not as at home."""

import contextlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nasproxy import UserError
from nasproxy.cli.handlers.rankings import _named
from nasproxy.cli.parsing import parse
from nasproxy.cli.program import main
from nasproxy.studies.storage import open_storage
from nasproxy.system.files import expanded


@pytest.mark.parametrize(
    ("combine", "rankings", "expected"),
    [
        ("a,b", ["a", "b"], ["a", "b"]),
        ("full:epochs=2,lr=0.1,params", ["params", "full:epochs=2,lr=0.1"], None),
        ("a,b,a", ["a,b", "a"], ["a,b", "a"]),
        ("acc,a", ["table:x.csv:acc", "a"], ["acc", "a"]),
        ("a,nothing", ["a", "b"], ["a", "nothing"]),  # correlate says that there is none
    ],
)
def test_names_with_commas_are_combined(combine: str, rankings: list[str], expected) -> None:
    expected = expected or ["full:epochs=2,lr=0.1", "params"]
    assert _named(combine.split(","), rankings) == expected


def test_names_that_may_be_read_in_two_ways_are_refused() -> None:
    with pytest.raises(UserError, match="'a' with 'b' with 'c' or 'a,b' with 'c'"):
        _named(["a", "b", "c"], ["a", "b", "a,b", "c"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_what_stdout_can_t_write_is_escaped(encoding: str, tmp_path: Path, monkeypatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert main(["copy", "convnet", str(tmp_path / "日é.py")]) == 0
    sys.stdout.flush()
    said = raw.getvalue().decode(encoding)
    assert said.startswith(str(tmp_path))
    assert ("日é.py" if encoding == "utf-8" else "\\u65e5") in said


def test_the_user_s_folder_is_found_where_no_shell_looks_for_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    open_storage("sqlite:///~/x.db")
    assert (tmp_path / "x.db").is_file()
    assert parse(["run", "--out=~/made", "--data=~/images"])[1]["out"] == str(tmp_path / "made")
    assert not (Path.cwd() / "~").exists()


def test_a_user_without_a_folder_has_the_temporary_one(monkeypatch) -> None:
    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    assert expanded("~/.cache/x") == Path(tempfile.gettempdir()) / ".cache" / "x"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user reaches."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    if os.geteuid() == 0:  # whom no permission stops
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


def _content(database: Path) -> list[str]:
    """What is in it; its bytes may change without, as what was written before is put in place."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_may_only_be_read_is_correlated(
    what: str, open_folder: Path, command, npz: str, tiny_space_file: str, monkeypatch
) -> None:
    database = open_folder / "s.db"
    url = f"sqlite:///{database}"
    for by in ("params", "flops"):
        words = ("rank", "--by", by, "--data", npz, "--space", tiny_space_file, "--trials", 4)
        assert command(*words, "--storage", url, "--quiet")[0] == 0
    monkeypatch.chdir("/")
    database.chmod(0o444 if what == "file" else 0o666)
    open_folder.chmod(0o555 if what == "folder" else 0o777)
    before = _content(database)
    words = ("correlate", "--truth", "params", "--study", "flops", "--storage", url, "--json")
    with _as_nobody():
        status, out, err = command(*words)
    assert status == 0, err
    assert json.loads(out)["n"] == 4
    assert err.startswith("nasproxy: the dashboard does not show this report: ")
    assert err.count("\n") == 1
    assert _content(database) == before


def test_a_shell_completes_commands_and_options() -> None:
    pytest.importorskip("shtab")
    made = [sys.executable, "-m", "nasproxy", "--print_completion", "shtab-bash"]
    script = subprocess.run(made, capture_output=True, text=True, check=True).stdout
    asks = "COMP_WORDS=(nasproxy rank --tri) COMP_CWORD=2 COMP_LINE='nasproxy rank --tri'; "
    asks += "_shtab_nasproxy; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", f"{script}\n{asks}"], capture_output=True, text=True)
    assert set(done.stdout.split()) == {"--trials", "--trial_timeout"}
