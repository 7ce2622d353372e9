"""What people write: tables, YAML configs, and search spaces."""

# ruff: noqa: E501 - a case a line reads best

import functools
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import TINY_SPACE
from tests.hostile.case import EITHER, Case, Good, all_refused, compared, ranked_by, rows, written

HEAD = "arch,acc,other\n"
ROWS = "".join(f"a{n},{n / 10},{n % 3}\n" for n in range(6))
TABLE = HEAD + ROWS
PACKED = gzip.compress(TABLE.encode())


def _n(expected: int) -> Any:
    return lambda document: document["n"] == expected


TABLES: tuple[tuple[str, str | bytes, Any], ...] = (
    ("empty", b"", "'acc'"),
    ("a header alone", HEAD, "holds no numbers"),
    ("blank lines", "\n\n\n", "'acc'"),
    ("binary", bytes(range(256)) * 4, "t.csv"),
    ("random", np.random.default_rng(0).bytes(4000), "t.csv"),
    ("in UTF-16", TABLE.encode("utf-16"), "UTF-8"),
    ("in latin-1", TABLE.replace("a0", "é").encode("latin-1"), "UTF-8"),
    ("NUL in a field", TABLE.replace("a3", "a\0"), "NUL"),
    ("no such column", TABLE.replace("acc", "accs"), "did you mean 'accs'"),
    ("no architectures", TABLE.replace("arch", "name"), "arch or architecture"),
    ("the column twice", TABLE.replace("other", "acc"), "'acc' twice"),
    ("the architecture twice", TABLE + "a3,1,1\n", "a3 twice"),
    ("a row without an architecture", TABLE + ",1,1\n", "arch"),
    ("rows of one field", "arch,acc\n" + "a\n" * 3, "line 2: 1 cells"),
    ("no numbers", TABLE.replace("0.", "x").replace("a0,x0", "a0,x"), "no numbers"),
    ("all NaN", HEAD + "".join(f"a{n},nan,1\n" for n in range(6)), "no numbers"),
    ("all missing", HEAD + "".join(f"a{n},,1\n" for n in range(6)), "no numbers"),
    ("a quote that never ends", TABLE.replace("a3", '"a3'), "t.csv"),
    ("a field of 1 MB", TABLE.replace("a3", "a" * 10**6), "field"),
    ("separated by semicolons", TABLE.replace(",", ";"), _n(6)),
    ("with commas for points", TABLE.replace(",", ";").replace(".", ","), _n(6)),
    ("gzip cut", PACKED[:-10], "t.csv"),
    ("gzip cut at the header", PACKED[:5], "t.csv"),
    ("gzip with spoilt data", PACKED[:20] + b"\xff" * 20 + PACKED[40:], "t.csv"),
    ("gzip with a wrong checksum", PACKED[:-8] + bytes(8), "t.csv"),
    ("gzip of 300 MB of zeros", gzip.compress(bytes(2**20)) * 300, "t.csv"),
    ("gzip of binary", gzip.compress(bytes(range(256))), "UTF-8"),
    ("with a byte order mark", b"\xef\xbb\xbf" + TABLE.encode(), _n(6)),
    ("with Windows line ends", TABLE.replace("\n", "\r\n"), _n(6)),
    ("with blank lines", TABLE.replace("a3", "\n\na3"), _n(6)),
    ("with some missing", TABLE.replace("0.3", ""), _n(5)),
    ("with some text", TABLE.replace("0.3", "failed"), "line 5: expected a number"),
    ("with short rows", TABLE + "b\n", "line 8: 1 cells"),
    ("with long rows", TABLE + "b,0.5,1,7,8\n", "line 8: 5 cells"),
    ("with no line end", TABLE.rstrip(), _n(6)),
    ("with quoted commas", TABLE.replace("a3", '"a,3"'), _n(6)),
    ("with formulas", TABLE.replace("a3", "=cmd|' /C calc'!A0"), _n(6)),
    ("in other scripts", TABLE.replace("a3", "日本🐈"), _n(6)),
    ("gzipped in two parts", gzip.compress(HEAD.encode()) + gzip.compress(ROWS.encode()), _n(6)),
)
ADDRESSES = (
    ("is not there", "table:nowhere.csv:acc", "nowhere.csv"),
    ("is a folder", "table:FOLDER:acc", "no such table"),
    ("has no name", "table::acc", "table"),
    ("has no column", "table:TABLE", "table"),
    ("has an empty column", "table:TABLE:", "column ''"),
    ("alone", "table:", "table"),
)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def tables() -> Iterator[Case]:
    def table(text: str | bytes, folder: Path, good: Good) -> Any:
        path = written(folder / "t.csv", _bytes(text))
        return compared(f"table:{path}:acc", f"table:{path}:other")

    def elsewhere(given: str, folder: Path, good: Good) -> Any:
        given = given.replace("FOLDER", str(folder)).replace("TABLE", str(good.table))
        return compared(given, f"table:{good.table}:other")

    yield from rows("table", table, TABLES)
    yield from rows("table", elsewhere, ADDRESSES)


