"""What scores are made with that changes them: device, precision and versions, by each driver."""

import hashlib
from collections.abc import Mapping
from typing import Any

import optuna

from nasproxy.estimators.estimator import Estimator
from nasproxy.estimators.training import LAST_PASS, TrainingEstimator
from nasproxy.system.machine import versions
from nasproxy.system.progress import say
from nasproxy.training.precision import KINDS, bfloat16_kinds, uses_bfloat16
from nasproxy.workers.local import Workers

ALSO_MADE_WITH = "also made with "  # and a digest: attributes of a study that say what else
_EXCEPT = "float32 convolutions"  # those of networks in bfloat16; versions before had none
_NONE = "none"
_VERSIONS = ("nasproxy", "torch", "torchvision", "numpy")  # that change scores


def made_with(estimator: Estimator, workers: Workers, device: str) -> dict[str, Any]:
    """The attributes that say what this driver's scores are made with."""
    place = workers.place(device)
    found: dict[str, Any] = {"hardware": workers.hardware(place), "versions": versions()}
    if isinstance(estimator, TrainingEstimator) and workers.is_local:
        half = uses_bfloat16(estimator.recipe.precision, place)
        found["precision"] = "bfloat16" if half else "float32"
        if half and place.type == "cpu":
            found[_EXCEPT] = _float32_kinds(estimator.recipe.precision)
    if isinstance(estimator, TrainingEstimator):
        found["train_loss of"] = estimator.train_loss_of
    return found


def _float32_kinds(precision: str) -> str:
    """Kinds of convolutions that networks in bfloat16 compute in float32, in words."""
    in_bfloat16 = bfloat16_kinds(precision)
    return " and ".join(kind for kind in KINDS if kind not in in_bfloat16) or _NONE


def note_differences(study: optuna.Study, now: Mapping[str, Any]) -> None:
    """Say, and write into the study, what scores from now on are made with unlike the first.

    Such scores are near each other, but not the same: whoever compares them should know.
    """
    there = study.user_attrs
    different = [
        f"{name} {new} instead of {old}"
        for name, old, new in _compared(there, now)
        if old is not None and new is not None and old != new
    ]
    if different:
        text = ", ".join(different)
        key = ALSO_MADE_WITH + hashlib.sha256(text.encode()).hexdigest()[:8]
        if key not in there:
            study.set_user_attr(key, text)
        say(f"{study.study_name}: scores are made with {text}: they may differ a little")


def _compared(
    there: Mapping[str, Any], now: Mapping[str, Any]
) -> list[tuple[str, str | None, str | None]]:
    """What is compared: its name, what the study was made with, and what is there now."""
    found = [("hardware", _processor(there), _processor(now))]
    found.append(("precision", there.get("precision"), now.get("precision")))
    if there.get("precision") == now.get("precision") == "bfloat16" and _EXCEPT in now:
        found.append((_EXCEPT, there.get(_EXCEPT, _NONE), now[_EXCEPT]))
    before = LAST_PASS if "recipe" in there else None  # by versions that don't say
    found.append(("train_loss of", there.get("train_loss of", before), now.get("train_loss of")))
    old, new = (about.get("versions") or {} for about in (there, now))
    return found + [(name, old.get(name), new.get(name)) for name in _VERSIONS]


def _processor(about: Mapping[str, Any]) -> str | None:
    """The hardware without its number of cores, which changes nothing."""
    hardware = about.get("hardware")
    if not isinstance(hardware, str):
        return None
    return "; ".join(sorted({part.rpartition(", ")[0] or part for part in hardware.split("; ")}))
