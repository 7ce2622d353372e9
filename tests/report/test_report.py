"""What is written to a folder."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import optuna
import pytest

from nasproxy import Report, correlate
from nasproxy.report.figures import make_figures
from nasproxy.report.page import _best
from nasproxy.report.rankings import unit_of_regret
from nasproxy.studies.statistics import regret_curve
from tests.report.conftest import N, make_study


def test_constant_scores_have_no_correlation(tmp_path: Path) -> None:
    truth = make_study("truth", {i: float(i) for i in range(10)})
    flat = correlate(truth, [make_study("flat", dict.fromkeys(range(10), 1.0))])
    assert flat.rankings[0].spearman is None
    flat.write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["rankings"][0]["spearman"] is None


def test_files(report: Report, tmp_path: Path) -> None:
    from PIL import Image

    report.write(tmp_path)
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["n"] == N
    assert document["rankings"][0]["provenance"]["dataset_digest"] == "d"
    assert len(document["points"]) == N
    text = (tmp_path / "report.md").read_text()
    for name in ("spearman.png", "scores.png"):
        assert f"({name})" in text
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 100
    assert (tmp_path / "report.html").stat().st_size < 2.5e6
    rows = list(csv.DictReader((tmp_path / "rankings.csv").open()))
    assert [row["ranking"] for row in rows] == ["good", "noise"]  # the best first
    figures = ("spearman", "scores", "cost", "regret")  # "number" has no few options
    assert {p.name for p in tmp_path.iterdir()} == {
        *("report.json", "report.md", "report.html", "rankings.csv", "rankings.tex"),
        *(f"{name}.png" for name in figures),
        *(f"{name}.pdf" for name in figures),
    }


class _Links(HTMLParser):
    """What a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")
        ]


def test_the_page_needs_nothing_else_and_trusts_no_name(values, tmp_path: Path) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    evil = "<script>alert(1)</script>"
    report = correlate(make_study("truth", truth), [make_study(evil, good)])
    report.write(tmp_path, None, {"a <set>": b"\x89PNG"}, "nasproxy correlate --truth '<b>'")
    page = (tmp_path / "report.html").read_text()
    links = _Links()
    links.feed(page)
    assert links.found and all(link.startswith("data:") for link in links.found)
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "nasproxy correlate --truth &#39;&lt;b&gt;&#39;" in page


def test_rankings_may_have_any_name(values, tmp_path: Path) -> None:
    """A ranking called as what a point holds is a ranking, and leaves that alone."""
    truth, good, noise = values
    names = {"truth": -truth, "architecture": noise, "scores": good, "params": good}
    report = correlate(
        make_study("full", dict(enumerate(truth.tolist()))),
        [make_study(name, dict(enumerate(of.tolist()))) for name, of in names.items()],
    )
    assert report.truths().tolist() == truth.tolist()
    assert report.points[3]["architecture"] == "a3"
    for ranking, of in zip(report.rankings, names.values(), strict=True):
        assert report.scores(ranking.study).tolist() == of.tolist()
        assert regret_curve(report.truths(), of)[0] == pytest.approx(ranking.regret)
    report.write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "place by the truth" in page and "place by truth" in page


def test_a_ranking_whose_first_place_is_shared_has_no_first(values) -> None:
    truth = dict(enumerate(range(10)))
    flat = make_study("flat", dict.fromkeys(range(10), 1.0))
    report = correlate(make_study("full", truth), [flat, make_study("up", truth)])
    cards = _best(report)
    assert [card["architecture"] for card in cards] == ["a9", "a8", "a7"]
    assert cards[1]["places"] == [("the truth", "2"), ("up", "2")]
    assert [(a.k, a.overlap, a.best_rank) for a in report.rankings[0].at_k] == [
        (1, pytest.approx(0.1), pytest.approx(5.5)),
        (5, pytest.approx(0.5), pytest.approx(11 / 6)),
        (10, 1.0, 1.0),
    ]
    assert report.rankings[0].regret == pytest.approx(4.5)
    figure = make_figures(report)["scores"]
    (crosses,) = [m for m in figure.marks if m.symbol == "x-thin-open" and m.panel == 0]
    assert not crosses.x  # no five of ten equals are the best


@pytest.mark.parametrize(
    ("metric", "truth", "expected"),
    [
        ("validation accuracy", [0.5, 0.9, -np.inf], (100.0, "percent points")),
        ("cifar10_test_acc", [50.0, 90.0], (1.0, "percent points")),
        ("Acc@1", [0.5, 1.0], (100.0, "percent points")),
        ("acc", [50.0, 190.0], (1.0, "")),  # no accuracy
        ("-acc", [-0.5, -0.9], (1.0, "")),
        ("acc", [-np.inf, -np.inf], (1.0, "")),
        ("-validation loss", [0.5, 0.9], (1.0, "")),
        ("vaccination", [0.5, 0.9], (1.0, "")),
    ],
)
def test_regrets_of_accuracies_are_in_percent_points(metric, truth, expected) -> None:
    assert unit_of_regret(metric, np.array(truth)) == expected


def test_a_regret_has_one_unit_everywhere() -> None:
    truth = make_study("full", {i: i / 10 for i in range(10)})
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        truth.set_metric_names(["validation accuracy"])
    report = correlate(truth, [make_study("fast", {i: float(-i) for i in range(10)})])
    ranking = report.rankings[0]
    assert (report.regret_unit, ranking.regret) == ("percent points", pytest.approx(90))
    assert [a.regret for a in ranking.at_k] == pytest.approx([90, 50, 0])
    assert "regret (percent points)" in str(report)
    figure = make_figures(report)["regret"]
    assert figure.y_label == "regret (validation accuracy, percent points)"
    assert figure.marks[0].y[0] == pytest.approx(90)
