"""What belongs to one study: the same trainings, however they are spelt and whoever asks."""

import json
import shutil
from pathlib import Path

import optuna
import pytest

import nasproxy
from nasproxy import UserError, rank
from nasproxy.studies import loop
from nasproxy.studies.identity import identity, load_study, reading_of, siblings
from nasproxy.studies.storage import open_storage
from tests.conftest import scored

BEFORE = Path(__file__).parents[1] / "before"  # made before the package had rooms
RECIPE = "epochs=2,batch_size=64,augment=none"


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a storage with studies of an older version; their space is in the folder."""
    shutil.copy(BEFORE / "before.db", tmp_path)
    shutil.copy(BEFORE / "space_of_before.py", tmp_path / "tiny_space.py")
    shutil.copy(BEFORE / "proxy.safetensors", tmp_path)
    monkeypatch.chdir(tmp_path)
    return "sqlite:///before.db"


def values(study: optuna.Study) -> list[tuple[str, float]]:
    return sorted((t.user_attrs["architecture"], t.value) for t in scored(study))


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing may be trained."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(loop.Loop, "_task", refuse)


@pytest.mark.parametrize(
    "study, options",
    [
        ("dm", {"by": "proxy.safetensors:epochs=20"}),
        ("truth", {"by": "full:epochs=2", "seeds": 2}),
        ("truth", {"by": "full:epochs=2,lr=0.05", "seeds": 2}),
        ("params", {"by": "params"}),
        ("stopped", {"by": "full:epochs=4,read=both", "pruner": "halving"}),
        ("searched", {"by": "full:epochs=1", "sampler": "tpe"}),
    ],
)
def test_studies_of_an_older_version_go_on(before: str, untrained, study: str, options) -> None:
    expected = values(load_study(study, open_storage(before)))
    by = options.pop("by")
    found = rank(
        "tiny_space.py", by, data="digits", trials=5, study=study, storage=before, jobs=1, **options
    )
    assert values(found) == expected
    report = nasproxy.correlate("truth", ["dm", "params"], storage=before)
    assert report.n == 5


@pytest.mark.parametrize(
    "study, options, said",
    [
        ("truth", {"by": "full:epochs=3", "seeds": 2}, "epochs = 2, now it is 3"),
        ("truth", {"by": "full:epochs=2", "seeds": 1}, "seeds = 2, now it is 1"),
        ("dm", {"by": "full:epochs=20"}, "now it is"),
        ("params", {"by": "flops"}, "estimator = params, now it is flops"),
        ("params", {"by": "params", "max_params": 1000}, "budget"),
        ("searched", {"by": "full:epochs=1", "pruner": "halving", "rungs": [1]}, "from 1 to 0"),
    ],
)
def test_studies_of_something_else_are_refused(before: str, study: str, options, said) -> None:
    expected = values(load_study(study, open_storage(before)))
    by = options.pop("by")
    with pytest.raises(UserError, match=said):
        rank("tiny_space.py", by, data="digits", trials=5, study=study, storage=before, **options)
    assert values(load_study(study, open_storage(before))) == expected


def test_a_space_is_known_by_its_code_and_options_not_by_its_spelling() -> None:
    one, two, other = (
        identity({"space": name, "space_sha256": "x"})
        for name in ("nasbench201:C=8,N=1", "./a/nasbench201.py:N=1,C=8", "nasbench201:C=4,N=1")
    )
    assert one == two != other


def test_the_reading_is_no_part_of_the_identity() -> None:
    recipes = [nasproxy.Recipe(read=read).to_dict() for read in ("accuracy", "loss")]
    one, two = (identity({"recipe": json.dumps(recipe)}) for recipe in recipes)
    assert one == two
    assert one != identity({"recipe": json.dumps(nasproxy.Recipe(epochs=3).to_dict())})


@pytest.mark.parametrize("seeds", [1, 2])
def test_another_reading_does_not_train_again(
    tiny_space, data, tmp_path: Path, monkeypatch, seeds: int
) -> None:
    options = {"data": data, "sampler": "all", "seeds": seeds, "jobs": 1}
    options["storage"] = f"sqlite:///{tmp_path / 's.db'}"
    first = rank(tiny_space, f"full:{RECIPE}", study="a", **options)
    fresh = rank(tiny_space, f"full:{RECIPE},read=loss", **{**options, "storage": None})

    def refuse(*arguments: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(loop.Loop, "_task", refuse)
    again = rank(tiny_space, f"full:{RECIPE},read=loss", study="b", **options)
    assert values(again) == values(fresh)
    assert reading_of(first) == "accuracy" and reading_of(again) == "loss"
    assert [s.study_name for s in siblings(again)] == ["a"]
    numbers = {t.user_attrs["architecture"]: t.user_attrs for t in scored(fresh)}
    for trial in scored(again):
        expected = numbers[trial.user_attrs["architecture"]]
        for name in ("spread", "score_seed1", "loss", "accuracy"):
            assert trial.user_attrs.get(name) == pytest.approx(expected.get(name))
    same = rank(tiny_space, f"full:{RECIPE},read=loss", study="a", **options)
    assert values(same) == values(first)  # a study's own values stay what they are
    with pytest.raises(AssertionError, match="trained again"):
        rank(tiny_space, f"full:{RECIPE},lr=0.1,read=loss", study="c", **options)


@pytest.fixture
def own_space(tmp_path: Path, tiny_space_file: str):
    """Write a space of one's own, with a change in it; its path."""

    def write(old: str = "", new: str = "") -> str:
        path = tmp_path / "space.py"
        path.write_text(Path(tiny_space_file).read_text().replace(old, new, 1))
        return str(path)

    return write


