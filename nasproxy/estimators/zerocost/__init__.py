"""Training-free scores: one file a method, and the table of their names.

Every score is a function of an untrained network, normalised images (N, C, H, W) float32 and
labels (N,) int64, all on one device, and gives one float, higher for what it predicts to be better.
It may change the network, which is thrown away afterwards: each score takes a fresh one.
"""

from collections.abc import Callable

from nasproxy.estimators.zerocost.az_nas import (
    az_nas_components,
    expressivity,
    feature_blocks,
    progressivity,
    trainability,
)
from nasproxy.estimators.zerocost.fisher import fisher
from nasproxy.estimators.zerocost.grad_norm import grad_norm
from nasproxy.estimators.zerocost.grasp import grasp
from nasproxy.estimators.zerocost.jacob_cov import jacob_cov
from nasproxy.estimators.zerocost.meco import meco
from nasproxy.estimators.zerocost.naswot import naswot
from nasproxy.estimators.zerocost.near import near
from nasproxy.estimators.zerocost.snip import snip
from nasproxy.estimators.zerocost.swap import swap
from nasproxy.estimators.zerocost.synflow import logsynflow, synflow
from nasproxy.estimators.zerocost.vkdnw import vkdnw
from nasproxy.estimators.zerocost.zico import zico

__all__ = ["SCORES", "Score", "az_nas_components", "feature_blocks"]

Score = Callable[..., float]  # (network, images, labels), and options of its own

SCORES: dict[str, Score] = {
    "expressivity": expressivity,
    "fisher": fisher,
    "grad_norm": grad_norm,
    "grasp": grasp,
    "jacob_cov": jacob_cov,
    "logsynflow": logsynflow,
    "meco": meco,
    "naswot": naswot,
    "near": near,
    "progressivity": progressivity,
    "snip": snip,
    "swap": swap,
    "synflow": synflow,
    "trainability": trainability,
    "vkdnw": vkdnw,
    "zico": zico,
}
