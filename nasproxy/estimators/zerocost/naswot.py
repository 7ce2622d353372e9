"""NASWOT (Mellor et al. 2021, "Neural Architecture Search without Training")."""

import torch
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture
from nasproxy.estimators.zerocost.activations import run_patterns
from nasproxy.estimators.zerocost.shared import channels_last, distinct, finite, scores

_EXACT = 2**24  # units up to which float32 counts each


@scores
@torch.no_grad()
def naswot(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Log-determinant of the kernel of activation patterns that images have in common.

    arXiv 2006.04647, section 3: an image's pattern is one bit a rectified linear unit, and
    two images' kernel is the number of bits that agree. The bit here is the sign of what goes
    *into* an activation, which for a ReLU is whether it is on, and which is as well defined for
    sigmoid and any other. All activations that run count, modules and functions, gates of recurrent
    layers among them. An image that is there twice counts once. Higher is better.

    Args:
        network: untrained; it stays as it is.
        inputs: (N, C, H, W) float32, normalised.
        labels: not used.

    Raises:
        BrokenArchitecture: there is no activation, or images with the same pattern, or fewer units
            than images, make the kernel singular.
    """
    inputs = distinct(inputs, "naswot")
    kernel = _Kernel(len(inputs))
    run_patterns(network, channels_last(network, inputs), kernel.compare)
    if not kernel.units:
        raise BrokenArchitecture("naswot needs activations; the network runs none")
    agreeing = kernel.agreeing
    # two images with the same pattern, or fewer units than images: known before any rounding
    alike = (agreeing.fill_diagonal_(0) >= kernel.units).any()
    agreeing.fill_diagonal_(kernel.units)
    spectrum = torch.linalg.eigvalsh(agreeing)
    if alike or spectrum[0] <= len(spectrum) * torch.finfo(spectrum.dtype).eps * spectrum[-1]:
        raise BrokenArchitecture("naswot: some images share their patterns, the kernel is singular")
    return finite("naswot", torch.linalg.slogdet(agreeing)[1].item())  # log |K_H|


class _Kernel:
    """Counts on how many bits images agree.

    Attributes:
        agreeing: (N, N) float64, K_H.
        units: how many bits an image has.
    """

    def __init__(self, size: int) -> None:
        self.agreeing = torch.zeros(size, size, dtype=torch.float64)
        self.units = 0

    def compare(self, positive: Tensor) -> None:
        units = positive.shape[1]
        dtype = torch.float32 if units < _EXACT else torch.float64
        signs = torch.where(positive, 1.0, -1.0).to(dtype)  # (N, units)
        # agreeing minus disagreeing units; agreeing plus disagreeing is all of them
        self.agreeing += ((signs @ signs.T + units) / 2).cpu()  # K_H: N_A - d_H(c_i, c_j)
        self.units += units
