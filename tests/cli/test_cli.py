import functools
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from nasproxy import Dataset, ProxySet, Recipe
from nasproxy.cli.commands import COMMANDS
from nasproxy.cli.handlers.listings import on_list
from nasproxy.cli.options import UNSET, Command
from nasproxy.cli.parsing import parse
from nasproxy.data.named import DATASETS
from nasproxy.estimators.training_free import AGGREGATES
from nasproxy.estimators.zerocost import SCORES
from nasproxy.proxies.methods import METHODS
from nasproxy.spaces.code import space_names
from nasproxy.spaces.space import load_space
from nasproxy.studies.storage import DEFAULT_STORAGE
from nasproxy.training.recipe import PROXY_RECIPE
from tests.conftest import SOON


def test_step_by_step(command, npz: str, tiny_space_file: str, tmp_path: Path) -> None:
    proxy, storage = tmp_path / "p.safetensors", f"sqlite:///{tmp_path / 's.db'}"
    status, out, err = command(
        "condense", "--data", npz, "--ipc", 2, "--steps", 2, "--real-batch", 8, "--out", proxy,
        "--json",
    )  # fmt: skip
    assert status == 0, err
    assert json.loads(out)["options"]["real_batch"] == 8
    assert proxy.with_suffix(".png").exists()

    status, out, err = command(
        "evaluate", proxy, "--data", npz, "--networks", 2, "--width", 4, "--recipe.epochs", 2,
        "--jobs", 1, "--json",
    )  # fmt: skip
    assert status == 0, err
    quality = json.loads(out)
    assert quality["proxy"]["n"] == quality["random"]["n"] == 2
    assert 0 <= quality["proxy"]["accuracy"] <= 1

    common = ("--data", npz, "--space", tiny_space_file, "--storage", storage, "--jobs", 1)
    for by, study, more in (
        (f"{proxy}:epochs=2", "fast", ("--trials", 5)),
        ("full:epochs=1", "early", ("--like", "fast")),
        ("params", "params", ("--like", "fast")),
        ("full:epochs=3", "truth", ("--like", "fast")),
    ):
        status, out, err = command("rank", "--by", by, "--study", study, *more, *common, "--json")
        assert status == 0, err
        ranking = json.loads(out)["ranking"]
        assert len(ranking) == 5
        assert [row["score"] for row in ranking] == sorted(
            (row["score"] for row in ranking), reverse=True
        )
    status, out, err = command(
        "correlate", "--truth", "truth", "--study", "fast", "--study", "early", "--study",
        "params", "--storage", storage, "--out", tmp_path / "report", "--json",
    )  # fmt: skip
    assert status == 0, err
    report = json.loads(out)
    assert report["truth"] == "truth"
    assert report["n"] == 5
    assert [r["study"] for r in report["rankings"]] == ["fast", "early", "params"]
    assert {"estimator", "spearman", "spearman_ci", "kendall"} <= report["rankings"][0].keys()
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == report
    status, out, _ = command(
        "correlate", "--truth", "truth", "--study", "fast", "--storage", storage
    )
    assert status == 0
    assert "| fast" in out


