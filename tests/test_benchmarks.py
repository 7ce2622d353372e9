"""The benchmarks' runner, what it keeps, and the plain implementations that it measures against."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import fidelity, plain, results, truth
from benchmarks.__main__ import SPEED, main
from benchmarks.results import FOLDER, Figure, of_rounds, read, summary
from nasproxy import Recipe, UserError
from nasproxy.convnet import ConvNet

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


def test_the_readme_shows_what_was_measured() -> None:
    assert summary(read(list(SPEED))) in (ROOT / "README.md").read_text()
    for row in read(list(SPEED)):
        assert (FOLDER / f"{row['name']}.md").is_file()


def test_the_readme_and_the_page_show_the_fidelity_that_was_measured() -> None:
    name = "fidelity-nasbench201-cifar10-seed2026"
    lines = (FOLDER / f"{name}.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    about = json.loads((FOLDER / f"{name}.json").read_text())
    page = (ROOT / "docs" / "fidelity.md").read_text()
    assert "\n".join(rows) in page
    assert all(f"- {difference}" in page for difference in about["differences"])
    again = "fidelity-nasbench201-cifar10-seed2027"
    second = page.partition("## A second draw")[2].partition("## Smaller images")[0]
    shown = {line for line in second.splitlines() if line.startswith("| ")}
    assert shown <= set((FOLDER / f"{again}.md").read_text().splitlines())
    differences = json.loads((FOLDER / f"{again}.json").read_text())["differences"]
    assert all(f"- {difference}" in second for difference in differences)
    latest = "fidelity-nasbench201-cifar10-seed2029"
    third = page.partition("## Smaller images")[2].partition("## On ConvNets")[0]
    measured = set((FOLDER / f"{latest}.md").read_text().splitlines())
    assert {line for line in third.splitlines() if line.startswith("| ")} <= measured
    about = json.loads((FOLDER / f"{latest}.json").read_text())
    assert all(f"- {difference}" in third for difference in about["differences"])
    convnet = (FOLDER / "fidelity-convnet-cifar10-seed100.md").read_text().splitlines()
    convnets = page.partition("## On ConvNets")[2].partition("## What was not shown")[0]
    convnets = convnets.partition("## Fresh ConvNets")[0]
    cifar, _, fashion = convnets.partition("## The same ConvNets on Fashion-MNIST")
    assert {line for line in cifar.splitlines() if line.startswith("| ")} <= set(convnet)
    other = (FOLDER / "fidelity-convnet-fashion_mnist-seed2028.md").read_text().splitlines()
    assert {line for line in fashion.splitlines() if line.startswith("| ")} <= set(other)
    fresh = page.partition("## Fresh ConvNets")[2].partition("## What was not shown")[0]
    found = {line for line in fresh.splitlines() if line.startswith(("| ", "- "))}
    kept: set[str] = set()
    for name in ("cifar10-seed2031", "fashion_mnist-seed2032"):
        kept |= set((FOLDER / f"fidelity-convnet-{name}.md").read_text().splitlines())
        about_it = json.loads((FOLDER / f"fidelity-convnet-{name}.json").read_text())
        kept |= {f"- {difference}" for difference in about_it["differences"]}
    assert len(found) > 40
    assert found <= kept
    section = (ROOT / "README.md").read_text().partition("## Against published truth")[2]
    section = section.partition("**ConvNets are another matter**")[0]
    shown = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(shown) > 10
    assert set(shown) <= measured
    assert about["command"].partition(" --ipc")[0].partition(" --n ")[2] in section


def test_the_readme_shows_the_convnets_that_were_measured() -> None:
    section = (ROOT / "README.md").read_text().partition("**ConvNets are another matter**")[2]
    beds = {"CIFAR-10": "cifar10-seed2031", "Fashion-MNIST": "fashion_mnist-seed2032"}
    for bed, data in beds.items():
        kept = json.loads((FOLDER / f"fidelity-convnet-{data}.json").read_text())["rows"]
        rows = {row["ranking"]: row for row in kept}
        free = max(float(row["Spearman"]) for row in kept if row["kind"] == "free")
        for reading in ("both", "accuracy"):
            label = "`both`" if reading == "both" else reading
            (line,) = (x for x in section.splitlines() if x.startswith(f"| {bed}, {label} |"))
            cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
            for cell, method in zip(cells[:4], fidelity.METHODS, strict=True):
                row = rows[f"{method}@{reading}"]
                wanted = f"{row['Spearman']} {row['95% interval']}"
                assert cell == (wanted if reading == "both" else row["Spearman"])
            if reading == "both":
                assert cells[4:] == [f"{free:.3f}", rows["one training"]["Spearman"]]


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
    with pytest.raises(UserError, match="was trained by"):
        truth.measure("convnet-digits", n=2, seeds=1)
    monkeypatch.setattr(truth, "BEDS", {"convnet-digits": BED})
    with pytest.raises(UserError, match=r"from 1 seeds, now it is .* from 2"):
        truth.measure("convnet-digits", n=2, seeds=2)
    assert (bed / "convnet-digits.csv").read_bytes() == before


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
    assert any(line.startswith("dm-space - random: ") for line in about["differences"])
    asked = "--space convnet --data digits --n 20 --seed 0 --ipc 2 --steps 4 --known 8"
    assert about["command"] == f"python -m benchmarks fidelity {asked}"
    name = "fidelity-space-convnet-data-digits-n-20-seed-0-ipc-2-steps-4-known-8"
    assert (bed / "runs" / name / "study.db").is_file()  # other options have another folder


def test_a_bed_that_is_not_there_is_named() -> None:
    with pytest.raises(SystemExit, match="no test bed nasbench201-svhn: expected"):
        main(["fidelity", "--space", "nasbench201", "--data", "svhn"])
