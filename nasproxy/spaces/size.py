"""What a network costs before it is trained: parameters and multiply-accumulates."""

import contextlib
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, shape_wrapper

from nasproxy.errors import BrokenArchitecture
from nasproxy.spaces.network import (
    dummy_images,
    evaluating,
    has_made_weights,
    materialise,
    unfused,
    with_plain_weights,
)
from nasproxy.system.machine import contained, seeded


def count_params(network: nn.Module, input_shape: tuple[int, int, int] | None = None) -> int:
    """Number of trainable and frozen parameters.

    Args:
        network: what to count.
        input_shape: (C, H, W), to give lazy modules their shapes; those that never run have none.

    Raises:
        BrokenArchitecture: there are lazy modules and no shape is given.
    """
    if input_shape is not None:
        materialise(network, input_shape)
    elif any(map(is_lazy, network.parameters())):
        raise BrokenArchitecture("lazy modules have no parameters before the first images")
    return sum(p.numel() for p in network.parameters() if not is_lazy(p))


def params_without_weights(
    build: Callable[[], nn.Module], input_shape: tuple[int, int, int], seed: int
) -> int:
    """Parameters of the network that `build` makes, which get no memory; 0 where it fails.

    What it computes would have to be run, and might never come back.
    """
    try:
        with contained(), seeded(seed), torch.device("meta"):
            return count_params(build(), input_shape)
    except Exception:  # what is wrong will be said when it is scored
        return 0


def count_flops(network: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates of convolutions and matrix products for one image (C, H, W).

    The field's papers call this FLOPs (NAS-Bench-201 does); norms, activations, pooling and
    biases are left out, and what weights are made of, as by weight norm. Attention and recurrent
    layers count by the products that they are made of: the same on every device, `meta` too.

    Raises:
        BrokenArchitecture: an operation has no formula; it is named.
    """
    network = materialise(network, input_shape)
    if has_made_weights(network):
        network = with_plain_weights(network)
    with torch.no_grad(), evaluating(network), unfused(network), _Counter() as counter:
        network(dummy_images(network, input_shape, 1))
    return counter.flops // 2  # the formulas count a multiply-accumulate as two


Shape = Sequence[int]


def _trilinear(one: Shape, weight: Shape, two: Shape, *_: Any, **__: Any) -> int:
    """Of `nn.Bilinear`, which gives (N, 1, in) (1, out, in1, in2) (N, 1, in) shapes."""
    return 2 * one[0] * _product(weight)


def _deformable(inputs: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    return 2 * out_shape[0] * _product(out_shape[2:]) * _product(weight)


def _vectors(one: Shape, *_: Any, **__: Any) -> int:
    return 2 * _product(one)


def _matrix_vector(total: Shape, matrix: Shape, *_: Any, **__: Any) -> int:
    return 2 * _product(matrix)


def _distances(one: Shape, two: Shape, *_: Any, **__: Any) -> int:
    return 2 * _product(one) * two[-2]


def _summed_products(total: Shape, one: Shape, two: Shape, *_: Any, **__: Any) -> int:
    return 2 * _product(one) * two[-1]


def _product(shape: Shape) -> int:
    return torch.Size(shape).numel()


_ATEN = torch.ops.aten
_FORMULAS: dict[Any, Callable[..., int]] = {  # beside torch's own, twice the multiply-accumulates
    _ATEN._trilinear: _trilinear,
    _ATEN.dot: _vectors,
    _ATEN.vdot: _vectors,
    _ATEN.mv: _vectors,
    _ATEN.addmv: _matrix_vector,
    _ATEN.addbmm: _summed_products,
    _ATEN._addmm_activation: _summed_products,
    _ATEN._int_mm: lambda one, two, **_: 2 * _product(one) * two[-1],
    _ATEN._cdist_forward: _distances,
    _ATEN._euclidean_dist: _distances,
}


def _formulas() -> dict[Any, Callable[..., int]]:
    """All that are known: torchvision's operations are there once a network has imported it."""
    with contextlib.suppress(AttributeError):
        _FORMULAS[torch.ops.torchvision.deform_conv2d] = _deformable
    ours = {packet: shape_wrapper(formula) for packet, formula in _FORMULAS.items()}
    return {**flop_registry, **ours}


_PRODUCTS = re.compile(  # operations of torch that multiply and add, whether we know them or not
    r"mm$|mm_|_mm|mv$|dot$|matmul|conv(?!ert)|rnn|lstm|gru|attention|(?<!bi)(?<!tri)linear$|"
    r"multi_head|transformer|trilinear$|_fft_|_dist|dist_forward|cholesky|inverse$|"
    r"linalg_(?!vector_norm|cross|diagonal|check)|lu_solve|qr$|triangular_solve|matrix_exp"
)
_POINTWISE = re.compile(r"_thnn_fused_|upsample|gamma|cudnn_rnn_flatten|check_errors")
_FREE = ("prim", "prims", "torchvision", "profiler", "rngprims", "inductor", "c10d")


class _Counter(TorchDispatchMode):
    """Counts by torch's formulas and ours, as `torch.utils.flop_counter` does, in half of its time.

    It keeps no account of modules. Operations that multiply and add, and have no formula, are
    refused.

    Attributes:
        flops: so far.
    """

    supports_higher_order_operators = True  # which it refuses by name

    def __init__(self) -> None:
        super().__init__()
        self.flops, self._formulas = 0, _formulas()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "overloadpacket", func)
        if hasattr(func, "decompose") and func is not torch.ops.prim.device.default:
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        formula = self._formulas.get(packet)
        if formula is None and not _has_none(func, packet):
            raise BrokenArchitecture(f"FLOPs: there is no formula for the operation {func}")
        out = func(*args, **kwargs)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=out))
        return out


@functools.cache
def _has_none(func: Any, packet: Any) -> bool:
    """Whether an operation without a formula has no FLOPs by definition."""
    namespace, name = getattr(func, "namespace", "aten"), getattr(packet, "__name__", str(func))
    if namespace != "aten":
        return namespace in _FREE
    return bool(_POINTWISE.search(name)) or not _PRODUCTS.search(name)
