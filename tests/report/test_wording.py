"""What is advised, and told apart."""

import csv
import io

import numpy as np
import pytest
from scipy import stats

from nasproxy import Report, correlate
from nasproxy.report.tables import as_csv, details, latex
from nasproxy.report.wording import advice, findings
from tests.report.conftest import make_study


def test_advice_names_the_cheapest_that_is_as_good(values) -> None:
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    same = {k: v + 1e-3 * noise[k] for k, v in good.items()}
    report = correlate(
        make_study("truth", truth),
        [make_study("dear", good, seconds=9.0), make_study("cheap", same, seconds=0.1)],
    )
    said = " ".join(advice(report))
    assert "cheap" in said and "can't be told apart" in said
    nothing = correlate(make_study("truth", truth), [make_study("noise", noise)])
    assert "None of these rankings is shown to agree" in advice(nothing)[0]


def test_many_rankings_are_told_apart_in_groups_and_in_a_matrix(values) -> None:
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    studies = [make_study("noise", noise)] + [make_study(f"good{i}", good) for i in range(3)]
    report = correlate(make_study("truth", truth), studies)
    lines = findings(report)
    assert lines[0].startswith("good0 has the highest Spearman correlation, 0.9")
    assert lines[1:3] == ["2 can't be told from it: good1 and good2.", "1 rank worse: noise."]
    assert lines[3] == "Intervals of differences are wide enough to hold for all 6 at once."
    matrix = details(report)["Spearman of the row less that of the column"]
    assert [row[0] for row in matrix[1:]] == matrix[0][1:] == ["good0", "good1", "good2", "noise"]
    assert matrix[1][1:4] == ["-", "+0.00", "+0.00"]
    assert matrix[1][4].startswith("+") and matrix[1][4].endswith("*")
    assert matrix[4][1] == matrix[1][4].replace("+", "-")


def test_four_architectures_say_nothing(values) -> None:
    truth, good, _ = (dict(enumerate(v[:4].tolist())) for v in values)
    report = correlate(make_study("truth", truth), [make_study("a", truth), make_study("b", good)])
    assert advice(report)[0].startswith("4 architectures are too few to say anything")
    assert findings(report) == []


def test_what_is_as_dear_as_the_truth_is_not_advised(values) -> None:
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    again = {k: v + 0.01 * noise[k] for k, v in truth.items()}
    dear = [
        make_study("published", truth, kind="table"),
        make_study("again", again, kind="full", seconds=9.0),
    ]
    report = correlate(
        make_study("truth", truth, seconds=9.0), [*dear, make_study("good", good, seconds=1.0)]
    )
    said = " ".join(advice(report))
    assert "published and again: as dear as the truth, or a published figure" in said
    assert "Use good." in said and "Use published" not in said and "Use again" not in said


def test_tables_for_papers() -> None:
    table = [["ranking", "s/arch"], ["a_b&c~1%", "0.5"], ['x, "y"', "-"]]
    assert list(csv.reader(io.StringIO(as_csv(table)))) == table
    assert latex(table).splitlines()[4] == r"a\_b\&c\textasciitilde{}1\% & 0.5 \\"


def _studies(truth: np.ndarray, **rankings: np.ndarray) -> Report:
    full = make_study("full", dict(enumerate(truth.tolist())), seconds=10.0)
    seconds = {name: 1.0 if name == "dear" else 0.001 for name in rankings}
    return correlate(
        full,
        [
            make_study(name, dict(enumerate(scores.tolist())), seconds=seconds[name])
            for name, scores in rankings.items()
        ],
    )


def test_not_told_apart_is_not_equal() -> None:
    """A cheap ranking is advised if it is shown to be about as good, and not for want of data."""
    seen = 0
    for seed in range(12):
        generator = np.random.default_rng(seed)
        truth = generator.normal(size=15)
        good, poor = (truth + s * generator.normal(size=15) for s in (0.5, 2.0))
        report = _studies(truth, dear=good, cheap=poor)
        dear, cheap = (r.spearman for r in report.rankings)
        said = " ".join(advice(report))
        if dear > cheap + 0.1 and "can't be told apart from cheap" in said:
            seen += 1
            assert "Use dear." in said
            assert "cheap is cheaper, and may be worse by up to" in said
    assert seen


def test_the_best_of_many_useless_rankings_is_not_praised() -> None:
    praised = 0
    for seed in range(8):
        generator = np.random.default_rng(seed)
        useless = {f"r{i}": generator.normal(size=30) for i in range(15)}
        said = advice(_studies(generator.normal(size=30), **useless))
        praised += not said[0].startswith("None of these rankings is shown to agree")
    assert praised <= 1


def test_what_broke_is_told_with_its_reason_and_left_out_beside(values) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    good |= {0: None, 7: None}
    truth |= {7: None, 9: None}
    good[9] = 99.0
    report = correlate(make_study("full", truth), [make_study("fast", good)])
    ranking = report.rankings[0]
    whole = [k for k in truth if truth[k] is not None and good[k] is not None]
    alone = stats.spearmanr([truth[k] for k in whole], [good[k] for k in whole]).statistic
    assert ranking.spearman_unbroken == pytest.approx(alone)
    assert (report.broken, ranking.broken, ranking.first_broke, ranking.regret) == (2, 2, 1, None)
    text = str(report)
    assert "full: 2 of 60 could not be trained and rank last; the first: why." in text
    assert "fast: 2 of 60 could not be trained and rank last; the first: why." in text
    assert f"without what broke {alone:.2f} [" in text
    assert "fast: its first pick, a9, could not be trained for the truth." in text
    assert "| broke " in text and "without the broken" in text


def test_all_truths_equal_is_nothing_to_rank_by(values) -> None:
    report = _studies(np.ones(60), fast=values[1])
    assert "All truths are equal: there is nothing to rank by." in str(report)
    assert advice(report) == ["All truths are equal: there is nothing to rank by."]


def test_what_a_study_was_also_made_with_is_told(values) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    also = {"also made with 0a1b": "torch 2.9 instead of 2.8"}
    report = correlate(make_study("full", truth), [make_study("fast", good, **also)])
    assert "fast was also made with torch 2.9 instead of 2.8" in str(report)
