"""VKDNW (Tybl and Neumann 2025, "Training-free NAS through Variance of Knowledge of Weights")."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasproxy.errors import BrokenArchitecture
from nasproxy.estimators.zerocost.shared import finite, kaiming_init, scores
from nasproxy.spaces.network import logits_of

IMAGES = 16  # of noise: the information on 128 numbers needs 15, of ten classes
TENSORS = 128  # of parameters, the first ones, of which one number each is looked at
_SMOOTHING = 0.05  # share of a uniform distribution in the network's own
_NUMBERS = 2**26  # that gradients of several outputs may take at once


@scores
def vkdnw(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """How many layers there are, and how even the information on their weights is.

    arXiv 2502.04975, equations 8 to 12, VKDNW_single: the number of parameter tensors, plus the
    entropy, log 9 at most, of the deciles of the eigenvalues of the Fisher information as shares
    of their sum. As in the published code the information is on the first number of each of the
    first `TENSORS` tensors, for Gaussian noise as images, with Kaiming normal weights (fan in),
    norms in evaluation mode, and the network's distribution mixed with 0.05 of a uniform one.
    Unlike there the images are `IMAGES` at most and not 64, which take four times as long, and the
    covariance's factor stands as in the paper, L^T J (the code has L J).
    **Draws from torch's global generator.** Higher is better.

    Args:
        network: untrained; it stays as it is, the weights of a copy are drawn anew.
        inputs: (N, C, H, W); only shape and device are used.
        labels: not used.

    Raises:
        BrokenArchitecture: there is nothing to train, the outputs are not finite, or the network
            can't look at one image alone.
    """
    kaiming_init(network, "fan_in")
    network.eval()
    for module in network.modules():
        if callable(forget := getattr(module, "reset_running_stats", None)):
            forget()  # what the copy was tried on is none of the score
    parameters: list[torch.Tensor] = [
        p for p in network.parameters() if p.requires_grad and p.is_floating_point()
    ]
    if not parameters:
        raise BrokenArchitecture("vkdnw: the network has nothing to train")
    noise = torch.randn(inputs[:IMAGES].shape).to(inputs)  # the same on every device
    information = fisher_information(network, noise, parameters[:TENSORS])
    if not torch.isfinite(information).all():
        raise BrokenArchitecture("vkdnw: the outputs or their gradients are not finite")
    return finite("vkdnw", len(parameters) + decile_entropy(torch.linalg.eigvalsh(information)))


def fisher_information(network: nn.Module, images: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """On the first number of each of P parameters: (P, P) float64, the mean over images.

    Raises:
        BrokenArchitecture: the network can't look at one image alone.
    """
    total = torch.zeros(len(parameters), len(parameters), dtype=torch.float64)
    for image in images:
        try:
            logits = logits_of(network(image[None]))[0]
        except ValueError as error:
            raise BrokenArchitecture(f"vkdnw looks at one image at a time: {error}") from None
        jacobian = _jacobian(logits, parameters)  # (classes, P)
        share = logits.detach().double().cpu().softmax(0)
        share = (1 - _SMOOTHING) * share + _SMOOTHING / len(share)
        # A^T A is J^T (diag p - p p^T) J  (eq. 10)
        factor = share.sqrt()[:, None] * (jacobian - share @ jacobian)
        total += factor.T @ factor
    return total / len(images)


def _jacobian(logits: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Of the logits (classes,) by the first number of each parameter: (classes, P) float64."""
    rows = max(1, _NUMBERS // sum(parameter.numel() for parameter in parameters))
    found = []
    for some in torch.eye(len(logits)).to(logits).split(rows):
        gradients = torch.autograd.grad(
            logits,
            parameters,
            some,
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=True,
        )
        nothing = some.new_zeros(len(some))  # where the outputs don't depend on it
        columns = [nothing if g is None else g.flatten(1)[:, 0] for g in gradients]
        found.append(torch.stack(columns, 1))
    return torch.cat(found).double().cpu()


def decile_entropy(eigenvalues: Tensor) -> float:
    """Entropy in nats of the nine deciles as shares of their sum; 0 where all are 0."""
    steps = torch.arange(1, 10, dtype=torch.float64) / 10
    deciles = eigenvalues.double().clamp(min=0).quantile(steps)
    if not deciles.sum() > 0:
        return 0.0
    return float(torch.special.entr(deciles / deciles.sum()).sum())  # eq. 11
