"""What several training-free scores need: a network made ready, its weights, their gradients."""

import contextlib
import copy
import functools
import itertools
import math
import random
from collections.abc import Callable, Iterable
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from nasproxy.errors import BrokenArchitecture
from nasproxy.spaces.network import (
    has_made_weights,
    logits_of,
    materialise,
    unfused,
    with_plain_weights,
)
from nasproxy.training.fast import laid_out, try_channels_last

WEIGHTED = (_ConvNd, nn.Linear)  # the layers that count; biases and norms don't, as published
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.RMSNorm)
_TABLES = (nn.Embedding, nn.EmbeddingBag)  # looked up, and nothing is multiplied by them
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU),
    *(nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.LogSigmoid, nn.Threshold),
)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_TRIED = 4  # images that a network is tried on for whether it draws at random
_ROUNDS = 4  # times that what draws is looked for: it may call others that do


def scores(score: Callable[_P, _T]) -> Callable[_P, _T]:
    """A score of a network that stays as it is: it is given a copy, made ready for it.

    The copy is in training mode (norms use the batch), but without what draws at random, such as
    dropout and stochastic depth, without layers in place, which change outputs that a score keeps,
    and with the weights that its layers multiply by, whatever makes them. Attention and recurrent
    layers run by the operations that they are made of. The images are a copy, too.
    """

    @functools.wraps(score)
    def scored(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        network, inputs, *rest = args
        assert isinstance(network, nn.Module) and isinstance(inputs, Tensor)
        images = inputs.detach().clone()
        with unfused(network), torch.enable_grad():
            ready = prepare(network, images)
            return score(*(ready, images, *rest), **kwargs)  # type: ignore[arg-type]

    return scored


def channels_last(network: nn.Module, inputs: Tensor) -> Tensor:
    """The inputs, laid out as the network is from now on: on a CPU it runs twice as fast.

    Weights are to be drawn before: random numbers are laid out as the tensors are.
    """
    if inputs.device.type != "cpu":
        return inputs
    return laid_out(inputs, try_channels_last(network, inputs[:_TRIED]))


def prepare(network: nn.Module, inputs: Tensor) -> nn.Module:
    """The copy that `scores` describes.

    Raises:
        BrokenArchitecture: the network draws at random whatever it is told.
    """
    network = materialise(network, tuple(inputs.shape[1:]))
    if has_made_weights(network):
        network = with_plain_weights(network)
    else:
        with contextlib.suppress(Exception):  # what can't be copied is used up
            network = copy.deepcopy(network)
    network.train()
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
        if getattr(module, "inplace", False) is True:
            setattr(module, "inplace", False)  # noqa: B010 - not every module has it
    _still(network, inputs[:_TRIED])
    return network


def _still(network: nn.Module, images: Tensor) -> None:
    """Switch to evaluation the modules that draw at random, and none else."""
    devices = [images.device] if images.device.type == "cuda" else []
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            for _ in range(_ROUNDS):
                drawing = _drawing(network, images)
                if not drawing:
                    break
                switched = [module for module in drawing if module.training]
                # its parts, norms among them, stay as they are, unless it goes by their mode
                for module in switched or _parts(drawing):
                    module.training = False
            if drawing and not _same([logits_of(network(images.clone())) for _ in range(3)]):
                name = type(drawing[0]).__name__
                raise BrokenArchitecture(
                    f"{name} draws at random, also in evaluation mode: a score would be of one draw"
                )
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _parts(modules: list[nn.Module]) -> list[nn.Module]:
    """All parts of modules but the norms."""
    return [p for m in modules for p in m.modules() if not isinstance(p, NORMS)]


def _drawing(network: nn.Module, images: Tensor) -> list[nn.Module]:
    """The innermost modules that draw from a generator as they run."""
    before = _generators(images.device)
    network(images.clone())
    if _generators(images.device) == before:
        return []
    found: list[nn.Module] = []
    running: list[tuple[nn.Module, Any, int]] = []  # those that are not done yet

    def begin(module: nn.Module, _: Any) -> None:
        running.append((module, _generators(images.device), len(found)))

    def end(module: nn.Module, _: Any, __: Any) -> None:
        _, before, inner = running.pop()
        if _generators(images.device) != before and len(found) == inner:
            found.append(module)

    hooks = [
        hook
        for module in network.modules()
        for hook in (module.register_forward_pre_hook(begin), module.register_forward_hook(end))
    ]
    network(images.clone())
    for hook in hooks:
        hook.remove()
    return found or [network]  # a tiny chance to draw may not have come


def _generators(device: torch.device) -> tuple[Any, ...]:
    """The state of every generator that a network may draw from."""
    cuda = torch.cuda.get_rng_state(device).numpy().tobytes() if device.type == "cuda" else b""
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    inner = numpy["state"]
    return (
        torch.get_rng_state().numpy().tobytes(),
        cuda,
        (inner["key"].tobytes(), inner["pos"]),
        random.getstate(),
    )


def _same(outputs: Iterable[Tensor]) -> bool:
    return all(
        torch.allclose(one, two, rtol=1e-4, atol=1e-5 * float(one.abs().max()), equal_nan=True)
        for one, two in itertools.pairwise(outputs)
    )


def module_weights(module: nn.Module) -> list[Tensor]:
    """What a module itself, its parts left out, multiplies by: matrices, real and trainable.

    Of modules that torch doesn't have these are parameters named as weights are; gains of norms
    and what is added, such as position embeddings, are none.
    """
    return [p for p in _matrices(module) if p.requires_grad]


def multiplies(module: nn.Module) -> bool:
    """Whether a module itself multiplies by a matrix, trainable or not."""
    return bool(_matrices(module))


def _matrices(module: nn.Module) -> list[Tensor]:
    if isinstance(module, (*NORMS, *_TABLES)):
        return []
    named = module.named_parameters(recurse=False)
    if isinstance(module, WEIGHTED):
        found = [p for name, p in named if name == "weight"]
    else:
        found = [p for name, p in named if "weight" in name and _is_matrix(p)]
    return [p for p in found if p.is_floating_point()]


def _is_matrix(parameter: Tensor) -> bool:
    return sum(size > 1 for size in parameter.shape) > 1


def weights(network: nn.Module) -> list[Tensor]:
    """What all layers multiply by, each once; see `module_weights`.

    Raises:
        BrokenArchitecture: there is nothing.
    """
    found = [weight for module in network.modules() for weight in module_weights(module)]
    if not found:
        raise BrokenArchitecture("no convolution and no linear layer to score")
    return list({id(weight): weight for weight in found}.values())


def weight_gradients(
    network: nn.Module, inputs: Tensor, labels: Tensor, create_graph: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """(weight, gradient of the mean cross-entropy) of every layer's weights.

    Weights that the loss doesn't depend on get zeros.
    """
    found = weights(network)
    loss = F.cross_entropy(logits_of(network(inputs.clone())), labels)
    gradients = torch.autograd.grad(
        loss, found, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return list(zip(found, gradients))


@torch.no_grad()
def kaiming_init(network: nn.Module, mode: Literal["fan_in", "fan_out"]) -> None:
    """Kaiming normal weights, biases 0, norms 1 and 0; draws from torch's global generator."""
    for module in network.modules():
        parameters = dict(module.named_parameters(recurse=False))
        matrices = module_weights(module)
        for weight in matrices:
            nn.init.kaiming_normal_(weight, mode=mode, nonlinearity="relu")
        if isinstance(module, NORMS) and "weight" in parameters:
            nn.init.ones_(parameters["weight"])
        if matrices or isinstance(module, (*WEIGHTED, *NORMS)):
            for name, parameter in parameters.items():
                if "bias" in name:
                    nn.init.zeros_(parameter)


def distinct(inputs: Tensor, name: str) -> Tensor:
    """The images without those that are there already: two alike make a kernel singular.

    Raises:
        BrokenArchitecture: fewer than two are left.
    """
    _, which = torch.unique(inputs.flatten(1), dim=0, return_inverse=True)
    seen: dict[int, int] = {}
    for index, image in enumerate(which.tolist()):
        seen.setdefault(image, index)
    if len(seen) < 2:
        raise BrokenArchitecture(f"{name}: all images are the same, the kernel is singular")
    if len(seen) == len(inputs):
        return inputs
    return inputs[torch.tensor(sorted(seen.values()), device=inputs.device)]


def finite(name: str, value: float) -> float:
    """The value itself.

    Raises:
        BrokenArchitecture: it is infinite or NaN.
    """
    if not math.isfinite(value):
        raise BrokenArchitecture(f"{name} is {value}")
    return value
