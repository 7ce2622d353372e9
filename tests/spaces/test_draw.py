from pathlib import Path

import optuna
import pytest
import torch

from nasproxy import UserError, load_dataset, load_space, rank
from tests.conftest import scored


def test_drawing_is_uniform_without_repeats_and_a_prefix(tiny_space) -> None:
    drawn = tiny_space.sample(5, 0, (1, 8, 8), 3)
    assert tiny_space.sample(3, 0, (1, 8, 8), 3) == drawn[:3]
    assert len({a.key for a in drawn}) == len(drawn)
    assert len(tiny_space.sample(100, 0, (1, 8, 8), 3)) == 6  # all there are, one of them invalid
    first = [tiny_space.sample(1, seed, (1, 8, 8), 3)[0].key for seed in range(300)]
    counts = [first.count(key) for key in {a.key for a in drawn}]
    assert min(counts) > 25  # 50 expected


def test_a_stored_trial_rebuilds_its_network(tiny_space) -> None:
    trial = optuna.create_study().ask()
    traced = tiny_space.trace(trial, (1, 8, 8), 3)
    assert traced.choices == trial.params
    if traced.error is None:
        assert isinstance(tiny_space.build(traced.choices, (1, 8, 8), 3), torch.nn.Module)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"width": 8}, "parameter kind is missing"),
        ({"width": 9, "kind": "plain"}, "width=9 is outside the space"),
        ({"width": "8", "kind": "plain"}, "width='8' is outside the space"),
        ({"width": 8, "kind": "plain", "depth": 3}, "no such parameter: depth"),
    ],
)
def test_parameters_outside_the_space_are_an_error(tiny_space, params, message) -> None:
    with pytest.raises(UserError, match=message):
        tiny_space.build(params, (1, 8, 8), 3)


CONDITIONAL = '''"""Numbers and conditions."""
from torch import nn


def build(trial, input_shape, num_classes):
    depth = trial.suggest_int("depth", 0, 2)
    for i in range(depth):
        trial.suggest_float(f"x{i}", 0.0, 1.0, step=0.5)
    if depth == 0:
        nn.Parameter(__import__("torch").zeros(1)).item()  # fails without real tensors
    trial.suggest_int("wide", 1, 4, log=True) if depth == 1 else None
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))
'''


def test_conditional_spaces_are_enumerated(tmp_path: Path) -> None:
    path = tmp_path / "conditional.py"
    path.write_text(CONDITIONAL)
    space = load_space(str(path))
    keys = {a.key for a in space.enumerate((1, 8, 8), 2)}
    assert len(keys) == 1 + 3 * 4 + 9
    assert {a.key for a in space.sample(22, 0, (1, 8, 8), 2)} == keys
    path.write_text(CONDITIONAL.replace(", step=0.5", ""))
    with pytest.raises(UserError, match="x0 is continuous"):
        list(load_space(str(path)).enumerate((1, 8, 8), 2))


