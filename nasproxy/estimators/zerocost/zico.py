"""ZiCo (Li et al. 2023, "Zero-shot NAS via Inverse Coefficient of Variation on Gradients")."""

import math

import torch
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture, UserError
from nasproxy.estimators.zerocost.shared import finite, scores, weight_gradients


@scores
def zico(network: nn.Module, inputs: Tensor, labels: Tensor, chunks: int = 2) -> float:
    """Sum over layers of the log of the gradients' absolute mean over their standard deviation.

    arXiv 2301.11300, section 3: sum_l log sum_w E|g_w| / sd(g_w) over `chunks` parts of the
    minibatch. As in the authors' code the deviation is the signed gradient's, and weights whose
    gradient doesn't vary, and layers without any that does, are left out. Unlike there, each part
    has its own gradient, as the paper says: the code doesn't clear them between batches, so that
    its second is the sum of both. Higher is better.

    Args:
        network: untrained; it stays as it is.
        inputs: (N, C, H, W) float32, normalised; N at least `chunks`.
        labels: (N,) int64.
        chunks: parts of the minibatch, 2 or more.

    Raises:
        UserError: there are fewer images than parts, or fewer than two parts.
        BrokenArchitecture: no gradient varies, or the score is not finite.
    """
    if not 2 <= chunks <= len(inputs):
        raise UserError(f"expected from 2 to {len(inputs)} chunks (the images), got {chunks}")
    parts = [
        [gradient for _, gradient in weight_gradients(network, *part)]
        for part in zip(inputs.tensor_split(chunks), labels.tensor_split(chunks))
    ]
    score, counted = 0.0, 0
    for layer in zip(*parts):
        gradients = torch.stack(layer).double()  # (chunks, *weight)
        deviation = gradients.std(0, correction=0)
        varies = deviation > 0
        ratio = (gradients.abs().mean(0)[varies] / deviation[varies]).sum().item()
        if ratio > 0:
            score += math.log(ratio)  # log sum_w E|g_w| / sd(g_w)
            counted += 1
    if not counted:
        raise BrokenArchitecture("zico: no gradient differs between the parts of the batch")
    return finite("zico", score)
