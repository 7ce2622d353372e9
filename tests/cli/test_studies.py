"""Studies listed, shown, renamed, deleted; architectures by name, the first ones, the best ones."""

import io
import json
import sys
from pathlib import Path

import optuna
import pytest

from nasproxy import correlate
from nasproxy.studies.dashboard import note_of
from nasproxy.studies.identity import load_study
from nasproxy.studies.storage import open_storage


@pytest.fixture
def storage(command, npz: str, tiny_space_file: str, tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 's.db'}"
    for by in ("params", "flops"):
        words = ("--by", by, "--data", npz, "--space", tiny_space_file, "--trials", 5)
        status, _, err = command("rank", *words, "--jobs", 1, "--storage", url)
        assert status == 0, err
    optuna.create_study(study_name="foreign", storage=url)
    return url


def test_studies(command, storage: str, npz: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def studies(*words: str) -> tuple[int, str, str]:
        return command("studies", *words, "--storage", storage)

    status, out, _ = studies()
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split() == ["study", "scored", "estimator", "data", "space", "begun", "last"]
    assert lines[2].split()[:4] == ["params", "5", "params", npz]
    assert "foreign: study 'foreign' is not one that nasproxy made" in lines
    rows = json.loads(studies("list", "--json")[1])["studies"]
    assert [row["study"] for row in rows] == ["foreign", "params", "flops"]
    assert rows[1]["endings"] == {"scored": 5, "invalid": 1}
    assert rows[1]["begun"] <= rows[1]["last"]

    assert studies("rename", "params", "size")[0] == 0
    status, out, _ = studies("show", "size")
    assert status == 0
    assert out.startswith("# size\n")
    assert "5 scored" in out

    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))  # no terminal
    assert "--yes" in studies("delete", "size")[2]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert studies("delete", "size")[0] == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert "nothing was deleted" in studies("delete", "flops")[2]
    assert studies("delete", "foreign", "flops", "--yes")[0] == 0
    assert studies()[1] == "no studies\n"


def test_bad_words_change_nothing(command, storage: str) -> None:
    for words in (("shwo",), ("show",), ("show", "a"), ("list", "params"), ("delete",),
                  ("delete", "params", "flosp", "--yes"), ("rename", "params"),
                  ("rename", "a", "b"), ("rename", "params", "flops"), ("rename", "params", ""),
                  ("rename", "params", "table:x"), ("rename", "params", "a@loss")):  # fmt: skip
        status, out, err = command("studies", *words, "--storage", storage)
        assert (status, out) == (2, ""), words
        assert err.count("\n") == 1, err
    assert command("studies", "--storage", "sqlite:///missing.db")[0] == 2
    rows = json.loads(command("studies", "--storage", storage, "--json")[1])["studies"]
    assert {row["study"] for row in rows} == {"params", "flops", "foreign"}


def test_architectures_by_name(
    command, storage: str, npz: str, tiny_space_file: str, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    common = ("--data", npz, "--space", tiny_space_file, "--jobs", 1, "--storage", storage)
    names.write_text("kind=deep width=16\n\nkind=plain width=2\n kind=plain width=8 \n")
    for by in ("params", "flops"):
        words = ("rank", "--by", by, "--like", names, "--study", f"by_{by}")
        status, out, err = command(*words, *common, "--json")
        assert status == 0, err
        keys = {row["architecture"] for row in json.loads(out)["ranking"]}
        assert keys == {"kind=deep width=16", "kind=plain width=2", "kind=plain width=8"}
    status, out, err = command(
        "correlate", "--truth", "by_flops", "--study", "by_params", "--storage", storage
    )
    assert status == 0, err
    assert "3 architectures, given by hand" in out
    assert "drawn uniformly" not in out
    words = ("rank", "--by", "params", "--like", names, "--trials", 1, "--study", "first")
    ranking = json.loads(command(*words, *common, "--json")[1])["ranking"]
    assert [row["architecture"] for row in ranking] == ["kind=deep width=16"]
    for text, said in (("", "got none"), ("kind=plain width=9\nw", "has no 'kind=plain width=9'")):
        names.write_text(text)
        status, _, err = command("rank", "--by", "params", "--like", names, *common)
        assert status == 2
        assert said in err


def test_the_first_ones_of_a_study(command, npz: str, tmp_path: Path) -> None:
    common = ("--data", npz, "--jobs", 1, "--storage", f"sqlite:///{tmp_path / 's.db'}", "--json")
    common = (*common, "--space", "convnet_tiny", "--by", "params")

    def ranked(*words: object) -> set[str]:
        status, out, err = command("rank", *words, *common)
        assert status == 0, err
        return {row["architecture"] for row in json.loads(out)["ranking"]}

    all_of_them = ranked("--trials", 30, "--seed", 3, "--study", "many")
    few = ranked("--trials", 7, "--seed", 3, "--study", "few")
    assert ranked("--like", "many", "--trials", 7, "--study", "first") == few
    assert ranked("--like", "many", "--study", "all") == all_of_them
    again = ranked("--like", "all", "--trials", 7, "--study", "again")  # its seed is another
    assert len(again) == 7
    assert again < all_of_them


def test_the_best_of_a_calibration(
    command, storage: str, npz: str, tiny_space_file: str, tmp_path: Path
) -> None:
    names, words = tmp_path / "best.txt", ("--truth", "flops", "--study", "params")
    words = ("calibrate", *words, "--top", 2, "--out", names, "--storage", storage)
    status, out, err = command(*words)
    assert status == 0, err
    assert "and 3 more" in out
    ranking = json.loads(command(*words, "--json")[1])["ranking"]
    assert names.read_text().splitlines() == [row["architecture"] for row in ranking[:2]]
    assert command("calibrate", *words[1:5], "--top", 0, "--storage", storage)[0] == 2


def test_studies_of_several_storages_are_compared(
    command, storage: str, npz: str, tiny_space_file: str, tmp_path: Path
) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    words = ("--data", npz, "--space", tiny_space_file, "--jobs", 1, "--storage", other)
    for name in ("mine", "params"):
        words = (*words[:8], "--by", "params", "--trials", 9, "--study", name)
        status, _, err = command("rank", *words)
        assert status == 0, err
    both = ("--storage", storage, "--storage", other)
    out = tmp_path / "out"
    status, _, err = command(
        "correlate", "--truth", "flops", "--study", "mine", *both, "--out", out
    )
    assert (status, err) == (0, "")
    line = f"--storage {storage} --storage {other} --out {out}"
    assert all(word in (out / "report.html").read_text() for word in line.split())
    for url, name in ((storage, "flops"), (other, "mine")):
        assert "Beside the truth" in note_of(load_study(name, open_storage(url)))
    status, _, err = command("correlate", "--truth", "flops", "--study", "params", *both)
    assert status == 2
    said = f"study 'params' is in {storage} and in {other}: give one of them another name, with "
    assert f"{said}nasproxy studies rename params NEW --storage {other}" in err
    status, _, err = command("calibrate", "--truth", "flops", "--study", "mnie", *both)
    assert (status, "no study 'mnie' in the 2 storages; did you mean 'mine'" in err) == (2, True)
    assert command("calibrate", "--truth", "flops", "--study", "mine", *both)[0] == 0
    assert correlate("flops", ["mine@params"], storage=[storage, open_storage(other)]).n == 5
