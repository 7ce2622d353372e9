"""AZ-NAS (Lee and Ham, CVPR 2024, "Assembling Zero-Cost Proxies for Network Architecture Search").

arXiv 2403.19232. Three of its four scores are here; the fourth, complexity, is the number of FLOPs.
All look at the features of the network's primary blocks for Gaussian noise in place of images, with
Kaiming normal weights (fan in). Noise, weights and the vectors of `trainability` **are drawn from
torch's global generator**: the caller seeds it.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture
from nasproxy.zerocost.shared import ACTIVATIONS, NORMS, WEIGHTED, finite, kaiming_init, prepare

_SAME_BLOCK = (
    *(*NORMS, *ACTIVATIONS, nn.MaxPool2d, nn.AvgPool2d, nn.Identity),
    *(nn.Dropout, nn.Dropout2d),
)


def expressivity(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Sum over blocks of the entropy of their features' principal components.

    Section 3, s^E. Higher is better. See `az_nas_components` for the arguments.

    Raises:
        BrokenArchitecture: the features vanish, or there is no block (see `feature_blocks`).
    """
    return finite("expressivity", _expressivity(_entropies(_features(network, inputs))))


def progressivity(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Least growth of that entropy from a block to the next.

    Section 3, s^P. Higher is better. See `az_nas_components` for the arguments.

    Raises:
        BrokenArchitecture: the features vanish, or there are fewer than two blocks.
    """
    return finite("progressivity", _progressivity(_entropies(_features(network, inputs))))


def trainability(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Mean over blocks of how near the spectral norm of their Jacobian is to 1.

    Section 3, s^T. 0 is the best. See `az_nas_components` for the arguments.

    Raises:
        BrokenArchitecture: a block is the identity, or there are fewer than two blocks.
    """
    return finite("trainability", _trainability(_features(network, inputs)))


def az_nas_components(network: nn.Module, inputs: Tensor, labels: Tensor) -> dict[str, float]:
    """The three scores from one forward pass, to be combined by rank; higher is better for all.

    As published, a score that isn't finite is -inf here and no error: it ranks lowest in its own
    component, and the others still count.

    Args:
        network: untrained; its weights are drawn anew.
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
    children are looked at in order, with containers (Sequential, ModuleList) opened:

    - a module made of others (a residual block, a cell) is a block;
    - a convolution or linear layer begins a block, which goes on through the norms, activations
      and poolings that follow it;
    - other layers (global pooling, flattening) belong to no block.

    So a plain ConvNet has a block per convolution, and a NAS-Bench-201 network, as published, the
    stem and every cell. Blocks with outputs other than (N, C, H, W), the classifier's, are left
    out when they run.
    """
    named = getattr(network, "feature_blocks", None)
    if named is not None:
        return list(named())  # type: ignore[operator]  # mypy takes it for a tensor
    ends: list[nn.Module] = []
    growing = False  # whether the last block takes in the layers that follow
    for unit in _units(network):
        if any(True for _ in unit.children()) or isinstance(unit, WEIGHTED):
            ends.append(unit)
            growing = isinstance(unit, WEIGHTED)
        elif growing and isinstance(unit, _SAME_BLOCK):
            ends[-1] = unit
        else:
            growing = False
    return ends


def _units(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from _units(child)
        else:
            yield child


def _features(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Features (N, C, H, W) of the blocks for noise, in the order in which they were computed."""
    kaiming_init(network, "fan_in")
    features: list[Tensor] = []

    def keep(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if isinstance(output, Tensor) and output.dim() == 4:
            # a block may give constant zeros; the next one still has a Jacobian there
            features.append(output if output.requires_grad else output.requires_grad_())
        return output

    for block in feature_blocks(network):
        block.register_forward_hook(keep)
    noise = torch.randn(inputs.shape).to(inputs.device)  # the same on every device
    prepare(network)(noise)
    if not features:
        raise BrokenArchitecture("AZ-NAS needs blocks with features (N, C, H, W); there are none")
    return features


@torch.no_grad()
def _entropies(features: list[Tensor]) -> list[float]:
    """Entropy in nats of the normalised spectrum of each covariance between channels."""
    found = []
    for feature in features:
        rows = feature.movedim(1, 3).flatten(0, 2)  # (NHW, C)
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


def _trainability(features: list[Tensor]) -> float:
    scores = [_keeps_scale(*pair) for pair in pairwise(features)]
    return sum(scores) / len(scores) if scores else -math.inf


def _keeps_scale(before: Tensor, after: Tensor) -> float:
    """2 - s - 1/s of the largest singular value s of a block's Jacobian; 0 where s is 1."""
    backward = torch.randint(0, 2, after.shape).to(after) * 2 - 1  # Rademacher
    (gradient,) = torch.autograd.grad(  # zeros where nothing connects them
        after, before, backward, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    if gradient.shape == backward.shape and torch.equal(gradient, backward):
        return -math.inf  # an identity learns nothing
    gradient = _same_size(gradient, after)
    left = gradient.movedim(1, 3).flatten(0, 2)  # (NHW, C before)
    right = backward.movedim(1, 3).flatten(0, 2)  # (NHW, C after)
    jacobian = left.T @ right / len(right)  # E[g_in g_out^T], an estimate
    if not torch.isfinite(jacobian).all():
        return -math.inf
    norm = torch.linalg.matrix_norm(jacobian, 2).item()
    return 2 - norm - 1 / (norm + 1e-6)


def _same_size(gradient: Tensor, after: Tensor) -> Tensor:
    """Pixels that a block's stride merges become channels; those beyond its edge are cut off.

    Raises:
        BrokenArchitecture: the block makes images larger or doesn't keep their proportions.
    """
    height, width = after.shape[2:]
    stride = gradient.shape[2] // height
    if stride < 1 or gradient.shape[3] // width != stride:
        sizes = f"{tuple(gradient.shape[2:])} to {tuple(after.shape[2:])}"
        raise BrokenArchitecture(f"trainability has no rule for a block from {sizes} pixels")
    top = (gradient.shape[2] - height * stride) // 2  # a convolution without padding loses both
    left = (gradient.shape[3] - width * stride) // 2  # edges, a pooling of odd sides the far one
    cut = gradient[:, :, top : top + height * stride, left : left + width * stride]
    return F.pixel_unshuffle(cut, stride)
