"""What may change in a space's files without making it another space."""

from pathlib import Path

import pytest

from nasproxy import load_space

SPACE = '''"""Two networks."""
from torch import nn

proxy_recipe = {"read": "fit_loss"}


def build(trial, shape, n):
    """A linear network."""
    width = trial.suggest_int("w", 4, 7)  # wide
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.Linear(width, n))
'''


def _digests(path: Path, *changes: tuple[str, str], text: str = SPACE) -> tuple[str, str]:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    space = load_space(str(path))
    return space.sha256, space.code_sha256


@pytest.mark.parametrize(
    "change",
    [
        ("# wide", "# how wide it is"),
        ("Two networks.", "Four networks."),
        ("A linear network.", "Without any nonlinearity."),
        ('    """A linear network."""\n', ""),
        ('suggest_int("w", 4, 7)', "suggest_int(\n        'w', 0x4, 7,\n    )"),
        ('"fit_loss"', '"accuracy"'),
        ('proxy_recipe = {"read": "fit_loss"}', 'proxy_recipe: dict = {"epochs": 3}'),
        ('proxy_recipe = {"read": "fit_loss"}\n', ""),
    ],
)
def test_what_builds_nothing_is_no_part_of_the_code(tmp_path: Path, change) -> None:
    path = tmp_path / "space.py"
    before, after = _digests(path), _digests(path, change)
    assert before[0] != after[0] and before[1] == after[1]


@pytest.mark.parametrize(
    "change",
    [
        ("4, 7", "4, 8"),
        ("4, 7", "4.0, 7"),
        ("nn.Flatten(), ", ""),
        ('"w"', '"width"'),
        ("(width, n)", "(width, n, bias=False)"),
    ],
)
def test_what_builds_networks_is(tmp_path: Path, change) -> None:
    path = tmp_path / "space.py"
    assert _digests(path)[1] != _digests(path, change)[1]


@pytest.mark.parametrize(
    ("used", "change"),
    [
        (("4, 7", "4, len(__doc__)"), ("Two networks.", "Four networks.")),
        (("4, 7", 'len(proxy_recipe["read"]), 9'), ('"fit_loss"', '"accuracy"')),
    ],
)
def test_what_the_code_itself_reads_is_part_of_it(tmp_path: Path, used, change) -> None:
    path = tmp_path / "space.py"
    assert _digests(path, used)[1] != _digests(path, used, change)[1]


def test_files_that_it_imports_have_their_say(tmp_path: Path) -> None:
    path, blocks = tmp_path / "space.py", tmp_path / "blocks.py"
    change = ("from torch import nn", "from torch import nn\nfrom blocks import LARGE")
    found = []
    for text in ("LARGE = 3\n", "LARGE = 3  # rather\n", "LARGE = 4\n"):
        blocks.write_text(text)
        found.append(_digests(path, change))
    assert len({sha256 for sha256, _ in found}) == 3
    assert found[0][1] == found[1][1] != found[2][1]