def test_stepped_floats_stay_inside(tmp_path: Path) -> None:
    path = tmp_path / "steps.py"
    path.write_text(
        "from torch import nn\n"
        "def build(trial, input_shape, num_classes):\n"
        "    trial.suggest_float('x', 0.1, 0.3, step=0.1)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    space = load_space(str(path))
    found = list(space.enumerate((1, 8, 8), 3))
    assert len(found) == 3
    for a in found:
        space.build(a.choices, (1, 8, 8), 3)


def test_a_space_without_a_valid_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.py"
    path.write_text(
        "def build(trial, input_shape, num_classes):\n"
        "    trial.suggest_float('x', 0, 1)\n"
        "    raise ValueError('never')\n"
    )
    with pytest.raises(UserError, match="no architecture can be built; the first: ValueError: ne"):
        load_space(str(path)).sample(3, 0, (1, 8, 8), 3)


_HEAD = """from torch import nn

def build(trial, shape, n):
"""
_TAIL = "\n    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], n))\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("for i in range(2): trial.suggest_int('w', 4, 8 * (i + 1))", "w is drawn from IntDist"),
        ("for c in ('ab', 'bc'): trial.suggest_categorical('o', list(c))", "in one architecture"),
        ("trial.suggest_int('w', 1, 4); trial.suggest_float('w', 1, 4)", "in one architecture"),
        (
            "k = trial.suggest_categorical('k', 'ab')\n"
            "    trial.suggest_categorical('o', ['x', 'y'] if k == 'a' else ['y', 'z'])",
            "in two architectures",
        ),
        (
            "k = trial.suggest_categorical('k', 'ab')\n"
            "    trial.suggest_int('o', 1, 4) if k == 'a' else trial.suggest_float('o', 1, 4)",
            "in two architectures",
        ),
        (
            "k = trial.suggest_categorical('k', 'ab')\n"
            "    trial.suggest_int('o', 1, 4, log=k == 'a')",
            "in two architectures",
        ),
        ("trial.suggest_categorical('o', [1, 2, True])", "1 equals True"),
        ("trial.suggest_categorical('o', [1, 1.0])", "1 equals 1.0"),
    ],
)
def test_one_name_with_two_distributions_is_refused(
    tmp_path: Path, body: str, message: str
) -> None:
    (tmp_path / "space.py").write_text(f"{_HEAD}    {body}{_TAIL}")
    data = load_dataset("digits")
    for how in ({"trials": 20}, {"sampler": "all"}, {"trials": 20, "sampler": "tpe"}):
        if how.get("sampler") == "all" and "float" in body:
            continue
        if how.get("sampler") == "tpe":
            message = "parameter|equals"
        with pytest.raises(UserError, match=message):
            rank(str(tmp_path / "space.py"), "params", data=data, jobs=1, **how)


@pytest.mark.parametrize("choices", [[1, "1"], [None, "None"], [True, "True", "x"], [0.5, "0.5"]])
def test_a_number_and_its_text_are_two_choices(tmp_path: Path, choices: list) -> None:
    body = f"k = trial.suggest_categorical('k', {choices})"
    tail = _TAIL.replace("n))", "n), *[nn.ReLU()] * isinstance(k, str))")
    (tmp_path / "space.py").write_text(f"{_HEAD}    {body}{tail}")
    space = load_space(str(tmp_path / "space.py"))
    drawn = space.sample(5, 0, (1, 8, 8), 3)
    assert {repr(a.choices["k"]) for a in drawn} == {*map(repr, choices)}
    assert len({a.key for a in drawn}) == len(choices) == len(list(space.enumerate((1, 8, 8), 3)))
    study = rank(space, "params", data=load_dataset("digits"), sampler="all", jobs=1)
    truth = rank(space, "params", data=load_dataset("digits"), like=study, jobs=1)
    assert len(scored(truth)) == len(choices)


def test_text_has_no_quotes_where_nothing_is_like_it(tmp_path: Path) -> None:
    (tmp_path / "space.py").write_text(
        f"{_HEAD}    trial.suggest_categorical('k', ['1', '2', 3]){_TAIL}"
    )
    drawn = load_space(str(tmp_path / "space.py")).enumerate((1, 8, 8), 3)
    assert [a.key for a in drawn] == ["k=1", "k=2", "k=3"]  # as in studies of earlier versions


def test_ranges_of_numbers_may_differ_between_branches(tmp_path: Path) -> None:
    body = (
        "k = trial.suggest_categorical('k', 'ab')\n"
        "    trial.suggest_int('o', 1, 2) if k == 'a' else trial.suggest_int('o', 5, 6)"
    )
    (tmp_path / "space.py").write_text(f"{_HEAD}    {body}{_TAIL}")
    study = rank(
        str(tmp_path / "space.py"), "params", data=load_dataset("digits"), sampler="all", jobs=1
    )
    assert {t.params["k"] + str(t.params["o"]) for t in scored(study)} == {"a1", "a2", "b5", "b6"}
