"""Every figure has one definition, of which both drawings show all."""

import matplotlib.figure
import numpy as np
import pytest

from nasproxy import correlate
from nasproxy.drawing import by_matplotlib, by_plotly
from nasproxy.drawing.text import plain_text
from nasproxy.report import figures
from nasproxy.report.figures import FIGURES, Figure, make_figures
from tests.report.conftest import make_study
from tests.report.test_choices import make_report

N = 40


@pytest.fixture(scope="module")
def made() -> dict[str, Figure]:
    """All figures of a truth with two seeds and a ranking whose scores want a logarithmic axis."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=N)
    wide = dict(enumerate((10 ** (3 * truth)).tolist()))
    wide[3] = None
    noise = dict(enumerate(generator.normal(size=N).tolist()))
    full = make_study("full", dict(enumerate(truth.tolist())), seeds=2, seconds=5.0)
    for trial in full.get_trials(deepcopy=False):
        for seed in range(2):
            trial.user_attrs[f"score_seed{seed}"] = trial.value + 0.1 * generator.normal()
    studies = [make_study("wide", wide, seconds=0.001), make_study("noise", noise, seconds=10.0)]
    return {**make_figures(make_report()), **make_figures(correlate(full, studies))}


def _on_paper(figure: Figure) -> matplotlib.figure.Figure:
    with plain_text():
        drawn = by_matplotlib.draw(figure)
        drawn.canvas.draw()
    return drawn


@pytest.mark.parametrize("name", FIGURES)
def test_both_drawings_show_the_same(made: dict[str, Figure], name: str) -> None:
    figure = made[name]
    screen, paper = by_plotly.draw(figure), _on_paper(figure)
    assert [list(trace.x) for trace in screen.data] == [list(marks.x) for marks in figure.marks]
    shown = [m for m in figure.marks if m.panel in (None, 0)]
    lines = paper.axes[0].get_lines()
    for marks in shown:
        x = np.array(marks.x, float)
        assert any(np.array_equal(x, line.get_xdata(), equal_nan=True) for line in lines), marks
    labels = {m.label for m in shown if m.label}
    assert labels <= {text.get_text() for text in paper.legends[0].get_texts()}
    assert labels == {trace.name for trace in screen.data if trace.showlegend and trace.visible}
    assert screen.layout.xaxis.title.text == paper.axes[0].get_xlabel() == figure.panels[0].x_label
    assert screen.layout.xaxis.type == paper.axes[0].get_xscale()
    for x, text in figure.rules:
        assert any(list(line.get_xdata()) == [x, x] for line in lines)
        assert any(text == note.text for note in screen.layout.annotations)


def test_a_menu_shows_a_panel_at_a_time(made: dict[str, Figure]) -> None:
    (menu,) = by_plotly.draw(made["scores"]).layout.updatemenus
    assert [button.label.partition(":")[0] for button in menu.buttons] == ["wide", "noise"]
    wide, noise = (button.args for button in menu.buttons)
    assert [a != b for a, b in zip(wide[0]["visible"], noise[0]["visible"])] == [True] * 6
    assert (wide[1]["xaxis.type"], noise[1]["xaxis.type"]) == ("log", "linear")


@pytest.mark.parametrize("name", ["scores", "cost", "regret"])
def test_logarithmic_axes_have_plain_numbers(made: dict[str, Figure], name: str) -> None:
    """Names are drawn as they are, a dollar too: then so are matplotlib's own formulas."""
    texts = [label.get_text() for label in _on_paper(made[name]).axes[0].get_xticklabels()]
    assert any(texts)
    assert not any("$" in text for text in texts), texts


def test_few_points_reach_from_worst_to_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "POINTS", 10)
    report = make_report(60)
    figure = make_figures(report)["scores"]
    truth = report.scores("truth")
    shown = [y for marks in figure.marks if "width" in marks.label for y in marks.y]
    assert 10 <= len(shown) <= 15
    assert {truth.min(), *np.sort(truth)[-5:]} <= set(shown)
    assert f"({len(shown)} of 60 shown)" in figure.title


def test_a_small_figure_shows_the_most_telling_options() -> None:
    small, whole = (make_figures(make_report(), rows=rows)["choices"] for rows in (2, 40))
    assert "the most telling 2 of 5" in small.title and "telling" not in whole.title
    assert set(small.rows) == {"width = 8", "width = 32"}  # in the middle: the other three


def test_a_figure_may_have_the_panels_of_some() -> None:
    report = make_report()
    assert [p.name for p in make_figures(report, own=["noise"])["choices"].panels] == ["noise"]
    assert by_plotly.draw(make_figures(report)["choices"]).layout.updatemenus == ()
