import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nasproxy.cli import COMMANDS, _study_name, make_parser


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


@pytest.mark.parametrize(
    ("by", "name"),
    [
        ("full:lr=0.1", "full:lr=0.1"),
        ("a/p.safetensors:epochs=3", "p:epochs=3"),
        ("./p.safetensors", "p"),
        ("table:a/t.csv.gz:acc", "table:t.csv.gz:acc"),
    ],
)
def test_studies_are_named_for_the_whole_estimator(by: str, name: str) -> None:
    assert _study_name(by) == name


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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    parser = make_parser()._subcommands_action._name_parser_map[name]  # type: ignore[union-attr]
    for action in parser._actions:
        assert action.help, f"{name}: {action.dest}"
    assert parser.description


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
    import nasproxy.cli as cli

    def fail(options):
        raise KeyError("oops")

    monkeypatch.setitem(cli.COMMANDS, "list", cli.Command(cli.ListCommand, fail, ("what",)))
    status, _, err = command("list", "spaces")
    assert status == 1
    assert err.count("\n") == 1
    assert "internal error: KeyError" in err


@pytest.mark.slow
def test_ctrl_c_ends_soon_and_the_next_run_goes_on(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "nasproxy", "run", "--steps", "2", "--out", str(tmp_path)]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "study.db").exists() and process.poll() is None:
        time.sleep(0.1)
    time.sleep(8)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - start < 4
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert (tmp_path / "proxy.safetensors").exists()


def test_az_nas_is_listed_by_its_combination(command, npz: str, tmp_path: Path) -> None:
    status, out, err = command(
        "rank", "--by", "az_nas", "--data", npz, "--trials", 6, "--jobs", 1, "--json",
        "--storage", f"sqlite:///{tmp_path / 's.db'}",
    )  # fmt: skip
    assert status == 0, err
    scores = [row["score"] for row in json.loads(out)["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert max(scores) <= 0  # sums of logarithms of ranks
