"""Gradient norm (Abdelfattah et al. 2021, "Zero-Cost Proxies for Lightweight NAS")."""

from torch import Tensor, nn

from nasproxy.zerocost.shared import finite, prepare, weight_gradients


def grad_norm(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Sum over layers of the Euclidean norm of the loss's gradient after one minibatch.

    arXiv 2101.08134, section 3.2. Higher is better.

    Args:
        network: untrained; used up.
        inputs: (N, C, H, W) float32, normalised.
        labels: (N,) int64.

    Raises:
        BrokenArchitecture: the score is not finite.
    """
    pairs = weight_gradients(prepare(network), inputs, labels)
    norms = sum(gradient.norm().item() for _, gradient in pairs)  # sum_l ||dL/dW_l||_2
    return finite("grad_norm", norms)
