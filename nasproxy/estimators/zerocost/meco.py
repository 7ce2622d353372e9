"""MeCo (Jiang et al. 2023, "Zero-Shot NAS via Minimum Eigenvalue of Correlation")."""

import torch
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture
from nasproxy.estimators.zerocost.features import Feature, run_features
from nasproxy.estimators.zerocost.shared import finite, scores

_IMAGES = 2  # of noise: a batch norm on features without pixels needs more than one


@scores
def meco(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Sum over layers of the smallest eigenvalue of the correlation between channels.

    NeurIPS 2023, section 4: sum_l lambda_min(P(f_l)), P the Pearson correlation (C, C) of the
    layer's channels over the pixels of one image, here the mean of two of Gaussian noise. Layers
    are what multiplies by a matrix, and activations; the published code hooks each module, so that
    a norm, which doesn't change a correlation, and each container count once more. A layer with a
    channel that is constant, or with as many channels as pixels, gives 0. **Draws from torch's
    global generator.** Higher is better.

    Args:
        network: untrained; it stays as it is.
        inputs: (N, C, H, W); only shape and device are used.
        labels: not used.

    Raises:
        BrokenArchitecture: no layer has fewer channels than pixels.
    """
    found: list[Tensor] = []

    def take(feature: Feature) -> None:
        if feature.tensor.dim() > 2:
            maps = feature.map(feature.tensor).flatten(2).double()  # (N, C, pixels)
            if len(maps) == _IMAGES and maps.shape[1] < maps.shape[2]:
                found.append(torch.stack([_smallest(one) for one in maps]).mean())

    noise = torch.randn(_IMAGES, *inputs.shape[1:]).to(inputs)  # the same on every device
    run_features(network, noise, take)
    if not found:
        raise BrokenArchitecture("meco: no layer has fewer channels than pixels")
    return finite("meco", torch.stack(found).sum().item())


def _smallest(channels: Tensor) -> Tensor:
    """lambda_min of the correlation of channels (C, pixels); 0 where it is none."""
    if len(channels) == 1:
        return channels.new_ones(())
    correlation = torch.corrcoef(channels)
    if not torch.isfinite(correlation).all():
        return channels.new_zeros(())
    return torch.linalg.eigvalsh(correlation)[0].clamp(min=0)  # rounding goes below 0
