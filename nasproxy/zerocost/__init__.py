"""Training-free scores: one file a method, and the table of their names.

Every score is a function of an untrained network, normalised images (N, C, H, W) float32 and
labels (N,) int64, all on one device, and gives one float, higher for what it predicts to be better.
It may change the network, which is thrown away afterwards: each score takes a fresh one.
"""

from collections.abc import Callable

from torch import Tensor, nn

from nasproxy.zerocost.az_nas import (
    az_nas_components,
    expressivity,
    feature_blocks,
    progressivity,
    trainability,
)
from nasproxy.zerocost.fisher import fisher
from nasproxy.zerocost.grad_norm import grad_norm
from nasproxy.zerocost.grasp import grasp
from nasproxy.zerocost.jacob_cov import jacob_cov
from nasproxy.zerocost.naswot import naswot
from nasproxy.zerocost.snip import snip
from nasproxy.zerocost.synflow import logsynflow, synflow
from nasproxy.zerocost.zico import zico

__all__ = ["SCORES", "Score", "az_nas_components", "feature_blocks"]

Score = Callable[[nn.Module, Tensor, Tensor], float]

SCORES: dict[str, tuple[Score, str]] = {
    "expressivity": (expressivity, "AZ-NAS: entropy of the blocks' features on noise"),
    "fisher": (fisher, "squared gradient times activation, over channels"),
    "grad_norm": (grad_norm, "norms of the loss's gradient, over layers"),
    "grasp": (grasp, "weights' effect on the gradient flow (Hessian-gradient product)"),
    "jacob_cov": (jacob_cov, "how differently the network reacts to changes of each image"),
    "logsynflow": (logsynflow, "synflow with the logarithm of each gradient"),
    "naswot": (naswot, "how well activation patterns tell images apart"),
    "progressivity": (progressivity, "AZ-NAS: least growth of entropy from block to block"),
    "snip": (snip, "gradient times weight, over weights"),
    "synflow": (synflow, "sum over paths of the product of absolute weights, without data"),
    "trainability": (trainability, "AZ-NAS: how well blocks keep the scale of gradients"),
    "zico": (zico, "gradients' mean against their spread between two halves of the batch"),
}
