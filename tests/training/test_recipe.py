import pytest
import torch

from nasproxy import Recipe, UserError
from nasproxy.training.recipe import balance


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"steps": 0},
        {"batch_size": 0},
        {"image_size": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"momentum": 1.0},
        {"momentum": 0.0},
        {"weight_decay": -1.0},
        {"schedule": "linear"},
        {"augment": "twirl"},
        {"precision": "float16"},
        {"read": "luck"},
    ],
    ids=str,
)
def test_recipes_have_ranges(options: dict) -> None:
    with pytest.raises(UserError, match=next(iter(options)) if "augment" not in options else "twi"):
        Recipe(**options)


@pytest.mark.parametrize(
    ("schedule", "done", "rate"),
    [("cosine", 0.5, 0.5), ("step", 0.49, 1.0), ("step", 0.5, 0.1), ("constant", 0.99, 1.0)],
)
def test_schedules(schedule: str, done: float, rate: float) -> None:
    assert Recipe(lr=1.0, schedule=schedule).learning_rate(done) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"),
    [(5, 2, [2, 2]), (6, 4, [4, 2]), (1, 4, [1]), (3, 1, [1, 1, 1])],
)
def test_a_last_batch_of_one_is_left_out(images: int, batch_size: int, sizes: list[int]) -> None:
    recipe = Recipe(epochs=3, batch_size=batch_size)
    assert [len(batch) for batch in recipe.split(torch.arange(images))] == sizes
    assert recipe.batches(images) == len(sizes)
    assert recipe.passes(images) == 3
    assert Recipe(steps=len(sizes) + 1, batch_size=batch_size).passes(images) == 2


def test_both_is_the_mean_of_two_probabilities() -> None:
    assert balance(1.0, 0.0) == 1.0
    assert balance(0.5, float("inf")) == 0.25
