"""Does a ranking know that it is not settled? What it says of itself, beside what it turns into.

    python -m benchmarks reliability --space nasbench201 --n 30 --steps '[25,100,400,1600]'

The same networks are trained on the same random images for ever more updates. A row is what a
ranking says of itself (`nasproxy.studies.reliability`), its Spearman correlation with the longest
training of the other seed, and with a published truth where there is one.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from jsonargparse import auto_cli

import nasproxy
from benchmarks.results import save, table
from nasproxy.data.named import DEFAULT_ROOT
from nasproxy.studies.reliability import reliability_of
from nasproxy.training.recipe import PROXY_RECIPE
from nasproxy.workers.local import Workers

READ = ("both", "accuracy", "fit_loss")


def measure(
    space: str = "nasbench201",
    data: str = "cifar10",
    n: int = 30,
    steps: tuple[int, ...] = (25, 100, 400, 1600),
    image_size: int | None = 16,
    ipc: int = 50,
    seed: int = 0,
    truth: str | None = None,
    root: str = DEFAULT_ROOT,
    out: str | None = None,
    name: str | None = None,
) -> None:
    """Train, compare and print.

    Args:
        space: of the networks.
        data: of the images.
        n: architectures, drawn uniformly.
        steps: updates of 50 images; the longest is what the others are compared with.
        image_size: side in pixels of what networks see.
        ipc: random images of each class.
        seed: of the draw and the first training; the longest's second has 1,000 more.
        truth: table of the architectures' accuracies, ``table:FILE:COLUMN``.
        root: folder of the data sets.
        out: folder of the studies; by default runs/reliability-SPACE-DATA-SEED.
        name: under which the rows are kept; by default they are not.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(out or f"runs/reliability-{space}-{Path(data).stem}-{seed}")
    folder.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{folder / 'study.db'}"
    images = nasproxy.load_dataset(data, root)
    proxy = nasproxy.condense(images, "random", ipc=ipc, seed=seed)
    recipe = dataclasses.replace(PROXY_RECIPE, image_size=image_size)
    studies: dict[int, list[optuna.Study]] = {}
    with Workers() as workers:

        def trained(count: int, k: int, like: optuna.Study | None) -> optuna.Study:
            how = dataclasses.replace(recipe, steps=count)
            return nasproxy.rank(
                space, proxy, data=images, trials=n if like is None else None, like=like,
                seed=seed + 1000 * k, recipe=how, study=f"{count}-{k}", storage=storage,
                workers=workers, progress=True,
            )  # fmt: skip

        for count in sorted(steps):
            first = trained(count, 0, None)
            studies[count] = [first]
        studies[max(steps)].append(trained(max(steps), 1, first))
    longest = studies[max(steps)]
    rows = []
    for count, (first, *_) in studies.items():
        for read in READ:
            known = reliability_of(first, read)
            others: list[Any] = [nasproxy.Reading(longest[1], read)]
            others += [truth] if truth else []
            beside = [_spearman(other, first, read) for other in others]
            halves = known.of_halves if known else None
            rows.append(
                {
                    "space": space,
                    "data": images.name,
                    "updates": count,
                    "read by": read,
                    "half with end": _shown(halves.spearman if halves else None),
                    "above chance": _shown(known.above_chance if known else None),
                    "above linear": _shown(known.above_linear if known else None),
                    "with the longest": _shown(beside[0]),
                    "with the truth": _shown(beside[1]) if truth else "-",
                    "n": n,
                }
            )
    if name:
        asked = f"--space {space} --n {n} --steps '{list(steps)}' --seed {seed}"
        save(name, rows, {"command": f"python -m benchmarks reliability {asked}"})
    print(table(rows))


def _spearman(other: Any, study: optuna.Study, read: str) -> float | None:
    report = nasproxy.correlate(other, [nasproxy.Reading(study, read)])
    return report.rankings[0].spearman


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main(arguments: Sequence[str]) -> None:
    auto_cli(measure, args=arguments, as_positional=False)