CONFIGS: tuple[tuple[str, str | bytes, str], ...] = (
    ("unknown key", "ipcs: 3\n", "ipcs"),
    ("unknown key inside", "proxy: {epoch: 3}\n", "epoch"),
    ("text for a number", "ipc: many\n", "ipc"),
    ("a list for a number", "ipc: [1]\n", "ipc"),
    ("null for a number", "ipc: null\n", "ipc"),
    ("null for a number in a recipe", "proxy: {lr: null}\n", "c.yaml"),
    ("NaN for a number", "ipc: .nan\n", "ipc"),
    ("a date for a number", "ipc: 2026-01-01\n", "ipc"),
    ("a number for a flag", "quiet: 7\n", "trials"),
    ("an object for text", "data: {a: 1}\n", "data"),
    ("text for a recipe", "proxy: quick\n", "proxy"),
    ("a list for a recipe", "proxy: [1]\n", "proxy"),
    ("an unknown schedule", "proxy: {schedule: cosin}\n", "schedule"),
    ("out of range", "proxy: {epochs: 0}\n", "epochs"),
    ("not YAML", "a: [\n", "c.yaml"),
    ("bad indentation", "data: x\n  ipc: 3\n ipc: 4\n", "c.yaml"),
    ("tabs", "proxy:\n\tepochs: 3\n", "c.yaml"),
    ("a list", "- 1\n- 2\n", "c.yaml"),
    ("a text", "just words\n", "c.yaml"),
    ("two documents", "ipc: 3\n---\nipc: 4\n", "c.yaml"),
    ("an unknown anchor", "ipc: *x\n", "c.yaml"),
    ("a key twice", "ipc: 3\nipc: 4\n", "ipc"),
    ("a list as a key", "[a]: 3\n", "c.yaml"),
    ("python call", "data: !!python/object/apply:os.system ['touch owned']\n", "c.yaml"),
    ("python name", "data: !!python/name:os.system\n", "c.yaml"),
    ("unknown tag", "data: !mine x\n", "c.yaml"),
    ("contains itself", "proxy: &a [*a]\n", "proxy"),
    ("deep nesting", "data: " + "[" * 5000 + "]" * 5000 + "\n", "c.yaml"),
    ("a long number", "ipc: " + "9" * 10_000 + "\n", "c.yaml"),
    ("NUL in the text", 'data: "a\\0b"\n', "data"),
    ("a config in a config", "config: other.yaml\n", "config"),
    ("print_config", "print_config: true\n", "print_config"),
    ("the class of a recipe", "proxy: {class_path: os.system, init_args: {}}\n", "proxy"),
    ("binary", bytes(range(256)), "c.yaml"),
    ("in UTF-16", "ipc: 3\n".encode("utf-16"), "c.yaml"),
    ("in latin-1", "data: é\n".encode("latin-1"), "c.yaml"),
    ("NUL", b"ipc: 3\0\n", "c.yaml"),
    ("empty", b"", "c.yaml"),
    ("a comment", b"# nothing\n", "c.yaml"),
)


def configs() -> Iterator[Case]:
    def config(text: str | bytes, folder: Path, good: Good) -> Any:
        path = written(folder / "c.yaml", _bytes(text))
        return ["run", "--config", path, "--trials", 0]  # no run, if it should be taken

    def listed(text: bytes, folder: Path, good: Good) -> Any:
        return ["list", "--config", written(folder / "c.yaml", text), "methods"]

    def elsewhere(path: str, folder: Path, good: Good) -> Any:
        return ["run", "--config", path]

    yield from rows("config", config, CONFIGS)
    marked = ("with a byte order mark", b"\xef\xbb\xbfwhat: methods\n")
    yield from rows("config", listed, [(*marked, lambda d: "dm" in d["methods"])])
    paths = {"not there": "nowhere.yaml", "a folder": ".", "no name": ""}
    yield from rows("config is", elsewhere, all_refused(paths, "config"))


