"""NAS-Bench-201, CIFAR-10: every free baseline, proxy sets and early stopping beside a truth.

The truth is the published test accuracy of each cell (200 epochs, mean over seeds), looked up in
a table; training-free scores see the full network, what is trained is a small copy, read by its
validation accuracy, its validation loss, and the loss of its last epoch. Cells are drawn uniformly
by the seed. Everything is kept in ``--out``; run again, it goes on.
"""

import json
import sys
from pathlib import Path
from typing import Any

import optuna
from jsonargparse import auto_cli

import nasproxy
from benchmarks.results import save, table
from nasproxy.data import DEFAULT_ROOT
from nasproxy.estimators.training_free import TRAINING_FREE
from nasproxy.storage import open_storage
from nasproxy.train import PROXY_RECIPE, Recipe
from nasproxy.workers import Workers

AZ_NAS_PARTS = ("expressivity", "progressivity", "trainability")
FREE = ("params", "flops", *(name for name in TRAINING_FREE if name not in AZ_NAS_PARTS))
LOSSES = ("loss", "train_loss")
COMBINED = (
    ["naswot", "logsynflow"],
    ["dm@train_loss", "az_nas"],
    ["random@train_loss", "az_nas"],
    ["early stopping@loss", "az_nas"],
)


def measure(
    n: int = 100,
    seed: int = 0,
    root: str = DEFAULT_ROOT,
    nasbench: str = "../shared/data/nasbench201.csv.gz",
    ipc: int = 50,
    steps: int = 150,
    C: int = 4,
    N: int = 1,
    out: str | None = None,
    json: bool = False,
) -> None:
    """Rank `n` cells in every way.

    Args:
        n: cells.
        seed: of the draw, the sets and the trainings.
        root: folder of CIFAR-10.
        nasbench: the table of published accuracies.
        ipc: images per class of the proxy sets.
        steps: updates of 50 images in every training, early stopping too.
        C: channels of the small copy.
        N: cells per stage of the small copy.
        out: folder; by default runs/baselines and the seed.
        json: print JSON rows instead of a table.
    """
    folder = Path(out or f"runs/baselines-{seed}")
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data = nasproxy.load_dataset("cifar10", root)
    full = nasproxy.load_space("nasbench201")
    small = nasproxy.load_space(f"nasbench201:C={C},N={N}")
    storage = open_storage(f"sqlite:///{folder / 'study.db'}")
    cells = full.sample(n, seed, data.input_shape, data.num_classes)

    with Workers() as workers:

        def ranked(name: str, space: nasproxy.Space, by: Any, recipe: Recipe | None = None) -> Any:
            print(name, file=sys.stderr, flush=True)
            return nasproxy.rank(
                space, by, data=data, like=cells, seed=seed, recipe=recipe, study=name,
                storage=storage, workers=workers, progress=True,
            )  # fmt: skip

        truth = ranked("truth", full, f"table:{nasbench}:cifar10_test_acc")
        studies = [ranked(name, full, name) for name in FREE]
        trained = []
        for method in ("random", "dm"):
            path = folder / f"{method}.safetensors"
            if not path.exists():
                nasproxy.condense(data, method, ipc=ipc, seed=seed, progress=True).save(path)
            recipe = Recipe(**{**vars(PROXY_RECIPE), "steps": steps})
            trained.append(ranked(method, small, nasproxy.ProxySet.load(path), recipe))
        early = Recipe(steps=steps, batch_size=50, lr=PROXY_RECIPE.lr)
        trained.append(ranked("early stopping", small, "full", early))
        one = ranked("one training", full, f"table:{nasbench}:cifar10_test_acc_s1")
        another = ranked("another training", full, f"table:{nasbench}:cifar10_test_acc_s2")
    readings = [nasproxy.Reading(study, loss) for study in trained for loss in LOSSES]
    report = nasproxy.correlate(truth, [*studies, *trained, *readings], combine=COMBINED, seed=seed)
    report.write(folder)
    ceiling = nasproxy.correlate(another, [one], seed=seed)
    rows = [_row(r) for r in report.rankings] + [_row(ceiling.rankings[0], "ceiling")]
    shown = [_shown(row) for row in rows]
    about = {"n": n, "seed": seed, "copy": f"C={C}, N={N}", "steps": steps, "ipc": ipc}
    save("baselines", shown, about)
    print(_json(rows) if json else table(shown))


def _row(ranking: Any, kind: str | None = None) -> dict[str, Any]:
    kind = kind or ("proxy" if ranking.kind == "full" else ranking.kind)
    return {
        "ranking": ranking.study,
        "kind": kind,
        "spearman": ranking.spearman,
        "spearman_ci": list(ranking.spearman_ci),
        "spearman_top20": ranking.spearman_top20,
        "kendall": ranking.kendall,
        "n": ranking.n,
        "seconds_per_architecture": ranking.seconds_per_architecture,
    }


def _shown(row: dict[str, Any]) -> dict[str, str]:
    low, high = row["spearman_ci"]
    seconds = row["seconds_per_architecture"]
    return {
        "ranking": row["ranking"],
        "kind": row["kind"],
        "Spearman": f"{row['spearman']:.3f}",
        "95% interval": f"[{low:.2f}, {high:.2f}]",
        "top 20%": f"{row['spearman_top20']:.2f}",
        "Kendall": f"{row['kendall']:.3f}",
        "n": str(row["n"]),
        "s/architecture": "-" if seconds is None else f"{seconds:.3g}",
    }


def _json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, allow_nan=False)


def main(arguments: list[str]) -> None:
    arguments = ["--json=true" if a == "--json" else a for a in arguments]
    auto_cli(measure, args=arguments, as_positional=False)
