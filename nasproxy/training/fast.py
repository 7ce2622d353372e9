"""Networks made fast, computing the same: channels last, and without torch's slow spots.

Convolutions and poolings on a CPU are faster with the channels last, but some of torch's kernels
then walk through memory one number at a time or copy back and forth. What takes their place here
is two to seven times as fast (docs/LOG.md, 2026-11-21). On a GPU only the layout changes.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nasproxy.spaces.network import evaluating, logits_of, tensors
from nasproxy.training.precision import BFloat16Conv2d, bfloat16_kinds, kind_of

_SAME = 1e-2  # of the largest output: rounding is below, another computation above
_LARGE = 1024  # pixels from which torch's forward pass, unlike its backward pass, is fast


def make_fast(network: nn.Module, precision: str = "float32") -> nn.Module:
    """Bring a network, in place, into the form that it trains fastest in.

    On a CPU, `nn.InstanceNorm2d`, `nn.GroupNorm` of one channel a group, `nn.LayerNorm` over
    (C, H, W), and the 3x3 average pooling of cell spaces become subclasses of theirs here;
    parameters and their names stay.

    Args:
        network: on its device.
        precision: ``bfloat16`` computes convolutions with 8 bits of mantissa; weights, sums,
            norms and all else stay float32. ``auto`` does so where the hardware has it, grouped
            and depthwise ones only where it is clearly faster (`bfloat16_kinds`), and ``float32``
            never does.
    """
    _lay_out(network, torch.channels_last)
    first = next(network.parameters(), None)
    if first is None or first.device.type != "cpu":
        return network
    in_bfloat16 = bfloat16_kinds(precision)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and type(module) in (nn.Conv2d, BFloat16Conv2d):
            module.__class__ = BFloat16Conv2d if kind_of(module) in in_bfloat16 else nn.Conv2d
        elif type(module) is nn.GroupNorm and module.num_channels == module.num_groups:
            module.__class__ = _GroupNorm
        elif type(module) is nn.InstanceNorm2d and not module.track_running_stats:
            module.__class__ = _InstanceNorm
        elif type(module) is nn.AvgPool2d and _is_box(module):
            module.__class__ = _BoxPool
        elif type(module) is nn.LayerNorm and len(module.normalized_shape) == 3:
            module.__class__ = _LayerNorm
            for parameter in module.parameters():  # laid out as the images that they scale
                if parameter.dim() == 3:
                    data = parameter.data[None].contiguous(memory_format=torch.channels_last)
                    parameter.data = data[0]
    return network


def make_plain(network: nn.Module) -> nn.Module:
    """Undo `make_fast`, in place: torch's own layers and layout, and nothing in bfloat16."""
    for module in network.modules():
        if type(module) is _LayerNorm:
            for parameter in module.parameters():
                parameter.data = parameter.data.contiguous()
        module.__class__ = _PLAIN.get(type(module), type(module))
    _lay_out(network, torch.contiguous_format)
    return network


def try_fast(network: nn.Module, precision: str, inputs: Tensor) -> bool:
    """Make a network fast, in place, unless it would then fail or compute something else.

    Args:
        network: on its device.
        precision: see `make_fast`.
        inputs: a few normalised images (N, C, H, W).

    Returns:
        Whether it is fast; else it is as torch makes it.
    """
    make_plain(network)
    if not _computes_the_same(network, make_fast, inputs):
        make_plain(network)
        return False
    make_fast(network, precision)
    return True


def try_channels_last(network: nn.Module, inputs: Tensor) -> bool:
    """The layout alone of `try_fast`: all layers are torch's own, with second derivatives."""
    if _computes_the_same(network, lambda of: _lay_out(of, torch.channels_last), inputs):
        return True
    _lay_out(network, torch.contiguous_format)
    return False


@torch.no_grad()
def _computes_the_same(
    network: nn.Module, change: Callable[[nn.Module], object], inputs: Tensor
) -> bool:
    """Whether a network gives the same after a change as before, for images with channels last.

    `view` takes no activations whose channels are last, for one, and `as_strided` takes them for
    others.
    """
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    outputs = []
    with evaluating(network):
        for form in (torch.contiguous_format, torch.channels_last):
            if form is torch.channels_last:
                change(network)
            with torch.random.fork_rng(devices=devices):
                try:
                    images = inputs.clone(memory_format=form)
                    outputs.append(logits_of(network(images)).double())
                except Exception:  # if it is the network's own, it will be said where it trains
                    return False
    plain, fast = outputs
    scale = plain.abs().max().clamp(min=1e-30)
    return torch.allclose(plain / scale, fast / scale, rtol=0, atol=_SAME, equal_nan=True)


def laid_out(images: Tensor, is_fast: bool) -> Tensor:
    """Images (N, C, H, W) as `try_fast` has left the network that is given them."""
    if is_fast:
        return images.contiguous(memory_format=torch.channels_last)
    # one channel counts as laid out both ways: only a copy is sure to be in torch's own
    return images.clone(memory_format=torch.contiguous_format)


def _lay_out(network: nn.Module, form: torch.memory_format) -> None:
    """Lay out what is four-dimensional: torch's own `to` refuses networks with more."""
    for _, tensor in tensors(network):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=form)


class _GroupNorm(nn.GroupNorm):
    def forward(self, input: Tensor) -> Tensor:
        if not _takes(input) or input.shape[1] != self.num_channels:
            return super().forward(input)
        return _instance_norm(input, self.weight, self.bias, self.eps)


