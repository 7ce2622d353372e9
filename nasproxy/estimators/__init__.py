"""Estimators: one file per kind of score, and the table of their names.

An estimator is written ``NAME`` or ``NAME:option=value,option=value``, such as ``params``,
``full:epochs=2`` or ``proxy.safetensors:epochs=100,lr=0.01``.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from nasproxy.data import Dataset
from nasproxy.errors import UserError, nearest
from nasproxy.estimators.base import Estimator
from nasproxy.estimators.size import SizeEstimator
from nasproxy.estimators.table import read_table, split_table
from nasproxy.estimators.training import TrainingEstimator
from nasproxy.estimators.training_free import TRAINING_FREE, make_training_free
from nasproxy.proxy import ProxySet
from nasproxy.runtime import pick_device
from nasproxy.spaces import Space
from nasproxy.spec import parse_spec
from nasproxy.train import FULL_RECIPE, PROXY_RECIPE, Recipe

ESTIMATORS = {
    "full": "train on the full training set (full:epochs=2 is early stopping)",
    "PROXY.safetensors": "train on a proxy set",
    "table:FILE:COLUMN": "look it up in a CSV file (.gz too), by its column arch",
    "params": "number of parameters",
    "flops": "multiply-accumulates of one image",
    **TRAINING_FREE,
}


def make_estimator(
    by: "str | ProxySet | Estimator",
    data: Dataset | None,
    recipe: Recipe | None = None,
    device: str | torch.device = "auto",
) -> Estimator:
    """The estimator of a name, a proxy file or a proxy set.

    Args:
        by: see the top of this file; an estimator is given back as it is.
        data: what is trained, scored and validated on; a table does without.
        recipe: instead of the default one of the kind.
        device: for training; a `torch.device` may be one of other machines.

    Raises:
        UserError: the name, an option, the file or the device is not there, or the proxy set was
            made from other data.
    """
    if not isinstance(by, str | Path | ProxySet):
        return by
    if table := split_table(str(by)):
        return read_table(*table)
    name, options = parse_spec(str(by)) if not isinstance(by, ProxySet) else ("", {})
    if data is None:
        raise UserError(f"ranking by {name or 'a proxy set'} needs a data set")
    if name in ("params", "flops"):
        if options:
            raise UserError(f"{name} has no options, got {', '.join(options)}")
        return SizeEstimator(name, data.input_shape)
    where = str(pick_device(device) if isinstance(device, str) else device)
    if name in TRAINING_FREE:
        size = options.pop("batch_size", 64)
        if options or type(size) is not int:
            raise UserError(f"expected {name} or {name}:batch_size=N, got {by!r}")
        return make_training_free(str(by), name, data, where, size)
    if name == "full":
        chosen = _override(recipe or FULL_RECIPE, options)
        return _trained(str(by), data, None, chosen, where)
    if isinstance(by, ProxySet):
        return _trained(proxy_name(by), data, by, recipe or PROXY_RECIPE, where)
    if not name.endswith(".safetensors"):
        raise UserError(f"unknown estimator {name!r}{nearest(name, ESTIMATORS)}")
    proxy = ProxySet.load(name)
    label = ":".join([proxy_name(proxy), *str(by).partition(".safetensors:")[2:]]).rstrip(":")
    return _trained(label, data, proxy, _override(recipe or PROXY_RECIPE, options), where)


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


def proxy_of(by: "str | ProxySet | Estimator") -> ProxySet | None:
    """The proxy set that `make_estimator` trains on for the same `by`; None if it is another."""
    if isinstance(by, ProxySet):
        return by
    if not isinstance(by, str | Path) or split_table(str(by)):
        return None
    name = parse_spec(str(by))[0]
    return ProxySet.load(name) if name.endswith(".safetensors") else None


def proxy_name(proxy: ProxySet) -> str:
    """Short name of a proxy set, such as ``dm-10`` for ten images a class."""
    classes = len(proxy.metadata["class_names"])
    return f"{proxy.metadata['method']}-{len(proxy) // classes}"


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
        cost=0.0 if proxy is None else proxy.seconds,
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
