"""Whatever of the user's own a space is made of is in its digest, and is what runs."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nasproxy import UserError, load_dataset, load_space, rank
from tests.conftest import scored

_SPACE = """from torch import nn
{head}
def build(trial, shape, n):
    {inside}
    width = trial.suggest_int("w", 4, 7)
    return nn.Sequential({conv}(shape[0], width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(width, n))
"""
_CONV = (
    "from torch import nn\ndef conv(i, o): return nn.Conv2d(i, o, {side}, padding={side} // 2)\n"
)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a test has imported is forgotten, as if each had a process of its own."""
    modules, path = dict(sys.modules), list(sys.path)
    yield
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]
    sys.path[:] = path


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _side(path: Path | str) -> int:
    """The kernel that the space's networks have."""
    network = load_space(str(path)).build({"w": 4}, (1, 8, 8), 3)
    return next(network.parameters()).shape[-1]


@pytest.mark.parametrize(
    ("files", "head", "inside", "conv"),
    [
        ({"blocks.py": _CONV}, "import blocks", "", "blocks.conv"),
        ({"blocks.py": _CONV}, "from blocks import conv", "", "conv"),
        ({"blocks.py": _CONV}, "from blocks import *", "", "conv"),
        ({"blocks.py": _CONV}, "", "from blocks import conv", "conv"),
        ({"pkg/deep/ops.py": _CONV}, "from pkg.deep.ops import conv", "", "conv"),
        ({"pkg/deep/ops.py": _CONV}, "from pkg.deep import ops", "", "ops.conv"),
        ({"pkg/deep/ops.py": _CONV}, "import pkg.deep.ops as ops", "", "ops.conv"),
        ({"pkg/__init__.py": _CONV}, "from pkg import conv", "", "conv"),
        (
            {"pkg/__init__.py": "from .ops import conv", "pkg/ops.py": _CONV},
            "from pkg import conv",
            "",
            "conv",
        ),
        ({"a.py": "from b import conv", "b.py": _CONV}, "import a", "", "a.conv"),
        (
            {"ops.py": _CONV},
            "import importlib; ops = importlib.import_module('ops')",
            "",
            "ops.conv",
        ),
        ({"ops.py": _CONV}, "ops = __import__('o' + 'ps')", "", "ops.conv"),
        ({"../lib/far.py": _CONV}, "import sys\nfrom far import conv", "", "conv"),
    ],
)
def test_a_change_in_what_it_imports_is_another_space(
    tmp_path: Path, monkeypatch, files: dict[str, str], head: str, inside: str, conv: str
) -> None:
    folder, path = tmp_path / "mine", tmp_path / "mine" / "space.py"
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    _write(folder, {"space.py": _SPACE.format(head=head, inside=inside or "pass", conv=conv)})
    seen = set()
    for side in (3, 5):  # of one length, within one second
        _write(folder, {name: text.replace("{side}", str(side)) for name, text in files.items()})
        space = load_space(str(path))
        assert next(space.build({"w": 4}, (1, 8, 8), 3).parameters()).shape[-1] == side
        assert load_space(str(path)).sha256 == space.sha256
        seen.add(space.sha256)
        if side == 3:
            packed = pickle.dumps(space)
    assert len(seen) == 2
    with pytest.raises(UserError, match="must stay as it is"):
        pickle.loads(packed)
    assert not list(folder.rglob("__pycache__"))


def test_what_is_not_imported_changes_nothing(tmp_path: Path) -> None:
    _write(tmp_path, {"space.py": _SPACE.format(head="", inside="pass", conv="nn.Linear")})
    _write(tmp_path, {"other.py": "x = 1"})
    before = load_space(str(tmp_path / "space.py")).sha256
    _write(tmp_path, {"other.py": "x = 2"})
    assert load_space(str(tmp_path / "space.py")).sha256 == before


def test_each_space_has_the_modules_beside_it(tmp_path: Path) -> None:
    late = "from blocks import conv"
    for side in (3, 5):
        where = tmp_path / str(side)
        _write(where, {"blocks.py": _CONV.format(side=side)})
        _write(where, {"space.py": _SPACE.format(head="", inside=late, conv="conv")})
    three, five = (load_space(str(tmp_path / str(side) / "space.py")) for side in (3, 5))
    for space, side in ((three, 3), (five, 5), (three, 3)):
        network = space.build({"w": 4}, (1, 8, 8), 3)
        assert next(network.parameters()).shape[-1] == side


def test_modules_of_the_user_are_left_alone(tmp_path: Path, monkeypatch) -> None:
    _write(tmp_path / "lib", {"blocks.py": "mine = 1"})
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    import blocks  # type: ignore[import-not-found]

    _write(tmp_path, {"blocks.py": _CONV.format(side=5)})
    text = _SPACE.format(head="from blocks import conv", inside="pass", conv="conv")
    _write(tmp_path, {"space.py": text})
    assert _side(tmp_path / "space.py") == 5
    assert sys.modules["blocks"] is blocks and blocks.mine == 1


def test_a_module_path_is_read_anew_when_it_has_changed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    text = _SPACE.format(head="from .blocks import conv", inside="pass", conv="conv")
    _write(tmp_path, {"pack/__init__.py": "", "pack/space.py": text})
    for side in (3, 5):
        _write(tmp_path, {"pack/blocks.py": _CONV.format(side=side)})
        assert _side("pack.space") == side


def test_neighbours_are_found_in_workers(tmp_path: Path) -> None:
    text = _SPACE.format(head="from blocks import conv", inside="pass", conv="conv")
    _write(tmp_path, {"blocks.py": _CONV.format(side=3), "space.py": text})
    study = rank(
        str(tmp_path / "space.py"), "params", data=load_dataset("digits"), trials=3, jobs=2
    )
    assert len(scored(study)) == 3


def test_a_folder_of_the_users_does_not_replace_our_spaces(tmp_path: Path) -> None:
    theirs = "def build(trial, shape, n): raise SystemExit('theirs')\n"
    _write(tmp_path, {"search_spaces/__init__.py": "", "search_spaces/convnet.py": theirs})
    _write(tmp_path, {"search_spaces/mine.py": "from search_spaces.convnet import build"})
    said = subprocess.run(
        [sys.executable, "-c", "import search_spaces.convnet, nasproxy;"
         "print(*[nasproxy.load_space(n).path.parent for n in ('convnet', 'convnet_small')]);"
         "print(nasproxy.load_space('convnet_small').sha256);"
         "print(search_spaces.convnet.__file__);"
         "print(nasproxy.load_space('search_spaces/mine.py').module.build.__code__.co_filename)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    ).stdout.split()  # fmt: skip
    ours = load_space("convnet_small")
    assert said[:3] == [str(ours.path.parent)] * 2 + [ours.sha256]
    assert said[3:] == [str(tmp_path / "search_spaces/convnet.py")] * 2
