"""Which convolutions compute in bfloat16, and that this stays as it was decided."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from nasproxy.training import precision as module
from nasproxy.training.fast import make_fast
from nasproxy.training.precision import (
    KINDS,
    BFloat16Conv2d,
    bfloat16_kinds,
    kind_of,
    measure_bfloat16,
    uses_bfloat16,
)

SLOW = {"grouped": 0.4, "depthwise": 0.25}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[dict[str, float]]]:
    """A machine with bfloat16 that measures what is in the list, the next one each time."""
    answers: list[dict[str, float]] = []
    monkeypatch.setattr(module, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(module, "_FOLDER", str(tmp_path / "home" / "cache"))
    monkeypatch.setattr(module, "measure_bfloat16", lambda: answers.pop(0))
    module._of_this_machine.cache_clear()
    yield answers
    module._of_this_machine.cache_clear()


def test_auto_is_one_of_the_two() -> None:
    cpu = torch.device("cpu")
    assert uses_bfloat16("auto", cpu) in (True, False)
    assert uses_bfloat16("bfloat16", cpu)
    assert not uses_bfloat16("float32", cpu)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.Conv2d(8, 8, 3), "plain"),
        (nn.Conv2d(1, 8, 3), "plain"),
        (nn.Conv2d(8, 4, 1), "plain"),
        (nn.Conv2d(8, 8, 3, groups=2), "grouped"),
        (nn.Conv2d(8, 8, 3, groups=8), "depthwise"),
        (nn.Conv2d(8, 16, 5, groups=8), "depthwise"),
    ],
)
def test_kinds(layer: nn.Conv2d, kind: str) -> None:
    assert kind_of(layer) == kind


@pytest.mark.parametrize(
    ("speedups", "expected"),
    [
        (SLOW, {"plain"}),
        ({"grouped": 1.2, "depthwise": 1.29}, {"plain"}),  # not clearly: as good as slower
        ({"grouped": 1.5, "depthwise": 0.5}, {"plain", "grouped"}),
        ({"grouped": 1.5, "depthwise": 1.3}, set(KINDS)),
    ],
)
def test_auto_leaves_in_float32_what_is_not_clearly_faster(
    measured, speedups: dict[str, float], expected: set[str]
) -> None:
    measured.append(speedups)
    layers = {
        "plain": nn.Conv2d(3, 8, 3),
        "grouped": nn.Conv2d(8, 8, 1, groups=2),
        "depthwise": nn.Conv2d(8, 8, 5, groups=8),
    }
    network = nn.Sequential(*layers.values(), nn.Linear(2, 2))
    for precision, kinds in (("auto", expected), ("bfloat16", set(KINDS)), ("float32", set())):
        make_fast(network, precision)
        assert {k for k, layer in layers.items() if type(layer) is BFloat16Conv2d} == kinds
        assert bfloat16_kinds(precision) == kinds


def test_the_first_measurement_stays(measured, tmp_path: Path) -> None:
    """A process that starts later, and measures something else, computes as the first did."""
    measured += [SLOW, {"grouped": 9.0, "depthwise": 9.0}]
    for _ in range(3):
        assert bfloat16_kinds("auto") == {"plain"}
        module._of_this_machine.cache_clear()  # as in another process
    assert len(measured) == 1
    (kept,) = (tmp_path / "home" / "cache").glob("*.json")
    assert json.loads(kept.read_text()) == SLOW


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '{"grouped": 2}', '{"grouped": []}'])
def test_a_damaged_file_is_measured_again(measured, tmp_path: Path, text: str) -> None:
    measured += [{"grouped": 2.0, "depthwise": 2.0}, SLOW]
    bfloat16_kinds("auto")
    (kept,) = (tmp_path / "home" / "cache").glob("*.json")
    kept.write_text(text)
    module._of_this_machine.cache_clear()
    assert bfloat16_kinds("auto") == {"plain"}
    assert json.loads(kept.read_text()) == SLOW


def test_without_a_folder_it_is_kept_for_the_process(measured, tmp_path: Path, monkeypatch) -> None:
    measured.append(SLOW)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(module, "_FOLDER", str(tmp_path / "file" / "cache"))
    assert bfloat16_kinds("auto") == bfloat16_kinds("auto") == {"plain"}


def test_what_is_not_needed_is_not_measured(measured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_bfloat16", lambda device: False)
    for precision in ("float32", "bfloat16", "auto"):
        bfloat16_kinds(precision)  # the list of answers is empty


def test_measuring_leaves_the_generators_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    found = measure_bfloat16()
    assert torch.equal(torch.rand(3), expected)
    assert found.keys() == SLOW.keys()
    assert all(speedup > 0 for speedup in found.values())