START = "from torch import nn\n\ndef build(trial, input_shape, num_classes):\n"
SUGGEST = "    trial.suggest_int('a', 1, 9)\n"
SPACES: tuple[tuple[str, str | bytes, str], ...] = (
    ("empty", "", "has no function build"),
    ("syntax error", "def build(:\n", "SyntaxError"),
    ("build is a number", "build = 3\n", "has no function build"),
    ("import that fails", "import no_such_module\n", "no_such_module"),
    ("import that raises", "raise RuntimeError('no')\n", "RuntimeError: no"),
    ("import that exits", "import sys\nsys.exit(0)\n", "SystemExit"),
    ("import that recurses", "def f(): f()\nf()\n", "RecursionError"),
    ("build of one argument", "def build(trial):\n    pass\n", "build"),
    ("build raises", START + SUGGEST + "    raise ValueError('never')\n", "never"),
    ("build exits", START + SUGGEST + "    import sys; sys.exit(3)\n", "SystemExit"),
    ("build returns nothing", START + SUGGEST, "NoneType"),
    ("build returns a class", START + SUGGEST + "    return nn.Linear\n", "nn.Module"),
    ("build recurses", START + "    return build(trial, input_shape, num_classes)\n", "Recursion"),
    ("build suggests nonsense", START + "    trial.suggest_int('a', 9, 1)\n", "space.py"),
    ("build suggests no choices", START + "    trial.suggest_categorical('a', [])\n", "space.py"),
    ("build asks for what isn't", START + "    trial.suggest_colour('a')\n", "suggest_colour"),
    ("build suggests objects", START + "    trial.suggest_categorical('a', [nn.ReLU, nn.Tanh])\n    return nn.Linear(1, 1)\n", "a"),
    ("describe raises", TINY_SPACE + "\ndef describe(params):\n    raise KeyError('x')\n", "describe"),
    ("describe gives nothing", TINY_SPACE + "\ndef describe(params):\n    return None\n", "describe"),
    ("describe is a number", TINY_SPACE + "\ndescribe = 3\n", "describe"),
    ("describe gives one name for all", TINY_SPACE + "\ndef describe(params):\n    return 'net'\n", EITHER),
    ("NUL", "x = 1\0\n", "space.py"),
    ("binary", bytes(range(256)), "space.py"),
    ("in UTF-16", TINY_SPACE.encode("utf-16"), "space.py"),
)  # fmt: skip
NAMES = (
    ("not there", "./nowhere.py", "nowhere.py"),
    ("a folder", "FOLDER/", "no such search space file"),
    ("a near miss", "convnet_smal", "did you mean 'convnet_small'"),
    ("a module that isn't", "no_such.module", "unknown search space"),
    ("a module that is none", "os.path", "unknown search space"),
    ("a module without a file", "sys", "unknown search space"),
    ("a relative module", "..x", "unknown search space"),
    ("empty", "", "unknown search space"),
    ("an unknown option", "SPACE:width=3", "has no option 'width'"),
    ("an option without a value", "SPACE:width", "option=value"),
)


def spaces() -> Iterator[Case]:
    def space(text: str | bytes, folder: Path, good: Good, more: tuple[str, ...] = ()) -> Any:
        path = written(folder / "space.py", _bytes(text))
        return [*ranked_by("params", good), "--space", path, *more]

    def named(given: str, folder: Path, good: Good) -> Any:
        given = given.replace("FOLDER", str(folder)).replace("SPACE", str(good.space))
        return [*ranked_by("params", good), "--space", given]

    def copied(name: str, folder: Path, good: Good) -> Any:
        written(folder / "file", b"mine")
        return ["copy", "convnet", folder / name]

    yield from rows("space", space, SPACES)
    yield from rows("space is", named, NAMES)
    endless = START + "    trial.suggest_float('a', 0, 1)\n    return nn.Linear(1, 1)\n"
    whole = functools.partial(space, more=("--sampler", "all"))
    yield from rows("space", whole, [("continuous, and all of it", endless, "continuous")])
    targets = (("over a file", "file", "file"), ("into a file", "file/mine.py", "mine.py"))
    yield from rows("copy", copied, targets)
