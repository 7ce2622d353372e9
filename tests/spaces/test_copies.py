"""A space's code beside a network: enough by itself, and never run when it is another."""

import shutil
import sys
from pathlib import Path

import pytest

import nasproxy
from nasproxy.spaces.copies import keep_copy, load_copy

SPACE = """
import importlib.util
from pathlib import Path
from torch import nn
import blocks, elsewhere.part
from package.deep import inner
SPEC = importlib.util.spec_from_file_location("late", Path(__file__).with_name("late.py"))
LATE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(LATE)


def build(trial, input_shape, num_classes, more=0):
    from inside import LAST
    width = trial.suggest_int("width", 1, 4)
    n = width * blocks.N * elsewhere.part.N * inner.N * LATE.N * LAST + more
    return nn.Sequential(nn.Flatten(), nn.Linear(4, n))
"""
FILES = {
    "mine/space.py": SPACE,
    "mine/blocks.py": "N = 2",
    "mine/package/__init__.py": "",
    "mine/package/deep/inner.py": "N = 3",
    "mine/late.py": "N = 5",
    "mine/inside.py": "from blocks import N\nLAST = N",
    "other/elsewhere/__init__.py": "",
    "other/elsewhere/part.py": "N = 7",
}


def _write(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _outputs(space: nasproxy.Space) -> int:
    return space.build({"width": 1}, (1, 2, 2), 3)[1].out_features


def test_a_copy_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    space = nasproxy.load_space(f"{tmp_path}/mine/space.py:more=1")
    about = keep_copy(space, tmp_path / "run")
    assert keep_copy(space, tmp_path / "run") == about
    assert _outputs(space) == 421
    for folder in ("mine", "other"):
        shutil.rmtree(tmp_path / folder)
    sys.path.remove(str(tmp_path / "other"))
    (tmp_path / "run").rename(tmp_path / "taken")
    copied = load_copy(tmp_path / "taken", about, space.locator)
    assert copied is not None
    assert _outputs(copied) == 421
    (tmp_path / "taken" / about["folder"] / "late.py").write_text("N = 6")
    assert load_copy(tmp_path / "taken", about, space.locator) is None


@pytest.mark.parametrize("name", ["convnet_small", "nasbench201:C=4,N=1"])
def test_copies_of_our_own_spaces(tmp_path: Path, name: str) -> None:
    space = nasproxy.load_space(name)
    about = keep_copy(space, tmp_path)
    copied = load_copy(tmp_path, about, space.locator)
    assert copied is not None
    assert copied.path.is_relative_to(tmp_path)
    drawn = space.sample(1, 0, (3, 8, 8), 10)[0]
    own, other = (s.build(drawn.choices, (3, 8, 8), 10) for s in (space, copied))
    assert str(own) == str(other)
    assert nasproxy.load_space(name).module is sys.modules[space.module.__name__]


def test_what_changed_meanwhile_is_not_kept(tmp_path: Path) -> None:
    _write(tmp_path)
    path = tmp_path / "mine" / "space.py"
    path.write_text("from torch import nn\nimport blocks\ndef build(t, s, c): return nn.Flatten()")
    space = nasproxy.load_space(str(path))
    (tmp_path / "mine" / "blocks.py").write_text("N = 3")
    assert keep_copy(space, tmp_path / "run") is None
    assert not (tmp_path / "run").exists()


def test_no_way_out_of_the_folder(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "mine" / "space.py").write_text("def build(t, s, c): pass")
    space = nasproxy.load_space(str(tmp_path / "mine" / "space.py"))
    about = keep_copy(space, tmp_path / "run")
    good = tmp_path / "run" / about["folder"]
    for change in ({"folder": "../run/" + good.name}, {"folder": ".."}, {"main": "../x.py"},
                   {"folder": str(good)}, {"main": "os"}, {"sha256": 3}):  # fmt: skip
        assert load_copy(tmp_path / "run", {**about, **change}, "x.py") is None, change
    assert load_copy(tmp_path / "run", None, "x.py") is None
