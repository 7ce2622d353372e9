import dataclasses
import hashlib
import pickle
from pathlib import Path

import pytest

from nasproxy import BrokenArchitecture, Dataset, Space, UserError, copy_space, load_space, rank
from nasproxy.spaces.size import count_flops, count_params
from nasproxy.spaces.space import as_space
from tests.conftest import scored


def test_spaces_load_by_file_by_module_and_travel(tiny_space_file: str, monkeypatch) -> None:
    by_file = load_space(tiny_space_file)
    monkeypatch.syspath_prepend(str(Path(tiny_space_file).parent.parent))
    by_module = load_space(f"{Path(tiny_space_file).parent.name}.tiny_space")
    assert by_file.sha256 == by_module.sha256
    assert by_file.summary == "Six linear networks, two of them broken in different ways."
    assert by_file.key({"width": 8, "kind": "plain"}) == "kind=plain width=8"
    again = pickle.loads(pickle.dumps(by_file))
    assert again.sha256 == by_file.sha256
    assert as_space(again) is again
    assert as_space(tiny_space_file).sha256 == by_file.sha256


def test_an_invalid_architecture_says_why(tiny_space) -> None:
    with pytest.raises(BrokenArchitecture, match="ValueError: too thin to be deep"):
        tiny_space.build({"width": 2, "kind": "deep"}, (1, 8, 8), 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def biuld(): pass", "has no function build"),
        ("import nothing_of_that_name", "fails to import: ModuleNotFoundError"),
        ("def build(:", "fails to import: SyntaxError"),
    ],
)
def test_broken_space_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "space.py").write_text(text)
    with pytest.raises(UserError, match=message):
        load_space(str(tmp_path / "space.py"))


@pytest.mark.parametrize(
    ("name", "message"),
    [("convnt", "did you mean 'convnet'"), ("./x.py", "no such search space file"), ("a.b", "unk")],
)
def test_unknown_spaces(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_space(name)


def test_a_copy_is_a_space_of_its_own(tmp_path: Path) -> None:
    copy_space("convnet", tmp_path / "mine.py")
    assert load_space(str(tmp_path / "mine.py")).sha256 == load_space("convnet").sha256
    with pytest.raises(UserError, match="is there already"):
        copy_space("convnet", tmp_path / "mine.py")


def test_spaces_take_options() -> None:
    small = load_space("nasbench201:C=4,N=1")
    (drawn,) = small.sample(1, 0, (3, 32, 32), 10)
    assert len(small.build(drawn.choices, (3, 32, 32), 10).cells) == 5
    assert pickle.loads(pickle.dumps(small)).options == {"C": 4, "N": 1}
    with pytest.raises(UserError, match="has no option 'M'"):
        load_space("nasbench201:M=1")


def test_budgets_turn_architectures_away() -> None:
    space = dataclasses.replace(load_space("convnet_small"), max_params=20_000)
    drawn = space.sample(10, 0, (1, 8, 8), 10)
    assert sum(a.error is None for a in drawn) == 10
    refused = [a.error for a in drawn if a.error]
    assert any("over budget: " in error for error in refused)
    for a in drawn:
        if a.error is None:
            assert count_params(space.build(a.choices, (1, 8, 8), 10)) <= 20_000
    space = dataclasses.replace(space, max_params=None, max_flops=1e6)
    for a in space.sample(10, 0, (1, 8, 8), 10):
        if a.error is None:
            assert count_flops(space.build(a.choices, (1, 8, 8), 10), (1, 8, 8)) <= 1e6


@pytest.mark.parametrize("given, largest", [(None, 1091), (200.0, 139), (5000.0, 1363)])
def test_a_limit_that_is_given_takes_the_place_of_the_spaces_own(
    tiny_space: Space, data: Dataset, given: float | None, largest: float
) -> None:
    space = dataclasses.replace(tiny_space, max_params=1200.0, max_flops=1e9)
    assert as_space(space, max_params=given).max_flops == 1e9
    study = rank(space, "params", data=data, sampler="all", max_params=given)
    assert max(t.value for t in scored(study)) == largest


def test_spaces_travel_from_any_folder(tiny_space_file: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(Path(tiny_space_file).parent)
    packed = pickle.dumps(load_space("./tiny_space.py"))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(packed).sha256 == load_space(tiny_space_file).sha256


def test_the_digest_covers_what_a_space_imports_from_beside_it() -> None:
    small, path = load_space("convnet_small"), load_space("convnet_small").path
    assert small.sha256 != hashlib.sha256(path.read_bytes()).hexdigest()[:16]
