"""What a training is read by where classes are unequal."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nasproxy import Dataset, Recipe, condense, from_arrays, load_dataset, rank
from nasproxy.data.images import ImageSet, Normalisation
from nasproxy.estimators.making import make_estimator
from nasproxy.training.training import evaluate_network
from tests.conftest import QUICK, make_arrays, scored


def _data(counts: tuple[int, ...]) -> Dataset:
    images, labels = make_arrays(3 * max(counts))
    kept = np.concatenate([np.flatnonzero(labels == k)[:n] for k, n in enumerate(counts)])
    return from_arrays(images[kept], labels[kept])


@pytest.mark.parametrize(
    ("counts", "read"),
    [
        ((100, 100, 100), "accuracy"),
        ((100, 40, 40), "accuracy"),
        ((100, 100, 30), "balanced_accuracy"),
        ((200, 100, 6), "balanced_accuracy"),
    ],
)
def test_unequal_classes_count_alike(counts: tuple[int, ...], read: str) -> None:
    data = _data(counts)
    for by in ("full", "full:epochs=2"):
        assert make_estimator(by, data, device="cpu").read == read
    assert make_estimator("full", data, QUICK, device="cpu").read == read
    proxy = condense(data, "random", ipc=2)
    for by in (proxy, "auto"):
        assert make_estimator(by, data, device="cpu").read == read.replace("accuracy", "both")
    for said in ("accuracy", "both", "loss", "balanced_accuracy"):
        assert make_estimator(f"full:read={said}", data, device="cpu").read == said
    assert make_estimator("full", data, Recipe(read="loss"), device="cpu").read == "loss"


def test_balanced_accuracy_is_the_mean_over_classes() -> None:
    class Always(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) @ torch.zeros(1, 4) + torch.tensor([2.0, 1.0, 0.0, 0.0])

    labels = torch.tensor([0] * 95 + [1] * 5)  # and none of 2 and 3
    images = ImageSet(torch.zeros(100, 1, 4, 4, dtype=torch.uint8), labels)
    found = evaluate_network(Always(), images, Normalisation((0.0,), (1.0,)))
    assert (found.accuracy, found.balanced) == (0.95, 0.5)


def test_the_largest_class_alone_is_no_truth(tiny_space, tmp_path: Path) -> None:
    data, storage = _data((300, 12, 12)), f"sqlite:///{tmp_path}/s.db"
    recipe = Recipe(steps=1, lr=1e-9, augment="none")
    study = rank(tiny_space, "full", data=data, sampler="all", recipe=recipe, storage=storage)
    numbers = [t.user_attrs for t in scored(study)]
    assert study.metric_names == ["balanced validation accuracy"]
    assert [t.value for t in scored(study)] == [n["balanced_accuracy"] for n in numbers]
    plain = rank(tiny_space, "full:read=accuracy", data=data, sampler="all", recipe=recipe,
                 storage=storage)  # fmt: skip
    assert sorted(t.value for t in scored(plain)) == sorted(n["accuracy"] for n in numbers)


def test_flip_is_in_the_identity() -> None:
    digits = load_dataset("digits")
    mirrored = load_dataset("digits", flip=True)
    assert digits.digest == mirrored.digest
    for data, flip in ((digits, False), (mirrored, True)):
        assert make_estimator("full", data, device="cpu").identity["flip"] is flip