def test_a_space_with_another_comment_is_the_same(own_space, data, tmp_path: Path) -> None:
    same = {"data": data, "sampler": "all", "storage": f"sqlite:///{tmp_path / 's.db'}", "jobs": 1}
    params = rank(own_space(), "params", study="params", **same)
    commented = own_space("import nn", "import nn  # all that it takes")
    again = rank(commented, "params", study="params", **same)
    assert len(again.trials) == len(params.trials)
    flops = rank(commented, "flops", like="params", study="flops", **same)
    assert flops.user_attrs["space_sha256"] != params.user_attrs["space_sha256"]
    assert nasproxy.correlate(flops, [params]).n == 5
    names = tmp_path / "names.txt"
    names.write_text("kind=plain width=8\n")
    assert len(scored(rank(commented, "params", **{**same, "like": str(names)}))) == 1


def test_a_study_of_before_learns_the_code_of_its_space(before: str) -> None:
    options = {"data": "digits", "trials": 5, "study": "params", "storage": before, "jobs": 1}
    study = rank("tiny_space.py", "params", **options)
    file = Path("tiny_space.py")
    assert study.user_attrs["space_code"] == nasproxy.load_space(str(file)).code_sha256
    file.write_text("# as ever\n" + file.read_text())
    rank("tiny_space.py", "params", **options)
    with pytest.raises(UserError, match=r"truth' .* space_sha256 is .* --accept-space"):
        rank("tiny_space.py", "full:epochs=2", **{**options, "study": "truth"}, seeds=2)


def test_a_space_that_changed_is_refused_until_it_is_accepted(
    own_space, data, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path / 's.db'}"
    same = {"data": data, "sampler": "all", "storage": storage, "jobs": 1}
    old = rank(own_space(), "flops", study="old", **same)
    study = rank(own_space(), "params", study="params", **{**same, "sampler": "random"}, trials=2)
    path = own_space("width == 2 and", "2 == width and")
    new = rank(path, "flops", study="new", **same)
    with pytest.raises(UserError, match=r"another code of its space.*give --accept-space"):
        rank(path, "params", study="params", **same)
    with pytest.raises(UserError, match="budget"):
        rank(path, "params", study="params", accept_space=True, max_params=9, **same)
    with pytest.raises(UserError, match="can't be compared: space_code is"):
        nasproxy.correlate(new, [study])
    for _ in range(2):
        study = rank(path, "params", study="params", accept_space=True, **same)
    assert len(scored(study)) == 5
    assert sum("which the user took for the same" in str(v) for v in study.user_attrs.values()) == 1
    for truth in (old, new):
        assert "params was also made with space code" in str(nasproxy.correlate(truth, [study]))
    assert len(rank(own_space(), "params", study="params", **same).trials) == len(study.trials)
