"""What networks of a space may be: lazy, with several outputs, with weights made of others."""

import contextlib
import copy
import itertools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from nasproxy.errors import BrokenArchitecture
from nasproxy.system.progress import say_once

_MAIN = ("out", "logits")  # names of the output that counts, of several


def logits_of(output: Any) -> Tensor:
    """The one output that counts: that named ``out`` or ``logits``, else the first; said once.

    Networks with auxiliary heads give several while they train (GoogLeNet, segmentation).

    Raises:
        BrokenArchitecture: there is no tensor among them.
    """
    if isinstance(output, Tensor):
        return output
    kind, name = type(output).__name__, "first"
    if isinstance(output, Mapping):
        name = next((n for n in _MAIN if n in output), next(iter(output), ""))
        output = output.get(name)
    elif named := [n for n in _MAIN if isinstance(getattr(output, n, None), Tensor)]:
        name, output = named[0], getattr(output, named[0])
    elif isinstance(output, list | tuple) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise BrokenArchitecture(f"expected logits, or several outputs with them, got {kind}")
    say_once(f"a network gives several outputs ({kind}): the {name} one is taken for the logits")
    return output


def tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, each once, by name; lazy ones that never ran are left out."""
    named = itertools.chain(network.named_parameters(), network.named_buffers())
    return ((name, tensor) for name, tensor in named if not is_lazy(tensor))


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode in the block; each module gets its own mode back after it."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def dummy_images(network: nn.Module, input_shape: tuple[int, ...], count: int) -> Tensor:
    """Grey images (count, C, H, W) of the type and on the device of a network's weights."""
    first = next((t for _, t in tensors(network) if t.is_floating_point()), None)
    if first is None:
        first = next(network.parameters(), torch.empty(0))
    dtype = first.dtype if first.is_floating_point() else torch.get_default_dtype()
    return torch.zeros(count, *input_shape, dtype=dtype, device=first.device)


@torch.no_grad()
def materialise(network: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """Give lazy modules their shapes, in place, by a pass of two images (C, H, W).

    Parts that only run in training get theirs by another, and those that never run stay lazy.
    Running statistics are as if there had been no pass.
    """
    if not _is_lazy(network):
        return network
    lazy = [module for module in network.modules() if isinstance(module, LazyModuleMixin)]
    with evaluating(network):
        network(dummy_images(network, input_shape, 2))
        if _is_lazy(network):
            before = {name: buffer.clone() for name, buffer in network.named_buffers()
                      if not is_lazy(buffer)}  # fmt: skip
            network.train()
            network(dummy_images(network, input_shape, 2))
            for name, buffer in network.named_buffers():
                if name in before:
                    buffer.copy_(before[name])
    for module in lazy:
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.reset_running_stats()
    return network


def _is_lazy(network: nn.Module) -> bool:
    return any(map(is_lazy, itertools.chain(network.parameters(), network.buffers())))


def with_plain_weights(network: nn.Module) -> nn.Module:
    """A copy whose weights are what its layers multiply by, and not what they are made of.

    Weight norm, spectral norm and whatever else `torch.nn.utils.parametrize` or the older hooks
    compute are replaced by their present values.
    """
    for module, hook in _hooks(network):  # computed anew before it is used; a graph can't be copied
        setattr(module, hook.name, getattr(module, hook.name).detach())
    network = copy.deepcopy(network)
    with torch.no_grad(), evaluating(network):
        for module, hook in _hooks(network):
            remove = remove_weight_norm if isinstance(hook, WeightNorm) else remove_spectral_norm
            remove(module, hook.name)
        for module in list(network.modules()):
            if parametrize.is_parametrized(module):
                _bake(module)
    return network


def _bake(module: nn.Module) -> None:
    """Replace what is parametrised by its values.

    torch's own `remove_parametrizations` changes the class, which the module that was copied has.
    """
    parts = module.parametrizations
    assert isinstance(parts, nn.ModuleDict)
    values = {
        name: nn.Parameter(
            getattr(module, name).detach().clone(),
            requires_grad=any(p.requires_grad for p in part.parameters()),
        )
        for name, part in parts.items()
    }
    del module.parametrizations
    module.__class__ = parametrize.type_before_parametrizations(module)
    for name, value in values.items():
        module.register_parameter(name, value)


def has_made_weights(network: nn.Module) -> bool:
    """Whether some weights are computed from others before each use."""
    return bool(_hooks(network)) or any(map(parametrize.is_parametrized, network.modules()))


def _hooks(network: nn.Module) -> list[tuple[nn.Module, Any]]:
    """Modules with an older hook that makes a weight."""
    return [
        (module, hook)
        for module in network.modules()
        for hook in module._forward_pre_hooks.values()
        if isinstance(hook, WeightNorm | SpectralNorm)
    ]


@contextlib.contextmanager
def unfused(network: nn.Module) -> Iterator[None]:
    """Let attention and recurrent layers run by the operations that they are made of.

    Their fused kernels hide what they compute, differ by device, and have no second derivative.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    with contextlib.ExitStack() as stack:
        stack.enter_context(nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH))
        if any(isinstance(module, nn.RNNBase) for module in network.modules()):
            stack.enter_context(_without_mkldnn())
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        yield


@contextlib.contextmanager
def _without_mkldnn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a setting for other processors
        with torch.backends.mkldnn.flags(enabled=False):
            yield
