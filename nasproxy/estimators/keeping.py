"""The trained network of each architecture of a study, kept as it is scored."""

import hashlib
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from nasproxy.data.dataset import Dataset
from nasproxy.errors import NotKept, UserError, reason
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.training import TrainingEstimator
from nasproxy.estimators.winner import describe_images
from nasproxy.spaces.space import Architecture, Space
from nasproxy.system.files import expanded, make_folder
from nasproxy.training.saved import save_network
from nasproxy.workers.task import Keep, Scores

_READABLE = 80  # characters of an architecture's name in a file's


@dataclass(frozen=True)
class Keeping:
    """Keeps networks in a folder, each in a file that `load_network` takes.

    Attributes:
        folder: where; an absolute path.
        space: of the architectures.
        input_shape, num_classes: what networks are built for.
        about: what else their files say.
    """

    folder: Path
    space: Space
    input_shape: tuple[int, int, int]
    num_classes: int
    about: dict[str, Any]

    def path(self, key: str, seed: int) -> Path:
        """The file of an architecture trained with a seed; its name begins with the architecture's.

        Names may be alike but for what no file's name may have: a digest tells them apart.
        """
        readable = re.sub(r"[^\w.=-]+", "_", key).strip("_.")[:_READABLE]
        digest = hashlib.sha256(key.encode()).hexdigest()[:8]
        return self.folder / f"{readable}-{digest}-seed{seed}.safetensors"

    def of(self, architecture: Architecture, seed: int) -> Keep:
        """What keeps the network of an architecture, wherever it is trained."""
        about = {**self.about, "architecture": architecture.key, "seed": seed}
        path, built_for = self.path(architecture.key, seed), (self.input_shape, self.num_classes)
        return partial(_keep, path, self.space, architecture.choices, *built_for, about)


def make_keeping(
    folder: str | Path, space: Space, estimator: Estimator, data: Dataset | None
) -> Keeping:
    """What keeps the networks that an estimator trains.

    Raises:
        UserError: it trains none, or the folder can't be written to.
    """
    if not isinstance(estimator, TrainingEstimator) or data is None:
        raise UserError(
            f"{estimator.name} gives no trained network to keep; keep_weights is for full and for "
            "proxy sets"
        )
    path = expanded(folder).absolute()
    make_folder(path)
    about = {
        "estimator": estimator.name,
        "recipe": estimator.recipe.to_dict(),
        "trained_on": estimator.digest,
        "dataset_digest": data.digest,
        **describe_images(data),
    }
    return Keeping(path, space, estimator.network_shape, data.num_classes, about)


def _keep(
    path: Path,
    space: Space,
    choices: dict[str, Any],
    shape: tuple[int, int, int],
    classes: int,
    about: dict[str, Any],
    network: nn.Module,
    scores: Scores,
) -> None:
    said = {**about, "validation_accuracy": scores["accuracy"]}
    try:
        save_network(path, network, space, choices, shape, classes, **said)
    except Exception as error:  # a full disk breaks no architecture
        why = str(error) if isinstance(error, UserError) else f"{path}: {reason(error)}"
        raise NotKept(why) from None
