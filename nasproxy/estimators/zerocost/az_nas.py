"""AZ-NAS (Lee and Ham, CVPR 2024, "Assembling Zero-Cost Proxies for Network Architecture Search").

arXiv 2403.19232. Three of its four scores are here; the fourth, complexity, is the number of FLOPs.
All look at the features of the network's primary blocks for Gaussian noise in place of images, with
Kaiming normal weights (fan in). Noise, weights and the vectors of `trainability` **are drawn from
torch's global generator**: the caller seeds it.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture
from nasproxy.estimators.zerocost.features import Feature, channel_axis
from nasproxy.estimators.zerocost.shared import (
    ACTIVATIONS,
    NORMS,
    channels_last,
    finite,
    kaiming_init,
    module_weights,
    scores,
)

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.TransformerEncoder, nn.TransformerDecoder)
_SAME_BLOCK = (
    *(*NORMS, *ACTIVATIONS, nn.MaxPool2d, nn.AvgPool2d, nn.Identity),
    *(nn.Dropout, nn.Dropout2d),
)


@scores
def expressivity(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Sum over blocks of the entropy of their features' principal components.

    Section 3, s^E. Higher is better. See `az_nas_components` for the arguments.

    Raises:
        BrokenArchitecture: the features vanish, or there is no block (see `feature_blocks`).
    """
    return finite("expressivity", _expressivity(_entropies(_features(network, inputs))))