def test_run_from_a_config_file(command, npz: str, tiny_space_file: str, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        f"data: {npz}\nspace: {tiny_space_file}\nipc: 2\nsteps: 2\ntrials: 3\njobs: 1\n"
        "quiet: true\nproxy:\n  epochs: 1\nfull:\n  epochs: 1\n"
    )
    out_folder = tmp_path / "out"
    status, out, err = command("run", "--config", config, "--out", out_folder, "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert document == json.loads((out_folder / "report.json").read_text())


def test_lists_in_a_config_file(command, npz: str, tiny_space_file: str, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 's.db'}"
    common = ("--data", npz, "--space", tiny_space_file, "--storage", storage, "--jobs", 1)
    for by in ("params", "flops"):
        assert command("rank", "--by", by, "--trials", 4, *common)[0] == 0
    text = f"truth: params\nstudy: [flops, params]\nstorage: {storage}\ncombine: ['flops,params']\n"
    (tmp_path / "c.yaml").write_text(text)
    status, out, err = command("correlate", "--config", tmp_path / "c.yaml", "--json")
    assert status == 0, err
    names = [r["study"] for r in json.loads(out)["rankings"]]
    assert names == ["flops", "params", "flops+params"]
    twice = ("--truth", "params", "--study", "flops", "--study", "flops", "--storage", storage)
    assert "expected every ranking once" in command("correlate", *twice)[2]


def test_print_config_is_a_config(command, tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "nasproxy", "run", "--ipc", "7", "--print_config"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "ipc: 7" in shown
    assert "fresh: false" in shown


def test_lists(command) -> None:
    for what, expected in (
        ("spaces", "convnet"),
        ("datasets", "cifar10"),
        ("methods", "dm"),
        ("estimators", "full"),
    ):
        status, out, _ = command("list", what, "--json")
        assert status == 0
        assert expected in json.loads(out)[what]


def test_copy(command, tmp_path: Path) -> None:
    status, out, _ = command("copy", "convnet", tmp_path / "mine.py")
    assert status == 0
    assert (tmp_path / "mine.py").exists()
    assert "--space" in out


@pytest.mark.slow  # a process each
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["list", "spaces"]])
def test_what_needs_no_torch_starts_without(words: list[str]) -> None:
    code = f"""import sys
from nasproxy.cli import main
try:
    status = main({words})
    assert not status
finally:
    assert not {{"torch", "scipy", "sklearn", "matplotlib", "plotly"}} & set(sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_listed_is_what_there_is(command) -> None:
    """The lists are made without importing what they name."""
    found = {
        what: json.loads(command("list", what, "--json")[1])[what]
        for what in ("spaces", "datasets", "methods", "estimators")
    }
    assert found["spaces"] == {name: load_space(name).summary for name in space_names()}
    assert found["datasets"].keys() == DATASETS.keys()
    assert found["methods"].keys() == METHODS.keys()
    named = {name for name in found["estimators"] if name.islower() and ":" not in name}
    assert named == {"auto", "full", "params", "flops", "latency", *SCORES, *AGGREGATES}
    assert all(text for texts in found.values() for text in texts.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_default_storage_is_the_same_everywhere(name: str) -> None:
    found = [o.default for o in COMMANDS[name].options if o.name == "storage"]
    assert found in ([], [DEFAULT_STORAGE])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.summary
    for option in command.options:
        assert option.help, f"{name}: {option.name}"
        for field in option.fields:
            assert field.help, f"{name}: {field.name}"


@dataclass(frozen=True)
class _Made:
    """Options of a way of making something.

    Attributes:
        much: how much of it.
        fine: how fine.
    """

    much: int = 3
    fine: bool | None = None


@dataclass(frozen=True)
class _Other:
    """Options of another way.

    Attributes:
        much: how many.
    """

    much: int = 4


def _function(
    data: "Dataset | str",
    others: Sequence[Sequence[str]] = (),
    files: "Sequence[Path | int]" = (),
    recipe: Recipe = PROXY_RECIPE,
    like: "Recipe | dict | None" = None,
    pool: "ProxySet | None" = None,
    progress: bool = False,
    **options: Any,
) -> None:
    """A function.

    Args:
        data: a set
            or its ``name``.
        others: groups of names.
        files: some files.
        recipe: how.
        like: how else.
        pool: an object, which nobody can type.
        progress: show it.
        options: of the way.
    """


def _handler(out: str | None = None, **given: Any) -> None:
    """What it is for.

    Args:
        out: where.
    """


def test_options_are_those_of_signatures() -> None:
    """So that a parameter that is added to a function is an option, too."""
    command = Command(
        "What it is for.", _function, _handler, {"data": "digits"}, {"others": "other"},
        by_choice={"a": _Made, "b": _Other},
    )  # fmt: skip
    found = {option.name: option for option in command.options}
    assert list(found) == [
        *("data", "other", "files", "recipe", "like", "out", "much", "fine"),
        *("quiet", "log", "root", "image_size", "flip", "splits", "json"),
    ]
    data = found["data"]
    assert (data.type, data.default, data.help) == (str, "digits", "a set or its name.")
    assert (found["other"].parameter, found["other"].type) == ("others", list[list[str]])
    assert found["files"].type == list[int]
    assert found["recipe"].fields[0].default == PROXY_RECIPE.epochs
    assert [f.default for f in found["like"].fields] == [UNSET] * len(found["recipe"].fields)
    assert found["much"].help == "a: how much of it; b: how many (by default a: 3; b: 4)"
    assert (found["fine"].type, found["fine"].default) == (bool | None, UNSET)
    assert (found["out"].type, found["out"].default) == (str | None, None)


def test_what_was_given_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("proxy: {image_size: null}\n")
    words = ["run", "--config", str(tmp_path / "c.yaml"), "--proxy.read", "both"]
    given = parse([*words, "--full.epochs=2"])[1]
    assert given["proxy"] == {"image_size": None, "read": "both"}
    assert given["full"] == Recipe(epochs=2)
    assert "proxy" not in parse(["run"])[1]


def test_the_line_of_a_command() -> None:
    given = {"truth": "a b", "rankings": ["x", "y"], "combine": [["x", "y"]], "seed": 0}
    line = COMMANDS["correlate"].line("correlate", {**given, "storage": DEFAULT_STORAGE})
    assert line == "nasproxy correlate --truth 'a b' --study x --study y --combine x,y"
    assert parse(shlex.split(line)[1:])[1] | given == parse(shlex.split(line)[1:])[1]


BAD = {
    "unknown command": ("rnak",),
    "no command": (),
    "unknown option": ("run", "--trails", "3"),
    "not a number": ("run", "--ipc", "ten"),
    "unknown data": ("run", "--data", "cifar"),
    "unknown space": ("run", "--space", "convnets"),
    "unknown method": ("condense", "--method", "dmm"),
    "option of another method": ("condense", "--method", "random", "--steps", "3"),
    "class too small": ("condense", "--ipc", "100000"),
    "wrong ending": ("condense", "--out", "proxy.npz"),
    "unwritable": ("condense", "--out", "/proc/nowhere/proxy.safetensors"),
    "unwritable run": ("run", "--out", "/proc/nowhere"),
    "missing proxy": ("evaluate", "missing.safetensors"),
    "unknown estimator": ("rank", "--by", "fulll"),
    "no estimator": ("rank",),
    "bad storage": ("rank", "--by", "params", "--storage", "nonsense://x"),
    "unknown like": ("rank", "--by", "params", "--like", "nothing", "--storage", "sqlite:///s.db"),
    "missing storage": ("correlate", "--truth", "t", "--study", "s", "--storage", "sqlite:///n.db"),
    "no study": ("correlate", "--truth", "t"),
    "unknown list": ("list", "space"),
    "missing config": ("run", "--config", "missing.yaml"),
    "no jobs": ("run", "--jobs", "-1"),
    "out of range": ("run", "--trials", "0"),
    "recipe out of range": ("run", "--full.lr", "-1"),
    "unknown device": ("condense", "--device", "tpu9"),
    "unknown augmentation": ("condense", "--augment", "twirl"),
    "copy over": ("copy", "convnet", "/etc/hosts"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(command, case: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = command(*BAD[case])
    assert status == 2, (out, err)
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("[")]
    assert len(lines) == 1, err
    assert lines[0].startswith("nasproxy: error: ")
    left = {p.name for p in tmp_path.iterdir()} - {"s.db", "s.db-wal", "s.db-shm", "runs"}
    assert not left


def test_bad_configs(command, tmp_path: Path) -> None:
    for text in ("ipcs: 3\n", "ipc: many\n", "[", "proxy:\n  epoch: 3\n"):
        (tmp_path / "c.yaml").write_text(text)
        status, _, err = command("run", "--config", tmp_path / "c.yaml")
        assert status == 2
        assert err.count("\n") == 1, err


def test_an_internal_error_is_one_line_too(command, monkeypatch) -> None:
    @functools.wraps(on_list)  # the parser is made from it, once
    def fail(what: str):
        raise KeyError("oops")

    monkeypatch.setitem(COMMANDS, "list", replace(COMMANDS["list"], handler=fail))
    status, _, err = command("list", "spaces")
    assert status == 1
    assert err.count("\n") == 1
    assert "internal error: KeyError" in err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_it_as_ctrl_c_does(command, monkeypatch, name: str) -> None:
    """The workers' `with` blocks see an interruption, and the exit status says which."""
    seen: list[type[BaseException]] = []

    @functools.wraps(on_list)
    def handler(what: str):
        try:
            signal.raise_signal(getattr(signal, name))
        except KeyboardInterrupt as error:
            seen.append(type(error))
            raise

    monkeypatch.setitem(COMMANDS, "list", replace(COMMANDS["list"], handler=handler))
    before = signal.getsignal(getattr(signal, name))
    status, out, err = command("list", "spaces")
    assert (status, out, len(seen)) == (128 + getattr(signal, name), "", 1)
    said = "interrupted" if name == "SIGINT" else f"ended by {name}"
    assert err == f"nasproxy: {said}; the same command goes on from here\n"
    assert signal.getsignal(getattr(signal, name)) is before


