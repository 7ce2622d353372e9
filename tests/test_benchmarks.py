"""The benchmarks' runner, what it keeps, and the plain implementations that it measures against."""

import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import fidelity, plain, results, truth
from benchmarks.__main__ import SPEED, main
from benchmarks.draws import DRAWS, all_draws
from benchmarks.results import FOLDER, Figure, of_rounds, read, summary
from benchmarks.settled import settled
from nasproxy import ProxySet, Recipe, UserError, correlate, load_dataset, load_space
from nasproxy.estimators.table import read_table
from nasproxy.report import rankings
from nasproxy.system.machine import seeded
from nasproxy.training.convnet import ConvNet
from nasproxy.training.training import Training, evaluate_network

ROOT = Path(__file__).parent.parent
KEYS = {"name", "figure", "target", "unit", "met", "n", "spread", "note"}


@pytest.mark.parametrize(
    ("figure", "better", "met"),
    [(1.0, "less", True), (1.1, "less", False), (1.0, "more", True), (0.9, "more", False)],
)
def test_met(figure: float, better, met: bool) -> None:
    made = Figure("a", figure, 1.0, "times", better, 3, None, "")
    assert made.met is met
    assert made.to_dict().keys() == KEYS


def test_rounds() -> None:
    assert of_rounds([3.0, 1.0, 2.0]) == (2.0, 3, 2.0)
    assert of_rounds([3.0]) == (3.0, 1, None)


