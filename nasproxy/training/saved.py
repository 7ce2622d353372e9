"""Trained networks on disk: weights with the description that rebuilds them."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture, UserError
from nasproxy.spaces.copies import keep_copy, load_copy
from nasproxy.spaces.same import digests_of, is_same_space
from nasproxy.spaces.space import Space, load_space
from nasproxy.system.files import write_atomically
from nasproxy.system.tensors import read_described
from nasproxy.training.predicting import Inputs, inputs_of
from nasproxy.training.trained import TrainedNetwork, as_trained


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

    The space's own file, and those of its author that it imports, are copied into a folder beside
    it, whose name has the space's digest.

    Args:
        input_shape: (C, H, W) of the images that the network sees.
        description: more JSON values to keep. `TrainedNetwork.predict` asks for ``mean`` and
            ``std``, one a channel on the scale [0, 1], and takes ``class_names`` and
            ``image_shape``, [C, H, W] of the data set's images if the network sees smaller ones.
    """
    about = {
        "space": space.locator,
        **digests_of(space),
        "space_copy": keep_copy(space, Path(path).parent),
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


def load_network(path: str | Path, space: Space | None = None) -> TrainedNetwork:
    """Rebuild a trained network, in evaluation mode, on the CPU.

    It is the space's own module, and has `predict`, which takes pictures as they are:
    ``load_network(path).predict(["cat.jpg"]).labels``. Called by itself, its input is normalised:
    ``(pixels / 255 - mean) / std`` with `describe_network`'s values. A network that has a method
    `predict` of its own keeps that one.

    Args:
        path: a file of `save_network`, such as ``runs/digits-convnet_small/best.safetensors``.
        space: instead of the copy beside the file, or else the one named in it; also one that has
            changed since. Loading a space runs its code.

    Raises:
        UserError: the file or its space is missing or has changed.
    """
    about, state = _read(Path(path))
    network = _rebuilt(Path(path), about, state, space or _space(Path(path), about))
    return cast(TrainedNetwork, as_trained(network, Path(path), about))


def load_with_inputs(path: Path) -> tuple[nn.Module, Inputs]:
    """A trained network, and how pictures become what it sees.

    Raises:
        UserError: as `load_network`, and where the file doesn't say how images were normalised.
    """
    network = load_network(path)
    return network, inputs_of(path, describe_network(path))


def _space(path: Path, about: dict[str, Any]) -> Space:
    """The space of a network: the copy beside it, else the one that its file names.

    Raises:
        UserError: neither is there as it was.
    """
    copied = load_copy(path.parent, about.get("space_copy"), about["space"])
    if copied is not None:
        return copied
    space = load_space(about["space"])
    if not is_same_space(about, digests_of(space)):
        raise UserError(
            f"{path}: search space {space.name} has changed since (was "
            f"{about.get('space_sha256')}, is {space.sha256}); give space= to load it all "
            "the same"
        )
    return space


def _rebuilt(
    path: Path, about: dict[str, Any], state: dict[str, Tensor], space: Space
) -> nn.Module:
    """The network with its weights.

    Raises:
        UserError: the space doesn't build it, or the weights are of another.
    """
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