@scores
def progressivity(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Least growth of that entropy from a block to the next.

    Section 3, s^P. Higher is better. See `az_nas_components` for the arguments.

    Raises:
        BrokenArchitecture: the features vanish, or there are fewer than two blocks.
    """
    features = _several("progressivity", _features(network, inputs))
    return finite("progressivity", _progressivity(_entropies(features)))


@scores
def trainability(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Mean over blocks of how near the spectral norm of their Jacobian is to 1.

    Section 3, s^T. 0 is the best. See `az_nas_components` for the arguments.

    Raises:
        BrokenArchitecture: a block is the identity, or there are fewer than two blocks.
    """
    return finite(
        "trainability", _trainability(_several("trainability", _features(network, inputs)))
    )


@scores
def az_nas_components(network: nn.Module, inputs: Tensor, labels: Tensor) -> dict[str, float]:
    """The three scores from one forward pass, to be combined by rank; higher is better for all.

    As published, a score that isn't finite is -inf here and no error: it ranks lowest in its own
    component, and the others still count.

    Args:
        network: untrained; it stays as it is, the weights of a copy are drawn anew.
        inputs: (N, C, H, W); only shape and device are used.
        labels: not used.

    Returns:
        `expressivity` (nats), `progressivity` (nats) and `trainability` (at most 0, but for the
        rounding), each a float or -inf.

    Raises:
        BrokenArchitecture: there is no block with features (N, C, H, W).
    """
    features = _features(network, inputs)
    entropies = _entropies(features)
    found = {
        "expressivity": _expressivity(entropies),
        "progressivity": _progressivity(entropies),
        "trainability": _trainability(features),
    }
    return {name: value if math.isfinite(value) else -math.inf for name, value in found.items()}


def feature_blocks(network: nn.Module) -> list[nn.Module]:
    """The modules whose outputs are the features of a network's primary blocks, stem first.

    A network may name them itself, with a method `feature_blocks() -> list[nn.Module]`. Else its
    children are looked at in order, with containers (Sequential, ModuleList, an encoder or another
    body that stacks blocks of one kind) opened:

    - a module made of others (a residual block, a cell) is a block;
    - a convolution or linear layer begins a block, which goes on through the norms, activations
      and poolings that follow it;
    - other layers (global pooling, flattening) belong to no block.

    So a plain ConvNet has a block per convolution, and a NAS-Bench-201 network, as published, the
    stem and every cell. Blocks with outputs other than maps (N, C, H, W), maps with the channels
    last, and tokens (N, L, C), the classifier's, are left out when they run.
    """
    named = getattr(network, "feature_blocks", None)
    if named is not None:
        return list(named())  # type: ignore[operator]  # mypy takes it for a tensor
    ends: list[nn.Module] = []
    growing = False  # whether the last block takes in the layers that follow
    for unit in _units(network):
        composed = any(True for _ in unit.children())
        if composed or module_weights(unit):
            ends.append(unit)
            growing = not composed
        elif growing and isinstance(unit, _SAME_BLOCK):
            ends[-1] = unit
        else:
            growing = False
    return ends


def _units(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, _CONTAINERS) or _is_stack(child, module):
            yield from _units(child)
        else:
            yield child


def _is_stack(child: nn.Module, parent: nn.Module) -> bool:
    """Whether a module is a body of its own: no other is of its kind, and it stacks blocks."""
    if sum(type(other) is type(child) for other in parent.children()) > 1:
        return False
    stacks = (part for part in child.children() if isinstance(part, nn.Sequential | nn.ModuleList))
    kinds = [
        [type(b) for b in stack if any(b.children()) and not isinstance(b, nn.Sequential)]
        for stack in stacks
    ]
    return any(len(kind) > 1 and len(set(kind)) == 1 for kind in kinds)


def _features(network: nn.Module, inputs: Tensor) -> list[Feature]:
    """Features of the blocks for noise, in the order in which they were computed."""
    kaiming_init(network, "fan_in")
    noise = torch.randn(inputs.shape).to(inputs.device)  # the same on every device
    noise = channels_last(network, noise)
    features: list[Feature] = []

    def keep(block: nn.Module, _: tuple[Tensor, ...], output: Any) -> Any:
        first, *rest = output if isinstance(output, tuple) and output else (output,)
        if not isinstance(first, Tensor) or first.dim() not in (3, 4):
            return output
        # a block may give constant zeros; the next one still has a Jacobian there
        first = first if first.requires_grad else first.detach().requires_grad_()
        features.append(Feature(first, channel_axis(block, first, len(inputs)), len(inputs)))
        kept = first.clone()  # what follows may write into it
        return (kept, *rest) if isinstance(output, tuple) else kept

    for block in feature_blocks(network):
        block.register_forward_hook(keep)
    network(noise)
    if not features:
        raise BrokenArchitecture(
            "AZ-NAS needs blocks with features (N, C, H, W) or (N, L, C); there are none"
        )
    return features


def _several(name: str, features: list[Feature]) -> list[Feature]:
    if len(features) < 2:
        raise BrokenArchitecture(f"{name} compares blocks: the network has only one")
    return features


@torch.no_grad()
def _entropies(features: list[Feature]) -> list[float]:
    """Entropy in nats of the normalised spectrum of each covariance between channels."""
    found = []
    for feature in features:
        rows = feature.map(feature.tensor).movedim(1, 3).flatten(0, 2)  # (NHW, C)
        centred = rows - rows.mean(0)
        covariance = centred.T @ centred / len(rows)
        if not torch.isfinite(covariance).all():
            found.append(math.nan)
            continue
        spectrum = torch.linalg.eigvalsh(covariance).clamp(min=0)  # rounding goes below 0
        share = spectrum / spectrum.sum()
        found.append(-(share * (share + 1e-8).log()).sum().item())  # H(p)
    return found


def _expressivity(entropies: list[float]) -> float:
    return sum(entropies)


def _progressivity(entropies: list[float]) -> float:
    growth = [after - before for before, after in pairwise(entropies)]
    if not growth or any(math.isnan(change) for change in growth):
        return -math.inf
    return min(growth)


def _trainability(features: list[Feature]) -> float:
    scores = [_keeps_scale(*pair) for pair in pairwise(features)]
    return sum(scores) / len(scores) if scores else -math.inf


def _keeps_scale(before: Feature, after: Feature) -> float:
    """2 - s - 1/s of the largest singular value s of a block's Jacobian; 0 where s is 1."""
    backward = torch.randint(0, 2, after.tensor.shape).to(after.tensor) * 2 - 1  # Rademacher
    (gradient,) = torch.autograd.grad(  # zeros where nothing connects them
        after.tensor,
        before.tensor,
        backward,
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    if gradient.shape == backward.shape and torch.equal(gradient, backward):
        return -math.inf  # an identity learns nothing
    gradient, backward = _same_size(before.map(gradient), after.map(backward))
    left = gradient.movedim(1, 3).flatten(0, 2)  # (NHW, C before)
    right = backward.movedim(1, 3).flatten(0, 2)  # (NHW, C after)
    jacobian = left.T @ right / len(right)  # E[g_in g_out^T], an estimate
    if not torch.isfinite(jacobian).all():
        return -math.inf
    norm = torch.linalg.matrix_norm(jacobian, 2).item()
    return 2 - norm - 1 / (norm + 1e-6)


def _same_size(gradient: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels that a block's stride merges become channels; those beyond its edge are cut off.

    Where one of them is a row of tokens both are, in the order of pixels; tokens of no pixel,
    a class token, come first and are cut off.

    Raises:
        BrokenArchitecture: the block makes images larger or doesn't keep their proportions.
    """
    if gradient.shape[3] == 1 or after.shape[3] == 1:
        gradient, after = (x.flatten(2)[..., None] for x in (gradient, after))
        tokens, pixels = after.shape[2], gradient.shape[2]
        merged = max(1, pixels // tokens)  # tokens of before in one of after
        some = min(tokens, pixels // merged)
        gradient = gradient[:, :, -some * merged :].unflatten(2, (some, merged))
        return gradient.movedim(3, 2).flatten(1, 2), after[:, :, -some:]
    height, width = after.shape[2:]
    stride = gradient.shape[2] // height
    if stride < 1 or gradient.shape[3] // width != stride:
        sizes = f"{tuple(gradient.shape[2:])} to {tuple(after.shape[2:])}"
        raise BrokenArchitecture(f"trainability has no rule for a block from {sizes} pixels")
    top = (gradient.shape[2] - height * stride) // 2  # a convolution without padding loses both
    left = (gradient.shape[3] - width * stride) // 2  # edges, a pooling of odd sides the far one
    cut = gradient[:, :, top : top + height * stride, left : left + width * stride]
    return F.pixel_unshuffle(cut, stride), after
