"""NASWOT (Mellor et al. 2021, "Neural Architecture Search without Training")."""

import torch
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture
from nasproxy.zerocost.shared import ACTIVATIONS, finite, prepare


@torch.no_grad()
def naswot(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Log-determinant of the kernel of activation patterns that images have in common.

    arXiv 2006.04647, section 3: an image's pattern is one bit a rectified linear unit, and
    two images' kernel is the number of bits that agree. The bit here is the sign of what goes
    *into* an activation module, which for a ReLU is whether it is on, and which is as well defined
    for sigmoid and any other. All activation modules that run count; functional ones aren't seen.
    Higher is better.

    Args:
        network: untrained; used up.
        inputs: (N, C, H, W) float32, normalised.
        labels: not used.

    Raises:
        BrokenArchitecture: there is no activation module, or images with the same pattern make
            the kernel singular.
    """
    size = len(inputs)
    kernel = torch.zeros(size, size, dtype=torch.float64, device=inputs.device)

    def compare(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        signs = torch.where(arguments[0].flatten(1) > 0, 1.0, -1.0)  # (N, units)
        # agreeing minus disagreeing units; agreeing plus disagreeing is all of them
        kernel.add_((signs @ signs.T + signs.shape[1]) / 2)  # K_H: N_A - d_H(c_i, c_j)

    for module in prepare(network).modules():
        if isinstance(module, ACTIVATIONS):
            module.register_forward_pre_hook(compare)
    network(inputs)
    if not kernel.any():
        raise BrokenArchitecture("naswot needs activation modules; the network runs none")
    sign, log_determinant = torch.linalg.slogdet(kernel)
    if sign <= 0:
        raise BrokenArchitecture("naswot: some images share their patterns, the kernel is singular")
    return finite("naswot", log_determinant.item())  # log |K_H|
