"""Tensors in files, read without running what may lie there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from nasproxy.errors import UserError

_NUMPY = ("numpy.core", "numpy._core")
_NUMBERS: list[Any] = [  # numpy's, as accuracies are that are saved with tensors
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")),
    *((np.float64(0).__reduce__()[0], f"{m}.multiarray.scalar") for m in _NUMPY),
]


def read_tensors(path: Path) -> Any:
    """What `torch.save` put into a file: tensors, numbers, text, lists and dicts of them.

    Raises:
        UserError: the file is missing or damaged, or holds more: objects are code.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, pickle and zipfile each have their own
        why = str(error).partition(". ")[0]
        raise UserError(f"{path}: not a readable file of plain tensors ({why})") from None


def read_described(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """The JSON value that a ``.safetensors`` file of ours carries, None if none, and its tensors.

    Raises:
        UserError: the file is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("nasproxy", "null"))
            return about, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors, torch and json each have their own
        raise UserError(f"{path}: not a readable .safetensors file ({error})") from None
