"""How much memory there is, by the machine and by its control groups."""

from pathlib import Path

import pytest

from nasproxy.system import memory
from nasproxy.system.memory import available_memory, peak_memory

MEMINFO = "MemTotal: 9000 kB\nMemFree: 1 kB\nMemAvailable:    4000 kB\n"


def _group(folder: Path, names: tuple[str, str], most: str, used: int, stat: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{most}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(stat)


@pytest.mark.parametrize(
    ("line", "at", "names", "most", "stat", "expected"),
    [
        ("0::/", "", 2, "3000000", "anon 5\ninactive_file 500\n", 3_000_000 - 1000 + 500),
        ("0::/a/b", "a", 2, "2000000", "inactive_file 0\n", 2_000_000 - 1000),
        ("0::/a/b", "", 2, "2000000", "inactive_file 0\n", 2_000_000 - 1000),
        ("4:memory:/x", "memory", 1, "500", "inactive_file 9\ntotal_inactive_file 7\n", 0),
        ("4:memory:/x", "memory/x", 1, "5000", "total_inactive_file 7\n", 4007),
        ("0::/", "", 2, "max", "inactive_file 0\n", 4_096_000),
        ("4:cpu:/x", "cpu/x", 1, "5000", "total_inactive_file 7\n", 4_096_000),
        ("0::/../..", "..", 2, "5000", "inactive_file 0\n", 4_096_000),
    ],
)
def test_what_is_available(
    line: str, at: str, names: int, most: str, stat: str, expected: int, tmp_path: Path, monkeypatch
) -> None:
    root = tmp_path / "sys" / "groups"
    root.mkdir(parents=True)
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "own").write_text(f"1:cpuset:/\n{line}\n")
    limit, use, _ = memory._FILES[2 - names]
    _group(root / at, (limit, use), most, 1000, stat)
    for name, path in (("_MEMINFO", "meminfo"), ("_OWN_GROUPS", "own"), ("_GROUPS", "sys/groups")):
        monkeypatch.setattr(memory, name, tmp_path / path)
    assert available_memory() == expected


def test_where_nothing_says_so_it_is_unknown(tmp_path: Path, monkeypatch) -> None:
    for name in ("_MEMINFO", "_OWN_GROUPS", "_GROUPS"):
        monkeypatch.setattr(memory, name, tmp_path / "none")
    assert available_memory() is None


def test_of_this_machine() -> None:
    for found in (available_memory(), peak_memory()):
        assert found is None or 2**20 < found < 2**50
