"""Drivers that meet on one study and don't compute alike."""

import optuna
import pytest

from nasproxy import correlate, rank
from nasproxy.studies import made_with as module
from nasproxy.studies.made_with import ALSO_MADE_WITH, note_differences

from ..conftest import QUICK

FIRST = {
    "hardware": "AMD EPYC, 2 cores",
    "versions": {"torch": "2.8", "numpy": "2.1", "scipy": "1.12"},
    "precision": "float32",
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hardware": "AMD EPYC, 64 cores"}, None),
        ({"hardware": "NVIDIA H200"}, "hardware NVIDIA H200 instead of AMD EPYC"),
        ({"precision": "bfloat16"}, "precision bfloat16 instead of float32"),
        ({"versions": {"torch": "2.9", "numpy": "2.1"}}, "torch 2.9 instead of 2.8"),
        ({"versions": {"torch": "2.8", "numpy": "2.1", "scipy": "1.15"}}, None),
        (
            {"precision": "bfloat16", "versions": {"torch": "2.9", "numpy": "1.26"}},
            "precision bfloat16 instead of float32, torch 2.9 instead of 2.8, numpy 1.26 instead "
            "of 2.1",
        ),
        ({}, None),
    ],
)
def test_what_changes_scores_is_said_and_kept(change, said: str | None, capsys) -> None:
    study = optuna.create_study()
    for key, value in FIRST.items():
        study.set_user_attr(key, value)
    for _ in range(2):  # written once
        note_differences(study, FIRST | change)
    kept = [v for k, v in study.user_attrs.items() if k.startswith(ALSO_MADE_WITH)]
    assert kept == ([] if said is None else [said])
    assert (f"scores are made with {said}" in capsys.readouterr().err) == (said is not None)


def test_studies_of_before_say_nothing_and_go_on(capsys) -> None:
    study = optuna.create_study()
    study.set_user_attr("recipe", "{}")
    note_differences(study, {**FIRST, "train_loss of": "the last pass"})
    assert list(study.user_attrs) == ["recipe"]
    assert "instead" not in capsys.readouterr().err
    note_differences(study, {**FIRST, "train_loss of": "the last 2 updates"})
    assert "train_loss of the last 2 updates instead of the last pass" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (None, "grouped and depthwise", "grouped and depthwise instead of none"),
        ("none", "depthwise", "depthwise instead of none"),
        ("depthwise", "depthwise", None),
        (None, "none", None),
    ],
)
def test_which_convolutions_are_in_float32_is_said(before, now, said, capsys) -> None:
    """Versions before had all convolutions of a study in bfloat16 in it."""
    study = optuna.create_study()
    for key, value in {**FIRST, "precision": "bfloat16", "float32 convolutions": before}.items():
        if value is not None:
            study.set_user_attr(key, value)
    again = {**FIRST, "precision": "bfloat16", "float32 convolutions": now}
    note_differences(study, again)
    err = capsys.readouterr().err
    assert (f"made with float32 convolutions {said}:" in err) if said else "instead" not in err


def test_a_study_says_which_convolutions_are_in_float32(tiny_space, data, monkeypatch) -> None:
    for name in ("uses_bfloat16", "bfloat16_kinds"):
        answer = {"plain"} if name == "bfloat16_kinds" else True
        monkeypatch.setattr(module, name, lambda *_, answer=answer: answer)
    study = rank(tiny_space, "full", trials=1, data=data, recipe=QUICK, jobs=1)
    assert study.user_attrs["precision"] == "bfloat16"
    assert study.user_attrs["float32 convolutions"] == "grouped and depthwise"


def test_only_who_scores_counts(tiny_space, data, monkeypatch, capsys) -> None:
    """A study that is looked at with another torch is not made with it."""
    storage = optuna.storages.InMemoryStorage()
    same = {"data": data, "recipe": QUICK, "study": "full", "storage": storage, "jobs": 1}
    rank(tiny_space, "full", trials=3, **same)
    monkeypatch.setattr(module, "versions", lambda: {"torch": "99.0"})
    again = rank(tiny_space, "full", trials=3, **same)
    assert not any(key.startswith(ALSO_MADE_WITH) for key in again.user_attrs)
    more = rank(tiny_space, "full", trials=4, **same)
    assert "torch 99.0 instead of" in capsys.readouterr().err
    params = rank(tiny_space, "params", data=data, like=more)
    assert "full was also made with torch 99.0 instead of" in str(correlate(more, [params]))
    assert not any(key.startswith(ALSO_MADE_WITH) for key in params.user_attrs)