class _InstanceNorm(nn.InstanceNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        if not _takes(input) or input.shape[1] != self.num_features:
            return super().forward(input)
        return _instance_norm(input, self.weight, self.bias, self.eps)


class _LayerNorm(nn.LayerNorm):
    """The order of an image's numbers is nothing to a norm over all of them."""

    def forward(self, input: Tensor) -> Tensor:
        if not _takes(input) or tuple(input.shape[1:]) != tuple(self.normalized_shape):
            return super().forward(input)
        weight, bias = (
            None if p is None else p.permute(1, 2, 0).flatten() for p in (self.weight, self.bias)
        )
        numbers = _by_pixel(input).flatten(1)
        output = F.layer_norm(numbers, numbers.shape[1:], weight, bias, self.eps)
        pixels = output.unflatten(1, (*input.shape[2:], input.shape[1]))
        return pixels.permute(0, 3, 1, 2)


class _BoxPool(nn.AvgPool2d):
    """3x3 average of stride 1 that does not count the padding."""

    def forward(self, input: Tensor) -> Tensor:
        if not _takes(input):
            return super().forward(input)
        output: Tensor = _BoxPoolFunction.apply(input)
        return output


_PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    BFloat16Conv2d: nn.Conv2d,
    _GroupNorm: nn.GroupNorm,
    _InstanceNorm: nn.InstanceNorm2d,
    _LayerNorm: nn.LayerNorm,
    _BoxPool: nn.AvgPool2d,
}


def _is_box(pool: nn.AvgPool2d) -> bool:
    shape = pool.kernel_size, pool.stride, pool.padding
    others = pool.ceil_mode, pool.count_include_pad, pool.divisor_override
    return shape in ((3, 1, 1), ((3, 3), (1, 1), (1, 1))) and others == (False, False, None)


def _takes(input: Tensor) -> bool:
    """Whether an input is usual; of others, a single pixel for one, torch has its own opinion."""
    return (
        input.dim() == 4
        and input.dtype == torch.float32
        and len(input) > 0
        and input.shape[2] * input.shape[3] > 1
    )


def _instance_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    output: Tensor = _InstanceNormFunction.apply(input, weight, bias, eps)
    return output


class _InstanceNormFunction(torch.autograd.Function):
    """Instance norm (Ulyanov et al. 2016, arXiv 1607.08022, eq. 2) by sums over (N, H*W, C)."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        n, channels, height, width = input.shape
        pixels = _by_pixel(input)
        if height * width >= _LARGE:
            output, mean, rstd = torch.native_group_norm(
                input, weight, bias, n, channels, height * width, channels, eps
            )
            mean, rstd = mean[:, None], rstd[:, None]
        else:
            mean = pixels.mean(1, keepdim=True)
            centred = pixels - mean
            rstd = ((centred * centred).mean(1, keepdim=True) + eps).rsqrt()
            scale = rstd if weight is None else rstd * weight
            shift = torch.zeros_like(scale) if bias is None else bias
            output = _empty_like(input)
            torch.addcmul(shift, centred, scale, out=_by_pixel(output))
        ctx.save_for_backward(pixels, mean, rstd, weight)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        pixels, mean, rstd, weight = ctx.saved_tensors
        grad = _by_pixel(grad_output)
        normalised = (pixels - mean).mul_(rstd)
        sums = grad.sum(1, keepdim=True)
        products = (grad * normalised).sum(1, keepdim=True)
        grad_input = None
        if ctx.needs_input_grad[0]:
            # what would shift or scale all of a channel's pixels has no effect: it is taken out
            scale = rstd if weight is None else rstd * weight
            share = scale / pixels.shape[1]
            grad_input = _empty_like(grad_output)
            grad_pixels = _by_pixel(grad_input)
            torch.addcmul(-sums * share, grad, scale, out=grad_pixels)
            grad_pixels.addcmul_(normalised, products * share, value=-1)
        grad_weight = products.sum((0, 1)) if ctx.needs_input_grad[1] else None
        grad_bias = sums.sum((0, 1)) if ctx.needs_input_grad[2] else None
        return grad_input, grad_weight, grad_bias, None


class _BoxPoolFunction(torch.autograd.Function):
    """Sums of 3x3 pixels by rows, then by columns, over how many pixels there are."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        images = input.permute(0, 2, 3, 1)
        counts = _box_sums(torch.ones_like(images[:1, :, :, :1]))
        ctx.save_for_backward(counts)
        output = _empty_like(input)
        torch.div(_box_sums(images), counts, out=output.permute(0, 2, 3, 1))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (counts,) = ctx.saved_tensors
        return _box_sums(grad_output.permute(0, 2, 3, 1) / counts).permute(0, 3, 1, 2)


def _box_sums(images: Tensor) -> Tensor:
    """Sum of each pixel and its neighbours, up to eight, of images (N, H, W, C)."""
    for dim in (1, 2):
        sums, length = images.clone(), images.shape[dim] - 1
        sums.narrow(dim, 1, length).add_(images.narrow(dim, 0, length))
        sums.narrow(dim, 0, length).add_(images.narrow(dim, 1, length))
        images = sums
    return images


def _by_pixel(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H*W, C): a view when the channels are last."""
    return images.permute(0, 2, 3, 1).flatten(1, 2)


def _empty_like(images: Tensor) -> Tensor:
    """Memory for a result: a function's own, since views of it can't be changed in place."""
    return torch.empty_like(images, memory_format=torch.channels_last)
