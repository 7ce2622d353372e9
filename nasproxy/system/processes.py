"""Which process wrote something, and whether it is still there."""

import atexit
import contextlib
import hashlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

_LOOK = 0.5  # seconds between two looks


def end_with_parent(parent: int) -> None:
    """Let this process end soon after the one that started it, however that one ended.

    A driver that is killed can't end its workers, which would go on with what they have.

    Args:
        parent: its process id, which it may have left already.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def end_at_once(status: Callable[[], int] = lambda: 0) -> None:
    """Let this process end after what is registered with `atexit` from now on, and with a status.

    Python takes apart all that was imported when it ends: a second or two for torch and its
    friends, after each command, each Ctrl-C and in each worker. The system frees the same memory
    at once.
    """
    here = os.getpid()

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # whoever read it has gone
                stream.flush()
        if os.getpid() == here:  # and no copy of it, which ends as it likes
            os._exit(status())

    atexit.register(leave)  # what is registered first runs last


@contextlib.contextmanager
def hangups_held() -> Iterator[None]:
    """Let processes that start meanwhile outlive a terminal that closes.

    For helpers that end with the last process that uses them, such as what frees loky's semaphores,
    which heeds none of the other signals that end processes.
    """
    if not hasattr(signal, "SIGHUP"):  # not POSIX
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def this_process() -> str:
    """A name for this process that no other ever has: machine, process id and start."""
    return f"{_machine()}-{os.getpid()}-{_started(os.getpid())}"


def is_alive(name: str) -> bool | None:
    """Whether the process of a name is there; None if it is of another machine, or no such name."""
    parts = name.split("-")
    if len(parts) != 3 or parts[0] != _machine() or not parts[1].isdigit():
        return None
    return _started(int(parts[1])) == parts[2]


@cache
def _machine() -> str:
    """This host, since its start, and what processes it sees: where a process id means one thing.

    Containers may share a host's name, and have process ids of their own.
    """
    seen = [socket.gethostname()]
    with contextlib.suppress(OSError):  # not Linux
        seen.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        seen.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:12]


def _started(pid: int) -> str | None:
    """When a process started, in ticks since the machine did; None if it is gone.

    A process id is given again, but not with the same start. A killed process that its parent has
    not asked after yet still has one, and is gone nevertheless.
    """
    if not Path("/proc/self/stat").exists():  # not Linux: go by the id alone
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:  # another user's
            pass
        return "0"
    try:
        # the name, in parentheses, may hold anything; after it: state, parent, ...
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
