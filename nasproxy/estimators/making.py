"""Which estimator is meant: the grammar of `by`, and the table of names.

NAME                            params, az_nas, full, ...
NAME:option=value,...           full:epochs=2, full:read=FILE.py:FUNCTION, snip:batch_size=32
FILE.safetensors                a proxy set
FILE.safetensors:option=value   the same, trained on by another recipe
table:FILE:COLUMN               a column of a published table
FILE.py:FUNCTION                a function of your own, function(network, data, seed)
FILE.py:FUNCTION:read=NAME      the same, by one of the numbers that it returns

Rankings that are there already are named by their study: ``NAME``, or ``NAME@READING``.
"""

import dataclasses
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nasproxy.data.dataset import Dataset
from nasproxy.data.images import ImageSet
from nasproxy.errors import UserError, nearest
from nasproxy.estimators import auto
from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.functions import OwnMetric
from nasproxy.estimators.latency import IMAGES as LATENCY_IMAGES
from nasproxy.estimators.latency import LatencyEstimator
from nasproxy.estimators.names import ESTIMATORS, TRAINING_FREE
from nasproxy.estimators.own import OwnEstimator, make_own
from nasproxy.estimators.size import SizeEstimator
from nasproxy.estimators.table import read_table
from nasproxy.estimators.training import TrainingEstimator
from nasproxy.estimators.training_free import (
    BATCH,
    OPTIONS,
    TrainingFreeEstimator,
    make_training_free,
)
from nasproxy.proxies.methods import condense
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.spaces.space import Space
from nasproxy.system.machine import pick_device
from nasproxy.system.spelling import parse_spec
from nasproxy.training.recipe import FULL_RECIPE, PROXY_RECIPE, Recipe, is_own

_TABLE = "table:"
_OPTION = re.compile(r"\w+:\w+=")  # NAME:option=


@dataclass(frozen=True)
class By:
    """What a text means, by the grammar at the top of this file.

    Attributes:
        name: of the estimator; ``table``, ``proxy`` and ``own`` for files.
        file: of a table, a proxy set or a function, else None.
        column: of a table, or the function in a file; else empty.
        options: by name.
        text: the options as they were written.
    """

    name: str
    file: str | None = None
    column: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    text: str = ""

    @property
    def study_name(self) -> str:
        """What a study of it is called: without a file's folder and the ending of a proxy set."""
        if self.file is None:
            return f"{self.name}:{self.text}" if self.text else self.name
        if self.name == "table":
            return f"table:{Path(self.file).name}:{self.column}"
        name = Path(self.file).name.removesuffix(".safetensors")
        if self.name == "own":
            name = f"{name}:{self.column}"
        return f"{name}:{self.text}" if self.text else name


def parse_by(text: str) -> By:
    """Read a text by the grammar at the top of this file.

    Raises:
        UserError: an option is not of the form key=value.
    """
    if is_table(text):
        file, _, column = text.removeprefix(_TABLE).rpartition(":")
        return By("table", file, column)
    file, ending, rest = text.partition(".safetensors")
    if ending and rest[:1] in ("", ":"):
        return By("proxy", file + ending, options=parse_spec(f"proxy{rest}")[1], text=rest[1:])
    file, ending, rest = text.partition(".py:")
    if ending and not _OPTION.match(text):
        function, options = parse_spec(rest)
        return By("own", f"{file}.py", function, options, rest.partition(":")[2])
    name, options = parse_spec(text)
    return By(name, options=options, text=text.partition(":")[2])


def is_table(text: str) -> bool:
    """Whether a text names a column of a table."""
    return text.startswith(_TABLE)


def parse_reading(name: str, studies: Collection[str]) -> tuple[str, str | None]:
    """The study and the reading of ``NAME@READING``; a study may have such a name itself."""
    study, at, read = name.rpartition("@")
    return (study, read) if at and name not in studies else (name, None)


def make_estimator(
    by: str | Path | ProxySet | Estimator,
    data: Dataset | None,
    recipe: Recipe | None = None,
    device: str | torch.device = "auto",
    space: Space | None = None,
) -> Estimator:
    """The estimator of a text, a proxy set or its file, or one that is there already.

    Args:
        by: see the top of this file.
        data: what is trained, scored and validated on; a table does without.
        recipe: instead of the default one of the kind.
        device: for training; a `torch.device` may be one of other machines.
        space: whose own recipe is the default one on proxy sets.

    Raises:
        UserError: the name, an option, the file or the device is not there, or the proxy set was
            made from other data.
    """
    if isinstance(by, Estimator):
        return by
    if not isinstance(by, str | Path | ProxySet):
        raise UserError(f"expected an estimator's name, a proxy set or an Estimator, got {by!r}")
    meant = parse_by(str(by)) if not isinstance(by, ProxySet) else By("proxy")
    if meant.name == "table":
        assert meant.file is not None
        return read_table(meant.file, meant.column)
    if data is None:
        raise UserError(f"ranking by {meant.study_name} needs a data set")
    where = str(pick_device(device) if isinstance(device, str) else device)
    if meant.name == "own":
        return _own(meant, data, where)
    if meant.name in ("params", "flops", "latency"):
        if meant.options:
            raise UserError(f"{meant.name} has no options, got {', '.join(meant.options)}")
        if meant.name == "latency":
            batch = data.validation[torch.arange(min(LATENCY_IMAGES, len(data.validation)))]
            return LatencyEstimator(batch, data.normalisation, data.num_classes, where)
        return SizeEstimator(meant.name, data.input_shape)
    if meant.name in TRAINING_FREE:
        return _training_free(meant, data, where)
    if meant.name == "full":
        chosen = _override(_fair(recipe or FULL_RECIPE, data), meant.options)
        return _trained(meant.study_name, data, None, chosen, where)
    if meant.name == "auto":
        return _auto(meant, data, _fair(recipe or _default_recipe(space, data), data), where)
    if meant.name != "proxy":
        raise UserError(f"unknown estimator {meant.name!r}{nearest(meant.name, ESTIMATORS)}")
    proxy = by if isinstance(by, ProxySet) else ProxySet.load(str(meant.file))
    recipe = _fair(recipe or _default_recipe(space, data), data)
    label = ":".join(filter(None, (proxy_name(proxy), meant.text)))
    return _trained(label, data, proxy, _override(recipe, meant.options), where)


