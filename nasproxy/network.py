"""Trained networks on disk: weights with the description that rebuilds them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture, UserError
from nasproxy.files import read_described, write_atomically
from nasproxy.spaces import Space, load_space


def save_network(
    path: str | Path,
    network: nn.Module,
    space: Space,
    params: dict[str, Any],
    input_shape: tuple[int, int, int],
    num_classes: int,
    **description: Any,
) -> None:
    """Write weights and buffers to a ``.safetensors`` file, with what `load_network` needs.

    Args:
        description: more JSON values to keep, such as ``mean`` and ``std``.
    """
    about = {
        "space": space.locator,
        "space_sha256": space.sha256,
        "params": params,
        "input_shape": list(input_shape),
        "num_classes": num_classes,
        **description,
    }
    # cloned, because the format refuses tensors that share memory
    state = {k: v.detach().cpu().clone().contiguous() for k, v in network.state_dict().items()}
    metadata = {"nasproxy": json.dumps(about, sort_keys=True)}
    write_atomically(Path(path), lambda temporary: save_file(state, temporary, metadata))


def describe_network(path: str | Path) -> dict[str, Any]:
    """What a file of `save_network` says of its network.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    about, state = read_described(path)
    if not isinstance(about, dict) or "params" not in about or "space" not in about:
        raise UserError(f"{path}: not a trained network of nasproxy")
    for key, kind in (("space", str), ("params", dict), ("input_shape", list)):
        if not isinstance(about.get(key), kind):
            raise UserError(f"{path}: expected {kind.__name__} as {key}, got {about.get(key)!r}")
    numbers = [*about["input_shape"], about.get("num_classes")]
    if len(numbers) != 4 or not all(type(n) is int and n > 0 for n in numbers):
        raise UserError(
            f"{path}: expected input_shape [C, H, W] and num_classes, numbers above 0, "
            f"got {about['input_shape']} and {about.get('num_classes')!r}"
        )
    return about, state


def load_network(path: str | Path, space: Space | None = None) -> nn.Module:
    """Rebuild a trained network, in evaluation mode, on the CPU.

    Its input is normalised: ``(pixels / 255 - mean) / std`` with `describe_network`'s values.

    Args:
        path: a file of `save_network`, such as ``runs/digits/best.safetensors``.
        space: instead of the one named in the file, also one that has changed since. Loading a
            space runs its code.

    Raises:
        UserError: the file or its space is missing or has changed.
    """
    about, state = _read(Path(path))
    if space is None:
        space = load_space(about["space"])
        if space.sha256 != about.get("space_sha256"):
            raise UserError(
                f"{path}: search space {space.name} has changed since (was "
                f"{about.get('space_sha256')}, is {space.sha256}); give space= to load it all "
                "the same"
            )
    channels, height, width = about["input_shape"]
    with torch.random.fork_rng(devices=[]):
        try:
            network = space.build(about["params"], (channels, height, width), about["num_classes"])
        except (UserError, BrokenArchitecture) as error:
            raise UserError(f"{path}: {error}") from None
    try:
        network.load_state_dict(state)
    except RuntimeError:
        raise UserError(
            f"{path}: the weights do not fit a network of search space {space.name}"
        ) from None
    return network.eval()
