"""A trained network that is asked about pictures: any network, with `predict` added."""

import copyreg
import functools
import types
from pathlib import Path
from typing import Any

from torch import nn

from nasproxy.training.predicting import Inputs, Prediction, inputs_of, predict


class TrainedNetwork(nn.Module):
    """A network of a search space, as it was trained: its own class, with `predict` added."""

    def predict(self, images: Any) -> Prediction:
        """Classes and probabilities of images, read, resized and normalised as in training.

        Args:
            images: uint8 (N, H, W) or (N, H, W, C) of 1, 3 or 4 channels, or a tensor (N, C, H, W);
                or a file's path, an image of Pillow's, or a list of these and of arrays (H, W[, C])
                of any sizes. Arrays of other types are taken where the data set's were of it.

        Returns:
            ``labels``, the likeliest class of each, and ``probabilities`` (N, classes) float32.

        Raises:
            UserError: an image can't be read, or the network's file doesn't say how its images
                were normalised.
        """
        return predict(self, images, self.inputs_of_training)

    @property
    def inputs_of_training(self) -> Inputs:
        """What it was trained on, by its file."""
        return inputs_of(*self.__dict__["_nasproxy"])

    def __reduce_ex__(self, protocol: Any) -> Any:
        # a class that was made on the way can't be pickled by its name
        made: Any = super().__reduce_ex__(protocol)
        if made[0] is not getattr(copyreg, "__newobj__") or made[1][0] is not type(self):  # noqa: B009
            return made
        return _blank, (type(self).__bases__[1],), *made[2:]


@functools.cache
def _with_predict(kind: Any) -> Any:
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    names["__doc__"] = kind.__doc__
    kinds = (TrainedNetwork, kind)
    return types.new_class(kind.__name__, kinds, {}, lambda body: body.update(names))


def _blank(kind: Any) -> Any:
    made = _with_predict(kind)
    return made.__new__(made)


def as_trained(network: nn.Module, path: Path, about: dict[str, Any]) -> nn.Module:
    """The network, now with `predict`; one that has a method of that name keeps its own."""
    if hasattr(network, "predict"):
        return network
    network.__dict__["_nasproxy"] = (path, about)
    kind: Any = type(network)
    network.__class__ = _with_predict(kind)
    return network
