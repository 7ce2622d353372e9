"""What a method has done so far, on disk, so that a killed process costs seconds."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nasproxy.system.files import write_atomically

EVERY = 10.0  # seconds between two states that are written


def checkpoint_beside(path: Path) -> Path:
    """Where the state of the proxy set that will be `path` is kept."""
    return path.with_name(f".{path.stem}.partial.safetensors")


class Checkpoint:
    """The state of one making of a proxy set, in a file that `done` removes.

    Args:
        path: of the file; None keeps nothing.
        identity: what must be the same for a state to be of use; another's is ignored.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any]) -> None:
        self._path = path
        self._identity = json.dumps(identity, sort_keys=True)
        self._started = self._written = time.monotonic()
        self.seconds = 0.0  # spent by earlier processes

    def load(self) -> dict[str, Tensor] | None:
        """The tensors of the last state; None if there is none, or it is of something else."""
        if self._path is None or not self._path.is_file():
            return None
        try:
            with safe_open(self._path, "pt") as file:
                found = json.loads((file.metadata() or {}).get("nasproxy", "null"))
                if not isinstance(found, dict) or found.get("identity") != self._identity:
                    return None
                self.seconds = float(found["seconds"])
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, KeyError):
            return None  # it begins again: no worse than without

    def save(self, state: Callable[[], Mapping[str, Tensor]]) -> None:
        """Write a state, unless one has been written less than `EVERY` seconds ago."""
        now = time.monotonic()
        if self._path is None or now - self._written < EVERY:
            return
        self._written = now
        spent = self.seconds + now - self._started
        metadata = {"nasproxy": json.dumps({"identity": self._identity, "seconds": spent})}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state().items()}
        write_atomically(self._path, lambda temporary: save_file(tensors, temporary, metadata))

    def done(self) -> None:
        """Remove the file: the set itself has been written."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
