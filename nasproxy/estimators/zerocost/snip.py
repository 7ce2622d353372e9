"""SNIP (Lee et al. 2019, "Single-shot Network Pruning based on Connection Sensitivity")."""

from torch import Tensor, nn

from nasproxy.estimators.zerocost.shared import finite, scores, weight_gradients


@scores
def snip(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Sum over weights of the change in loss, to first order, when the weight is removed.

    arXiv 1810.02340, section 4.1 (before it is normalised); as a score of networks arXiv
    2101.08134, section 3.2. Higher is better.

    Args:
        network: untrained; it stays as it is.
        inputs: (N, C, H, W) float32, normalised.
        labels: (N,) int64.

    Raises:
        BrokenArchitecture: the score is not finite.
    """
    pairs = weight_gradients(network, inputs, labels)
    saliency = sum((weight * gradient).abs().sum().item() for weight, gradient in pairs)
    return finite("snip", saliency)  # sum |dL/dw w|