def _default_recipe(space: Space | None, data: Dataset) -> Recipe:
    return PROXY_RECIPE if space is None else proxy_recipe(space, data)


def _auto(meant: By, data: Dataset, recipe: Recipe, device: str) -> auto.AutoEstimator:
    smallest = int(data.train.labels.bincount(minlength=data.num_classes).min())
    proxy = condense(data, "random", ipc=min(auto.IPC, smallest))
    if recipe.steps is None and "epochs" not in meant.options:  # passes over 100 classes take hours
        recipe = dataclasses.replace(recipe, steps=auto.STEPS)
    trained = _trained(meant.study_name, data, proxy, _override(recipe, meant.options), device)
    free = []
    for name in auto.FREE:
        made = make_training_free(name, data, device, min(BATCH, len(data.train)))
        batch = ImageSet(trained.prepare(made.batch.images), made.batch.labels)  # of one size
        free.append(dataclasses.replace(made, batch=batch))
    return auto.AutoEstimator(meant.study_name, trained, tuple(free))


def _training_free(meant: By, data: Dataset, device: str) -> TrainingFreeEstimator:
    options = dict(meant.options)
    size = options.pop("batch_size", BATCH)
    own = OPTIONS.get(meant.name, ())
    known = not options or options.keys() == set(own)  # all of them or none
    if (
        not known
        or type(size) is not int
        or any(type(v) not in (int, float) for v in options.values())
    ):
        forms = [meant.name, f"{meant.name}:batch_size=N"]
        forms += [f"{meant.name}:{','.join(f'{name}=NUMBER' for name in own)}"] if own else []
        raise UserError(f"expected {' or '.join(forms)}, got {meant.study_name!r}")
    return make_training_free(meant.name, data, device, size, **options)


def _own(meant: By, data: Dataset, device: str) -> OwnEstimator:
    reading = meant.options.get("read")
    if meant.options.keys() - {"read"} or not isinstance(reading, str | None):
        raise UserError(
            f"expected FILE.py:FUNCTION or FILE.py:FUNCTION:read=NAME, got {meant.text!r}"
        )
    assert meant.file is not None
    return make_own(meant.file, meant.column, data, device, reading)


def _fair(recipe: Recipe, data: Dataset) -> Recipe:
    """The recipe; where classes are unequal, accuracy is that of each class, and then their mean.

    Otherwise whoever always says the largest class comes first.
    """
    if not data.is_unequal or recipe.read not in ("accuracy", "both"):
        return recipe
    return dataclasses.replace(recipe, read=f"balanced_{recipe.read}")


def proxy_recipe(space: Space, data: Dataset | None = None) -> Recipe:
    """How networks of a space are trained on proxy sets unless something else is asked for.

    It is `PROXY_RECIPE` but for what the space's file says in ``proxy_recipe``, options by name
    such as ``{"read": "fit_loss"}``. Images that are smaller already keep their size.

    Raises:
        UserError: it says something that a recipe can't take.
    """
    said = getattr(space.module, "proxy_recipe", {})
    try:
        recipe = _override(PROXY_RECIPE, dict(said))
    except (UserError, TypeError, ValueError) as error:
        raise UserError(f"{space.name}: proxy_recipe {said!r}: {error}") from None
    if data and recipe.image_size and recipe.image_size >= min(data.input_shape[1:]):
        return dataclasses.replace(recipe, image_size=None)
    return recipe


def proxy_name(proxy: ProxySet) -> str:
    """Short name of a proxy set, such as ``dm-10`` for ten images a class."""
    made = proxy.provenance
    return f"{made.method}-{len(proxy) // len(made.class_names)}"


def _trained(
    name: str, data: Dataset, proxy: ProxySet | None, recipe: Recipe, device: str
) -> TrainingEstimator:
    if proxy is not None:
        proxy.check_fits(data)
    side = min(data.input_shape[1:])
    if recipe.image_size is not None and recipe.image_size > side:
        raise UserError(f"expected image_size of at most {side}, got {recipe.image_size}")
    return TrainingEstimator(
        name=name,
        images=data.train if proxy is None else proxy.image_set,
        validation=data.validation,
        digest=data.digest if proxy is None else proxy.digest,
        recipe=recipe,
        normalisation=data.normalisation,
        num_classes=data.num_classes,
        flip=data.flip,
        device=device,
        kind="full" if proxy is None else "proxy",
        proxy=proxy,
        own=OwnMetric.of(recipe.read) if is_own(recipe.read) else None,
    )


def _override(recipe: Recipe, options: dict[str, Any]) -> Recipe:
    known = {field.name: field for field in dataclasses.fields(Recipe)}
    for key, value in options.items():
        if key not in known:
            raise UserError(f"a recipe has no option {key!r}{nearest(key, known)}")
        default = known[key].default
        expected = int if default is None else type(default)
        right = isinstance(value, expected) and isinstance(value, bool) == (expected is bool)
        if not right and not (expected is float and type(value) is int):
            raise UserError(f"expected {expected.__name__} as {key}, got {value!r}")
    return dataclasses.replace(recipe, **options)
