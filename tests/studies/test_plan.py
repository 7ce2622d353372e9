"""Which architectures of a study are its first ones, and how they are found by name."""

from pathlib import Path

import pytest

import nasproxy
from nasproxy import Architecture, UserError
from nasproxy.studies.named import find_named
from nasproxy.studies.plan import make_plan

SHAPE = (1, 8, 8)
ODD = """
from torch import nn
def build(trial, shape, classes):
    trial.suggest_categorical("mixed", [1, "1", None, "a b=c"])
    trial.suggest_float("rate", 1e-3, 1.0, log=True)
    trial.suggest_int("n", 1, 10**6)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""
GRID = """
from torch import nn
def build(trial, shape, classes):
    n = trial.suggest_int("a", 1, 10) * trial.suggest_int("b", 1, 10)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n), nn.Linear(n, classes))
"""


def test_the_first_of_a_whole_space_are_no_corner_of_it(
    data: nasproxy.Dataset, tmp_path: Path
) -> None:
    (tmp_path / "grid.py").write_text(GRID)
    space = nasproxy.load_space(str(tmp_path / "grid.py"))
    study = nasproxy.rank(space, "params", data=data, sampler="all")
    every = [a.key for a in space.enumerate(SHAPE, 3)]
    plan = make_plan(space, SHAPE, 3, 10, "random", study, 0)
    assert sum(a.error is None for a in plan) == 10
    assert {a.drawn for a in plan} == {"uniform"}
    places = sorted(every.index(a.key) for a in plan)
    assert places[-1] > len(every) / 2
    assert len(make_plan(space, SHAPE, 3, None, "random", study, 0)) == len(every)


def test_the_first_of_trainings_are_not_the_largest(data: nasproxy.Dataset) -> None:
    space = nasproxy.load_space("convnet_tiny")
    quick = nasproxy.Recipe(epochs=1, batch_size=300, augment="none")
    study = nasproxy.rank(space, "full", data=data, recipe=quick, trials=8, seed=5, jobs=1)
    drawn = space.sample(3, 5, SHAPE, 3)
    found = make_plan(space, SHAPE, 3, 3, "random", study, 0)
    assert {a.key for a in found} == {a.key for a in drawn}


def test_names_that_say_their_parameters(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(ODD)
    space = nasproxy.load_space(str(tmp_path / "odd.py"))
    drawn = space.sample(30, 0, SHAPE, 3)
    (tmp_path / "names").write_text("".join(f"{a.key}\n" for a in drawn))
    found = find_named(tmp_path / "names", space, SHAPE, 3, None)
    assert [a.choices for a in found] == [a.choices for a in drawn]
    assert {a.drawn for a in found} == {"given"}
    (tmp_path / "names").write_text("mixed=None n=3 rate=2.0\n")
    with pytest.raises(UserError, match="continuous"):
        find_named(tmp_path / "names", space, SHAPE, 3, None)


def test_names_of_spaces_that_describe(tmp_path: Path) -> None:
    space = nasproxy.load_space("convnet_tiny")
    drawn = space.sample(4, 1, SHAPE, 3)
    (tmp_path / "names").write_text("".join(f"{a.key}\r\n" for a in drawn))
    found = find_named(tmp_path / "names", space, SHAPE, 3, None)
    assert [a.choices for a in found] == [a.choices for a in drawn]


def test_who_makes_one_by_hand_has_not_drawn_it() -> None:
    assert Architecture({}, {}, "x").drawn == "given"
