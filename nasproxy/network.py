"""Trained networks on disk: weights with the description that rebuilds them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from nasproxy.errors import UserError
from nasproxy.files import write_atomically
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
    if not Path(path).is_file():
        raise UserError(f"no such file: {path}")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("nasproxy", "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable .safetensors file ({error})") from None
    if not isinstance(about, dict) or "params" not in about or "space" not in about:
        raise UserError(f"{path}: not a trained network of nasproxy")
    return about


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
    about = describe_network(path)
    if space is None:
        space = load_space(about["space"])
        if space.sha256 != about["space_sha256"]:
            raise UserError(
                f"{path}: search space {space.name} has changed since (was "
                f"{about['space_sha256']}, is {space.sha256}); give space= to load it all the same"
            )
    channels, height, width = about["input_shape"]
    with torch.random.fork_rng(devices=[]):
        network = space.build(about["params"], (channels, height, width), about["num_classes"])
    with safe_open(path, "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    try:
        network.load_state_dict(state)
    except RuntimeError:
        raise UserError(
            f"{path}: the weights do not fit a network of search space {space.name}"
        ) from None
    return network.eval()
