"""What a search leaves to look at."""

import json
from pathlib import Path

import numpy as np
import optuna
import pytest
from PIL import Image

from nasproxy.drawing import by_matplotlib, by_plotly
from nasproxy.searches.figures import CAPTIONS, make_figures
from tests.searches.test_search import replay


@pytest.fixture(scope="module")
def found(table: str, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("search")
    return replay(
        table, folder, "good", "noise", trainings=9, objective=f"table:{table}:cost"
    )  # fmt: skip


def test_every_training_is_told(found) -> None:
    steps = found.steps
    assert len(steps) == found.trainings == len(found.random_curve)
    assert [step["expected"] is None for step in steps] == [True] + [False] * (len(steps) - 1)
    assert steps[-1]["best"] == found.best["validation_accuracy"]
    assert {step["by"] for step in steps} == {"surrogate", "blind"}
    for step in steps[1:]:
        low, high = step["expected"]["interval"]
        assert low <= step["expected"]["median"] <= high
        assert step["scores"].keys() == found.scores.keys()
    # before anything is known all scores have the same say, and in the end that of the result
    assert len(set(steps[0]["scores"].values())) == 1
    means = [mean for mean, _, _ in found.random_curve]
    assert means == sorted(means)
    assert all(low <= mean <= high for mean, low, high in found.random_curve)


def test_figures_show_it_and_are_kept(found) -> None:
    figures = make_figures(found, "truth", "cost")
    assert figures.keys() == CAPTIONS.keys()
    by_label = {m.label: m for m in figures["progress"].marks}
    assert list(by_label["handed over"].y) == [step["best"] for step in found.steps]
    assert len(by_label["chosen"].x) + len(by_label["drawn"].x) == found.trainings
    assert list(figures["front"].marks[-1].x) == [point["cost"] for point in found.front]
    for name, figure in figures.items():
        assert len(by_plotly.draw(figure).data) == len(figure.marks)
        by_matplotlib.draw(figure).canvas.draw()
        pixels = np.array(Image.open(found.folder / f"{name}.png").convert("L"))
        assert (pixels < 128).sum() > 500
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{found.folder / 'study.db'}")
    kept = study._storage.get_study_system_attrs(study._study_id)
    assert all(any(f"nasproxy-{name}" in key for key in kept) for name in CAPTIONS)


def test_the_page_is_whole(found) -> None:
    page = (found.folder / "search.html").read_text(encoding="utf-8")
    for caption in CAPTIONS.values():
        assert caption.split(",")[0] in page
    assert page.count('<div class="plot">') == len(CAPTIONS)
    assert found.best["architecture"].split("|")[1] in page
    assert "nasproxy search --data null --space nasbench201 --trainings 9" in page
    assert 'src="http' not in page
    document = json.loads((found.folder / "search.json").read_text())
    assert document["steps"] == found.steps


def test_without_a_second_objective_there_is_no_front(table: str, tmp_path: Path) -> None:
    (tmp_path / "front.png").write_bytes(b"of an earlier one")
    alone = replay(table, tmp_path, "good", trainings=2)
    assert make_figures(alone, "truth").keys() == {"progress", "scores"}
    assert not (tmp_path / "front.png").exists()
