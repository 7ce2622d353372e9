"""Distribution matching on networks of the very search space that is to be ranked.

DM (arXiv 2110.04181) embeds images with random ConvNets. Here each step draws an architecture of
the space uniformly, with random weights, and matches class means of its last feature map. What is
different, because networks of a space differ so much: batch norms take their running statistics
from the real images alone, and the step has the same size whatever the scale of a network's
features. The architectures are another draw than those that `rank` ranks with the same seed.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasproxy.data.dataset import Dataset
from nasproxy.data.images import ImageSet
from nasproxy.errors import UserError, reason
from nasproxy.proxies.checkpoint import Checkpoint
from nasproxy.proxies.dm import Embedding, MatchingOptions, match
from nasproxy.spaces.network import logits_of
from nasproxy.spaces.space import Space, load_space
from nasproxy.system.machine import seeded
from nasproxy.training.fast import laid_out, try_fast
from nasproxy.training.training import check_network

_OTHER_DRAW = 2**32  # added to the seed: the networks matched on are not those to be ranked


@dataclass(frozen=True)
class DMSpaceOptions(MatchingOptions):
    """Options of the method `dm-space`; see `MatchingOptions`.

    Attributes:
        steps: K, the number of architectures drawn and of updates made.
        image_lr: how far an update moves the images at first, in standard deviations of a pixel
            (root mean square over all of them); it falls to 0 with a cosine. By default 0.06.
        space: as `load_space` takes it. It is code, and runs.
    """

    steps: int = 120
    space: str = "convnet_small"

    @property
    def identity(self) -> dict[str, str]:
        """What the set depends on beside the options: the space's code."""
        return {"space_code": load_space(self.space).code_sha256}


def match_on_space(
    data: Dataset, options: DMSpaceOptions, device: torch.device, show: bool, kept: Checkpoint
) -> ImageSet:
    """Synthetic images whose mean features match the real ones' in networks of a space.

    Raises:
        UserError: no network of the space can be built and run.
    """
    space = load_space(options.space)
    with seeded(options.seed):  # weights that nobody sees
        architectures = _usable(space, data, options.steps, options.seed + _OTHER_DRAW)

    def embedding(step: int) -> Embedding:
        params = architectures[step % len(architectures)]
        network = space.build(params, data.input_shape, data.num_classes)
        network.to(device).requires_grad_(False)
        inputs = data.normalisation(data.train.images[:2].to(device))
        return _LastMap(network, try_fast(network, options.precision, inputs))

    def scale(gradient: Tensor, step: int) -> float:
        size = gradient.square().mean().sqrt().item()
        if not 1e-12 < size < math.inf:  # a network that has nothing to say
            return 0.0
        largest = 0.06 if options.image_lr is None else options.image_lr
        rate = largest * (1 + math.cos(math.pi * step / options.steps)) / 2
        return rate * (1 - options.momentum) / size  # momentum makes a multiple of the same step

    return match(data, options, device, show, kept, embedding, scale)


def _usable(space: Space, data: Dataset, count: int, seed: int) -> list[dict[str, Any]]:
    """Parameters of up to `count` architectures that can be built and run."""
    usable, why = [], "none was drawn"
    inputs = data.normalisation(data.train.images[:2])
    for architecture in space.sample(count, seed, data.input_shape, data.num_classes):
        if architecture.error is None:
            try:
                network = space.build(architecture.choices, data.input_shape, data.num_classes)
                check_network(network, inputs, data.num_classes)
                usable.append(architecture.choices)
            except Exception as error:
                why = reason(error)
    if not usable:
        raise UserError(f"{space.name}: no network of the space runs; the last: {why}")
    return usable


class _LastMap:
    """The last feature map (N, C, H, W) of more than one pixel that a network computes.

    A network without any, such as one of linear layers alone, is embedded by its logits.
    """

    def __init__(self, network: nn.Module, is_fast: bool = True) -> None:
        self._network, self._is_fast = network.eval(), is_fast
        self._norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
        self._map: Tensor | None = None
        for norm in self._norms:
            norm.momentum = 1.0  # the next statistics replace the last ones
        for module in network.modules():
            if not any(module.children()):
                module.register_forward_hook(self._keep)

    @property
    def together(self) -> bool:
        return bool(self._norms)

    def _keep(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
            self._map = output

    def __call__(self, images: Tensor, real: bool) -> Tensor:
        for norm in self._norms:
            norm.train(real)
        self._map = None
        logits = logits_of(self._network(laid_out(images, self._is_fast)))
        features, self._map = self._map, None
        return logits if features is None else features
