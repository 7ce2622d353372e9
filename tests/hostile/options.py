"""Values of options, and command lines that are none."""

# ruff: noqa: E501 - an option a line reads best

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.hostile.case import Case, Good, all_refused, rows

# What is no number at all is refused by its type, the same for all options of that type: one of
# each is given all, the others what is out of their own range.
COUNT = ("0", "-1", "nan", "1.5", "", "x", "[1]", "{}", "9" * 400)
NUMBER = ("0", "-1", "nan", "", "x", "[1]", "{}", "inf", "1e400")
SEED = ("-1", "nan", "1.5", "", "x", "9" * 30, "9" * 400)
NPZ = ("--data", "NPZ")
RANDOM = ("--method", "random", *NPZ)
PARAMS = ("--by", "params", *NPZ)
EVALUATED = ("PROXY", *NPZ)
TABLES = ("--truth", "table:TABLE:acc", "--study", "table:TABLE:other")
OPTIONS: tuple[tuple[str, Sequence[str], str, Sequence[str]], ...] = (
    ("condense", RANDOM, "ipc", (*COUNT, "100000")),
    ("condense", NPZ, "steps", ("0",)),
    ("condense", NPZ, "real_batch", ("0",)),
    ("condense", NPZ, "width", ("0",)),
    ("condense", NPZ, "depth", ("0", "99")),
    ("condense", NPZ, "image_lr", NUMBER),
    ("condense", NPZ, "momentum", ("1", "-1", "nan")),
    ("condense", NPZ, "augment", ("twirl", "crop-flip")),
    ("condense", NPZ, "precision", ("", "float64")),
    ("condense", ("--method", "herding", *NPZ), "epochs", ("-1",)),
    ("condense", RANDOM, "seed", SEED),
    ("condense", ("--method", "dm-space", *NPZ), "space", ("convnets", "./no.py", "")),
    ("condense", NPZ, "method", ("", "dmm", "DM")),
    ("condense", RANDOM, "device", ("", "gpu", "cuda:99", "meta", "mkldnn")),
    ("condense", RANDOM, "out", ("", "p", "p.npz", "/proc/nowhere/p.safetensors", "NPZ/p.safetensors")),
    ("condense", RANDOM, "data", ("", "cifar", "./no", "no.npz", "\x1b[31m")),
    ("condense", RANDOM, "steps", ("3",)),
    ("evaluate", EVALUATED, "networks", ("0",)),
    ("evaluate", EVALUATED, "width", ("0",)),
    ("evaluate", EVALUATED, "seed", ("-1", "9" * 400)),
    ("evaluate", EVALUATED, "jobs", ("0", "99999999")),
    ("evaluate", EVALUATED, "device", ("gpu",)),
    ("evaluate", EVALUATED, "recipe.epochs", ("0", "1.5", "x")),
    ("evaluate", EVALUATED, "recipe.steps", ("0",)),
    ("evaluate", EVALUATED, "recipe.batch_size", ("0",)),
    ("evaluate", EVALUATED, "recipe.lr", NUMBER),
    ("evaluate", EVALUATED, "recipe.momentum", ("1", "-1", "nan")),
    ("evaluate", EVALUATED, "recipe.weight_decay", ("-1", "nan", "inf")),
    ("evaluate", EVALUATED, "recipe.schedule", ("", "cosin")),
    ("evaluate", EVALUATED, "recipe.read", ("", "acuracy")),
    ("evaluate", EVALUATED, "recipe.augment", ("twirl",)),
    ("rank", PARAMS, "trials", ("0", "1.5", "x")),
    ("rank", PARAMS, "seeds", ("0",)),
    ("rank", PARAMS, "seed", ("-1", "9" * 400)),
    ("rank", PARAMS, "jobs", ("0", "99999999")),
    ("rank", PARAMS, "sampler", ("", "tpo", "Random")),
    ("rank", PARAMS, "trial_timeout", NUMBER),
    ("rank", PARAMS, "max_params", ("0", "nan")),
    ("rank", PARAMS, "max_flops", ("0", "nan")),
    ("rank", PARAMS, "like", ("no such study",)),
    ("rank", PARAMS, "device", ("gpu", "cuda:99")),
    ("rank", ("--by", "full:epochs=9", *NPZ), "pruner", ("", "halvin", "halving:reduction_factor=1", "halving:reduction_factor=nan", "halving:reduction_factor=x", "halving:x=1")),
    ("rank", ("--by", "full:epochs=9", "--pruner", "halving", *NPZ), "rungs", ("0", "9", "x")),
    ("rank", NPZ, "by", (
        "", "fulll", "full:epochs=0", "full:epochs=1.5", "full:epochs=two", "full:epochs=true", "full:epoch=2",
        "full:lr=NaN", "full:lr=1e999", "full:lr=0", "full:momentum=2", "full:read=loss2", "full:steps=0",
        "full:batch_size=0", "full:precision=half", "full:image_size=0", "full:image_size=9999", "full:=",
        "full:epochs=[", "full:augment=7", "full:nesterov=1", "params:x=1", "flops:x", "naswot:batch_size=1",
        "naswot:batch_size=9999999", "naswot:batch_size=x", "naswot:batch=3", "nothing.safetensors",
        ".safetensors", "table:TABLE:nothing", "PROXY:epochs=0", "PROXY:x=1", "PROXYx", "params,flops",
    )),
    ("correlate", TABLES, "seed", ("-1", "9" * 400)),
    ("correlate", TABLES, "combination", ("", "logg")),
    ("correlate", TABLES, "combine", ("", "other", "other,other", "other,nothing", ",")),
    ("correlate", TABLES, "out", ("/proc/nowhere", "NPZ", "NPZ/x")),
    ("correlate", TABLES, "study", ("table:TABLE:other", "table:TABLE:none")),
    ("correlate", ("--truth", "params"), "study", ("flop", "", "flops@", "flops@nothing", "@", "params@loss")),
    ("calibrate", TABLES, "seed", ("-1", "9" * 400)),
    ("calibrate", TABLES[:2], "study", ("table:TABLE:none", "")),
    ("import", EVALUATED, "index", ("nan",)),
    ("import", EVALUATED, "out", ("p.npz", "/proc/nowhere/p.safetensors")),
    ("import", ("PROXY",), "data", ("cifar", "no.npz")),
    ("run", NPZ, "trials", ("0", "2", "x")),
    ("run", NPZ, "search", ("-1",)),
    ("run", NPZ, "confirm", ("0",)),
    ("run", NPZ, "seeds", ("0",)),
    ("run", NPZ, "seed", ("-1", "9" * 400)),
    ("run", NPZ, "ipc", ("0",)),
    ("run", NPZ, "steps", ("0",)),
    ("run", NPZ, "jobs", ("0", "99999999")),
    ("run", NPZ, "trial_timeout", ("0", "nan")),
    ("run", NPZ, "max_params", ("0", "nan")),
    ("run", NPZ, "max_flops", ("0", "nan")),
    ("run", NPZ, "method", ("", "dmm")),
    ("run", NPZ, "device", ("gpu",)),
    ("run", NPZ, "space", ("convnets", "")),
    ("run", NPZ, "out", ("/proc/nowhere", "NPZ")),
    ("run", NPZ, "proxy.epochs", ("0", "x")),
    ("run", NPZ, "full.lr", ("0", "nan")),
    ("run", NPZ, "full.nothing", ("1",)),
)  # fmt: skip
LINES = (
    ("rnak",), (), ("run", "--trails", "3"), ("run", "extra"), ("rank",), ("correlate", "--truth", "t"),
    ("calibrate",), ("evaluate",), ("import",), ("list",), ("list", "space"), ("list", ""), ("copy", "convnet"),
    ("copy", "convnets", "x.py"), ("copy", "convnet", ""), ("--",), ("-",), ("run", "--quiet=7"), ("run", "--data"),
    ("--version=1",), ("run", "--proxy", "{"), ("run", "--proxy", "[1]"), ("run", "--proxy.epochs"),
)  # fmt: skip


def options() -> Iterator[Case]:
    def chosen(given: tuple[str, ...], folder: Path, good: Good) -> Any:
        command, *words = (_filled(text, good) for text in given)
        if command not in ("rank", "correlate"):
            return [command, *words]
        path = Path(shutil.copy(good.storage, folder / "s.db"))
        return [command, *words, "--storage", f"sqlite:///{path}"]

    for command, given, option, values in OPTIONS:
        table = {_short(value): (command, *given, f"--{option}={value}") for value in values}
        prefix = f"{command} {' '.join(given[:2])}, {option}"
        yield from rows(prefix, chosen, all_refused(table, ""))
    lines = {repr(" ".join(words)): words for words in LINES}
    yield from rows("command", lambda words, folder, good: words, all_refused(lines, ""))


def _short(value: str) -> str:
    return value if len(value) < 40 else f"{len(value)} digits"


def _filled(text: str, good: Good) -> str:
    for name, path in (("NPZ", good.npz), ("PROXY", good.proxy), ("TABLE", good.table)):
        text = text.replace(name, str(path))
    return text
