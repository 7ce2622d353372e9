"""How much memory there is, and how much of it a process took."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_FILES = (  # limit, use, and what of that is files that may be dropped: control groups 2 and 1
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory() -> int | None:
    """Bytes that new processes may take, by this machine and its containers; None if unknown."""
    found = [*_of_groups()]
    with contextlib.suppress(OSError, ValueError, IndexError):
        (line,) = (x for x in _MEMINFO.read_text().splitlines() if x.startswith("MemAvailable:"))
        found.append(1024 * int(line.split()[1]))
    return min(found, default=None)


def _of_groups() -> Iterator[int]:
    """What each limited control group that this process is in has left."""
    with contextlib.suppress(OSError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                root = _GROUPS / controllers
                own = root / path.strip("/")
                if ".." in own.parts:  # above what this container sees
                    own = root
                for folder in (own, *own.parents):  # those that this container does not see
                    if folder == root or root in folder.parents:
                        yield from _left_in(folder)


def _left_in(folder: Path) -> Iterator[int]:
    for limit, use, files in _FILES:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            most, used = (int((folder / name).read_text()) for name in (limit, use))
            stat = (folder / "memory.stat").read_text().split()
            yield max(0, most - used + int(stat[stat.index(files) + 1]))


def peak_memory() -> int | None:
    """Bytes of the largest resident memory of this process so far; None if unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
