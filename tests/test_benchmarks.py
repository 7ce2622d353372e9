"""The benchmarks' runner, what it keeps, and the plain implementations that it measures against."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import fidelity, plain, results, truth
from benchmarks.__main__ import SPEED, main
from benchmarks.draws import DRAWS, all_draws
from benchmarks.results import FOLDER, Figure, of_rounds, read, summary
from nasproxy import ProxySet, Recipe, UserError, correlate
from nasproxy.convnet import ConvNet
from nasproxy.estimators.table import read_table

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


def test_the_readme_and_the_page_show_the_draws_that_were_measured(capsys) -> None:
    main(["table"])
    for document in ("README.md", "docs/fidelity.md"):
        assert all_draws() in (ROOT / document).read_text()
    assert all_draws() in capsys.readouterr().out
    latest = json.loads((FOLDER / "fidelity-nasbench201-cifar10-seed2033.json").read_text())
    options = latest["command"].partition(" --n ")[2]
    assert f"python -m benchmarks fidelity --n {options}" in (ROOT / "README.md").read_text()


def test_the_page_shows_the_fidelity_that_was_measured() -> None:
    """Every table and difference of a section is one of the results that it names.

    Of cells all differences are there, of the first draw all rows, too.
    """
    sections = (ROOT / "docs" / "fidelity.md").read_text().split("\n## ")
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


def test_kept_scores_give_the_figures_again() -> None:
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