def test_what_the_caller_ignores_stays_ignored(command, monkeypatch) -> None:
    """As ``nohup`` has it."""

    @functools.wraps(on_list)
    def handler(what: str):
        signal.raise_signal(signal.SIGHUP)
        raise KeyError("went on")

    monkeypatch.setitem(COMMANDS, "list", replace(COMMANDS["list"], handler=handler))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert "went on" in command("list", "spaces")[2]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_is_not_lost_where_python_throws_exceptions_away(command, monkeypatch) -> None:
    class Thing:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    @functools.wraps(on_list)
    def handler(what: str):
        Thing()
        time.sleep(5)
        raise KeyError("went on")

    monkeypatch.setitem(COMMANDS, "list", replace(COMMANDS["list"], handler=handler))
    assert command("list", "spaces")[0] == 128 + signal.SIGTERM


def test_the_program_ends_without_taking_apart_what_it_imported() -> None:
    code = """
import atexit, sys
from nasproxy.cli import program

class Heavy:
    def __del__(self):
        print("taken apart")

heavy = Heavy()
atexit.register(print, "registered before", flush=True)
sys.argv[1:] = {!r}
sys.modules["kept"] = heavy
program()
"""
    cases = ((["list", "spaces"], 0), (["list", "nothing"], 2), (["search", "--help"], 0))
    for arguments, status in cases:
        done = subprocess.run(
            [sys.executable, "-c", code.format(arguments)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status
        assert (len(done.stdout) > 100) == (status == 0)  # all of it is out
        assert "taken apart" not in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_answer_that_cant_be_written_is_no_success() -> None:
    arguments = [sys.executable, "-m", "nasproxy", "list", "spaces"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            arguments, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.strip() == "nasproxy: error: the system: No space left on device"


@pytest.mark.slow
def test_ctrl_c_ends_soon_and_the_next_run_goes_on(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "nasproxy", "run", "--steps", "2", "--out", str(tmp_path)]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "study.db").exists() and process.poll() is None:
        time.sleep(0.1)
    time.sleep(8)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SOON)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert (tmp_path / "proxy.safetensors").exists()
    assert not list(tmp_path.glob("*-wal"))  # the database is one file again


def test_az_nas_is_listed_by_its_combination(command, npz: str, tmp_path: Path) -> None:
    status, out, err = command(
        "rank", "--by", "az_nas", "--data", npz, "--trials", 6, "--jobs", 1, "--json",
        "--storage", f"sqlite:///{tmp_path / 's.db'}",
    )  # fmt: skip
    assert status == 0, err
    scores = [row["score"] for row in json.loads(out)["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert max(scores) <= 0  # sums of logarithms of ranks
