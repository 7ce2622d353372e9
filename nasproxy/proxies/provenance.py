"""Where a proxy set comes from: what its file says beside the images and labels."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nasproxy.data.dataset import Dataset
from nasproxy.data.images import Normalisation
from nasproxy.errors import UserError
from nasproxy.system.machine import versions

FORMAT_VERSION = 1
_REQUIRED = ("format", "method", "dataset", "dataset_digest", "mean", "std", "class_names")
_KINDS: dict[str, type] = {
    **dict.fromkeys(("method", "dataset", "dataset_digest"), str),
    **dict.fromkeys(("options", "versions"), dict),
    "seed": int,
}


@dataclass(frozen=True)
class Provenance:
    """What a proxy set was made from, and how.

    Attributes:
        method: that made it, or the name of the file that it was imported from.
        dataset, dataset_digest: of the data set that it stands for.
        mean, std: a number a channel, by which its images are normalised.
        class_names: one a class, in label order.
        options: of the method.
        seed: of the method.
        versions: of what it was made with.
        more: what else the method says, such as ``space_code``.
    """

    method: str
    dataset: str
    dataset_digest: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    options: Mapping[str, Any]
    seed: int
    versions: Mapping[str, str]
    more: Mapping[str, Any]

    @property
    def normalisation(self) -> Normalisation:
        return Normalisation(self.mean, self.std)


def describe(
    data: Dataset, method: str, options: Mapping[str, Any], seed: int = 0, **more: Any
) -> dict[str, Any]:
    """The metadata, JSON values, of a set that is made now and stands for `data`."""
    return {
        "format": FORMAT_VERSION,
        "method": method,
        "options": dict(options),
        "dataset": data.name,
        "dataset_digest": data.digest,
        "mean": list(data.normalisation.mean),
        "std": list(data.normalisation.std),
        "class_names": list(data.class_names),
        "seed": seed,
        "versions": versions(),
        **more,
    }


def read_metadata(metadata: Mapping[str, Any]) -> Provenance:
    """What metadata say.

    Raises:
        UserError: they are of another version, or lack something, or a value is of another kind.
    """
    if missing := [key for key in _REQUIRED if key not in metadata]:
        raise UserError(f"proxy metadata lacks {', '.join(missing)}")
    if metadata["format"] != FORMAT_VERSION:
        raise UserError(
            f"expected proxy format {FORMAT_VERSION}, got {metadata['format']!r}; "
            "condense again with this version of nasproxy"
        )
    given = {key: metadata.get(key, kind()) for key, kind in _KINDS.items()}
    for key, kind in _KINDS.items():
        if not isinstance(given[key], kind):
            raise UserError(f"expected {kind.__name__} as {key}, got {given[key]!r}")
    mean, std = _numbers(metadata, "mean"), _numbers(metadata, "std")
    if min(std, default=1.0) <= 0:
        raise UserError(f"expected std above 0, got {list(std)}")
    names = metadata["class_names"]
    if (
        not isinstance(names, list)
        or len(names) < 2
        or not all(isinstance(name, str) for name in names)
    ):
        raise UserError(f"expected a list of class names, got {names!r}")
    known = {field.name for field in fields(Provenance)} | {"format"}
    more = {key: value for key, value in metadata.items() if key not in known}
    return Provenance(mean=mean, std=std, class_names=tuple(names), more=more, **given)


def _numbers(metadata: Mapping[str, Any], key: str) -> tuple[float, ...]:
    values = metadata[key]
    if not isinstance(values, list) or not all(
        type(value) in (int, float) and abs(value) < 1e30 for value in values
    ):
        raise UserError(f"expected numbers as {key}, got {values!r}")
    return tuple(values)