def test_what_can_t_be_measured_here_is_skipped_with_a_reason(capsys) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    main(["train-gpu", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row.keys() == KEYS
    assert (row["figure"], row["met"]) == (None, None)
    assert row["note"].startswith("skipped: no CUDA")


def test_an_unknown_name_is_one_error() -> None:
    with pytest.raises(SystemExit) as error:
        main(["condense-stp"])
    assert error.value.code == 2


def test_the_page_shows_the_speed_that_was_measured() -> None:
    assert summary(read(list(SPEED))) in (ROOT / "docs" / "speed.md").read_text()
    for row in read(list(SPEED)):
        assert (FOLDER / f"{row['name']}.md").is_file()


def test_the_page_shows_the_draws_that_were_measured(capsys) -> None:
    page = (ROOT / "docs" / "fidelity.md").read_text()
    main(["table"])
    assert all_draws() in page
    assert all_draws() in capsys.readouterr().out
    latest = json.loads((FOLDER / "fidelity-nasbench201-cifar10-seed2033.json").read_text())
    options = latest["command"].partition(" --n ")[2]
    assert f"python -m benchmarks fidelity --n {options}" in page


def test_the_page_shows_the_fidelity_that_was_measured() -> None:
    """Every table and difference of a section is one of the results that it names.

    Of cells all differences are there, of the first draw all rows, too.
    """
    sections = (ROOT / "docs" / "fidelity-draws.md").read_text().split("\n## ")
    checked = set()
    for section in sections:
        names = set(re.findall(r"fidelity-[\w-]+-seed\d+", section))
        kept = {line for name in names for line in _lines(name)}
        lines = {
            line
            for line in section.splitlines()
            if re.match(r"\| |- (best fifth, )?\S+ - \S+.*: ", line)
        }
        assert lines <= kept | set(all_draws().splitlines()), section[:80]
        cells = [name for name in names if "nasbench201" in name]
        assert {f"- {each}" for name in cells for each in _differences(name)} <= lines
        if "fidelity-nasbench201-cifar10-seed2026" in names:
            assert "\n".join(x for x in _lines(*names) if x.startswith("| ")) in section
        if "fidelity-convnet-cifar10-seed2031" in names:
            assert len(lines) > 40
        checked |= names if lines else set()
    assert checked == {f"fidelity-{name}" for name in DRAWS} | {
        "fidelity-convnet-cifar10-seed100",
        "fidelity-convnet-fashion_mnist-seed2028",
    }


def _lines(name: str) -> list[str]:
    """Rows and differences of a result as they stand on a page."""
    rows = (FOLDER / f"{name}.md").read_text().splitlines()
    return [*rows, *(f"- {difference}" for difference in _differences(name))]


def _differences(name: str) -> list[str]:
    found: list[str] = json.loads((FOLDER / f"{name}.json").read_text())["differences"]
    return found


def test_kept_scores_give_the_figures_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rankings, "resample_count", lambda n: 9)  # no interval is looked at
    tables = list(FOLDER.glob("fidelity-*.csv"))
    assert tables
    for path in tables:
        rows = {r["ranking"]: r for r in json.loads(path.with_suffix(".json").read_text())["rows"]}
        columns = path.read_text().partition("\n")[0].split(",")[2:]
        assert len(columns) > len(fidelity.FREE)
        assert set(columns) <= rows.keys()
        scores = [read_table(str(path), column) for column in columns]
        report = correlate(read_table(str(path), "truth"), scores)
        for column, ranking in zip(columns, report.rankings, strict=True):
            assert f"{ranking.spearman:.3f}" == rows[column]["Spearman"]
            assert f"{ranking.kendall:.3f}" == rows[column]["Kendall"]


def test_the_plain_training_learns(data) -> None:
    torch.manual_seed(0)
    images, labels = data.normalisation(data.train.images), data.train.labels
    validation = data.normalisation(data.validation.images), data.validation.labels
    network = ConvNet(data.input_shape, 3, 8)
    assert plain.train(network, images, labels, validation, 10, 32, 0.05) > 0.8


def test_the_plain_condensing_brings_features_closer(data) -> None:
    torch.manual_seed(0)
    networks = [ConvNet(data.input_shape, 3, 16) for _ in range(5)]

    @torch.no_grad()
    def distance(images: torch.Tensor) -> float:
        real = data.normalisation(data.train.images)
        means = [
            network.embed(real[data.train.labels == c]).mean(0)
            - network.embed(images[2 * c : 2 * c + 2]).mean(0)
            for network in networks
            for c in range(3)
        ]
        return float(torch.stack(means).square().sum())

    start, end = (plain.condense(data, steps, 2, 0.1, 16, 32) for steps in (0, 40))
    assert distance(end) < distance(start)


@pytest.mark.slow
def test_a_large_set_is_condensed_in_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "memory", "--quick", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (row,) = json.loads(done.stdout)
    assert row["name"] == "memory"
    assert row["met"], row


def test_the_kept_truths_are_of_the_recipes_of_now() -> None:
    kept = list(truth.FOLDER.glob("*.json"))
    assert kept
    for path in kept:
        assert json.loads(path.read_text())["recipe"] == truth.BEDS[path.stem].recipe.to_dict()


BED = truth.Bed("convnet:widths=[2,4]", "digits", Recipe(epochs=1, batch_size=128))


@pytest.fixture
def bed(monkeypatch, tmp_path: Path) -> Path:
    """The folder of truths, with a bed that takes seconds."""
    for module in (truth, fidelity):
        monkeypatch.setattr(module, "BEDS", {"convnet-digits": BED})
    monkeypatch.setattr(truth, "FOLDER", tmp_path)
    monkeypatch.setattr(fidelity, "TRUTHS", tmp_path)
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_truth_is_trained_once(bed: Path, capsys) -> None:
    truth.measure("convnet-digits", n=3)
    first = (bed / "convnet-digits.csv").read_text().splitlines()
    assert first[0] == "arch,test_acc,test_acc_s1,test_acc_s2,params,seconds"
    assert len(first) == 4
    for line in first[1:]:
        _, mean, *singles = line.split(",")[:4]
        assert float(mean) == pytest.approx(sum(map(float, singles)) / 2, abs=0.01)
    shutil.rmtree(bed / "runs")  # the CSV alone is what another machine has
    truth.measure("convnet-digits", n=5)
    second = (bed / "convnet-digits.csv").read_text().splitlines()
    assert len(second) == 6
    assert set(first) < set(second)
    assert "3 architectures are there, 2 are to be trained" in capsys.readouterr().out


def test_a_truth_of_another_recipe_is_not_added_to(bed: Path, monkeypatch) -> None:
    truth.measure("convnet-digits", n=1, seeds=1)
    before = (bed / "convnet-digits.csv").read_bytes()
    other = truth.Bed(BED.space, BED.data, Recipe(epochs=2, batch_size=128))
    monkeypatch.setattr(truth, "BEDS", {"convnet-digits": other})
    with pytest.raises(UserError, match="was trained with"):
        truth.measure("convnet-digits", n=2, seeds=1)
    monkeypatch.setattr(truth, "BEDS", {"convnet-digits": BED})
    with pytest.raises(UserError, match=r"'seeds': 1}, now it is .*'seeds': 2}"):
        truth.measure("convnet-digits", n=2, seeds=2)
    assert (bed / "convnet-digits.csv").read_bytes() == before


def test_a_truth_says_how_it_was_on_the_way(bed: Path, monkeypatch, capsys) -> None:
    """Against a training that is never put aside; of the first architecture there are two."""
    recipe = Recipe(epochs=4, batch_size=128)
    marked = dataclasses.replace(BED, recipe=recipe, marks=(2, 3), repeated=1)
    monkeypatch.setattr(truth, "BEDS", {"convnet-digits": marked})
    truth.measure("convnet-digits", n=3, jobs=1)
    with (bed / "convnet-digits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["test_acc_s2"] != "" for row in rows] == [True, False, False]
    assert [row["test_acc_s2_e3"] != "" for row in rows] == [True, False, False]
    data, space = load_dataset("digits"), load_space(BED.space)
    params = {a.key: a.choices for a in space.sample(3, 0, data.input_shape, 10)}
    for row in rows:
        with seeded(0):
            network = space.build(params[row["arch"]], data.input_shape, 10)
            training = Training(network, data.train, recipe, data.normalisation, flip=data.flip)
            evaluate = partial(evaluate_network, network, data.test, data.normalisation, "auto")
            for epochs, end in ((2, "_e2"), (3, "_e3"), (4, "")):
                training.run(epochs)
                assert row[f"test_acc_s1{end}"] == f"{100 * evaluate().accuracy:.2f}"
    capsys.readouterr()
    main(["truth", "--bed", "convnet-digits", "--show"])
    shown = capsys.readouterr().out
    assert shown == settled(rows, (2, 3)) + "\n"
    assert "| epoch 3, its own end | 3 | " in shown
    assert "| epoch 3, another's end | 1 | - | " in shown


def test_a_ranking_has_settled_where_its_last_epochs_agree() -> None:
    ends = range(20)
    rows = [
        {
            "test_acc": str(end),
            "test_acc_s1": str(end),
            "test_acc_s1_e8": str(end / 2),  # lower, and in the same order
            "test_acc_s1_e5": str(-end),
            "test_acc_s2": str(end) if end < 10 else "",
        }
        for end in ends
    ]
    rows.append({"test_acc": "-inf"})  # broke: it ranks last at every mark
    lines = settled(rows, (5, 8)).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[:2] for row in cells] == [
        ["epoch 5, its own end", "21"],
        ["epoch 8, its own end", "21"],
        ["epoch 5, another's end", "11"],
        ["epoch 8, another's end", "11"],
        ["end, another's end", "11"],
    ]
    assert [row[2] for row in cells[1::2]] == ["1.000 [1.00, 1.00]"] * 2
    # twenty in reverse order, and one that is last both times: 1 - 6 sum(d^2) / (n^3 - n)
    squares = sum((19 - 2 * end) ** 2 for end in ends)
    assert cells[0][2].startswith(f"{1 - 6 * squares / (21**3 - 21):.3f} [-")
    assert cells[0][3:] == ["4", "-1.000 [-1.00, -1.00]"]


@pytest.mark.slow
def test_fidelity_has_a_row_for_every_ranking(bed: Path, capsys) -> None:
    truth.measure("convnet-digits", n=20)
    capsys.readouterr()
    options = {"space": "convnet", "data": "digits", "n": 20, "steps": 4, "ipc": 2, "known": 8}
    main(["fidelity", *(f"--{name}={value}" for name, value in options.items()), "--json"])
    rows = {row["ranking"]: row for row in json.loads(capsys.readouterr().out)}
    for name in (*fidelity.FREE, *fidelity.METHODS, "early stopping", "random@fit_loss"):
        assert rows[name]["n"] == 20, name
    assert rows["dm-space+az_nas+logsynflow+naswot"]["kind"] == "combined"
    assert rows["az_nas+logsynflow+naswot+zico, 8 truths"]["n"] == 12
    assert rows["one training"]["kind"] == "ceiling"
    about = json.loads((bed / "fidelity-convnet-digits-seed0.json").read_text())
    for pair in ("dm-space - random: ", "best fifth, random - az_nas: "):
        assert any(line.startswith(pair) for line in about["differences"])
    asked = "--space convnet --data digits --n 20 --seed 0 --ipc 2 --steps 4 --known 8"
    assert about["command"] == f"python -m benchmarks fidelity {asked}"
    kept = read_table(str(bed / "fidelity-convnet-digits-seed0.csv"), "random@fit_loss")
    assert len(kept.values) == 20
    name = "fidelity-space-convnet-data-digits-n-20-seed-0-ipc-2-steps-4-known-8"
    assert (bed / "runs" / name / "study.db").is_file()  # other options have another folder


def test_the_control_has_the_images_of_random_and_labels_that_say_nothing(data, tmp_path) -> None:
    made, control = (
        fidelity.make_set(data, method, 20, 1, "convnet_small") for method in ("random", "shuffled")
    )
    assert torch.equal(made.images, control.images)
    assert torch.equal(made.labels.sort().values, control.labels.sort().values)
    assert (made.labels == control.labels).float().mean() < 0.6  # a third of three classes
    control.save(tmp_path / "shuffled.safetensors")
    again = ProxySet.load(tmp_path / "shuffled.safetensors")
    assert (again.metadata["method"], again.digest) == ("shuffled", control.digest)


def test_a_bed_that_is_not_there_is_named() -> None:
    with pytest.raises(SystemExit, match="no test bed nasbench201-svhn: expected"):
        main(["fidelity", "--space", "nasbench201", "--data", "svhn"])
