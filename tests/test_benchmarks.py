"""The benchmarks' runner, what it keeps, and the plain implementations that it measures against."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import plain
from benchmarks.__main__ import SPEED, main
from benchmarks.results import FOLDER, Figure, of_rounds, read, summary
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
