"""Gradient norm (Abdelfattah et al. 2021, "Zero-Cost Proxies for Lightweight NAS")."""

from torch import Tensor, nn

from nasproxy.estimators.zerocost.shared import finite, scores, weight_gradients


@scores
def grad_norm(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Sum over layers of the Euclidean norm of the loss's gradient after one minibatch.

    arXiv 2101.08134, section 3.2. Higher is better.

    Args:
        network: untrained; it stays as it is.
        inputs: (N, C, H, W) float32, normalised.
        labels: (N,) int64.

    Raises:
        BrokenArchitecture: the score is not finite.
    """
    pairs = weight_gradients(network, inputs, labels)
    norms = sum(gradient.norm().item() for _, gradient in pairs)  # sum_l ||dL/dW_l||_2
    return finite("grad_norm", norms)
