"""Searches replayed on beds whose truth is known: `python -m benchmarks search`."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cheap, results
from benchmarks.__main__ import main
from benchmarks.search import make_bed
from benchmarks.searchers import SEARCHERS
from search_spaces.nasbench201 import OPERATIONS


@pytest.fixture
def cells(tmp_path: Path) -> dict[str, str]:
    """Tables of 60 cells, every other one equal to the one before; every score is the truth."""
    generator = np.random.default_rng(0)
    archs = [
        "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*generator.choice(OPERATIONS, 6))
        for _ in range(60)
    ]
    truth = [50 + 5 * arch.count("conv_3x3") for arch in archs]
    names = ["params_m", "flops_m", "synflow_c10", "logsynflow_c10", "naswot_c10", "nregions_c10"]
    names += ["cifar10_test_acc", "cifar10_test_acc_s1", "cifar10_test_acc_e12"]
    rows = [
        {"arch": arch, "iso_class": str(i // 2), **dict.fromkeys(names, str(truth[i // 2 * 2]))}
        for i, arch in enumerate(archs)
    ]
    results.write_csv(tmp_path / "cells.csv", ["arch", "iso_class", *names], rows)
    seconds = [{"arch": arch, "seconds_e12": "36"} for arch in archs]
    results.write_csv(tmp_path / "seconds.csv", ["arch", "seconds_e12"], seconds)
    return {"nasbench": f"{tmp_path}/cells.csv", "hardware": f"{tmp_path}/seconds.csv"}


def test_searches_are_replayed(cells: dict[str, str], capsys) -> None:
    beds = ["nasbench201-cifar10", "nasbench201-cifar10-shuffled"]
    options = {"beds": json.dumps(beds), "trainings": 20, "repetitions": 2, "slow": 1, **cells}
    main(["search", *(f"--{name}={value}" for name, value in options.items()), "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert {row["bed"] for row in rows} == set(beds)
    plain = {row["method"]: row for row in rows if (row["bed"], row["trainings"]) == (beds[0], 20)}
    assert plain.keys() == set(SEARCHERS) - {"nasproxy-random", "nasproxy-dm"}
    for row in plain.values():
        assert row["mean"] <= row["best_trained"] <= row["best_of_pool"]
    assert plain["nasproxy-free"]["mean"] == plain["nasproxy-free"]["best_of_pool"]
    assert plain["zero-cost warm-up"]["trainings_until_near"] == 1


def test_a_pool_has_equal_cells_once(cells: dict[str, str]) -> None:
    bed = make_bed("nasbench201-cifar10-whole", **cells)
    assert len(bed.params) == 60
    assert sorted(bed.pool(0).same.tolist()) == list(range(30))


@pytest.mark.parametrize("name", ["random search", "evolution", "TPE", "nasproxy-free"])
def test_no_searcher_trains_one_twice(cells: dict[str, str], name: str) -> None:
    pool = make_bed("nasbench201-cifar10", **cells).pool(0)
    found = SEARCHERS[name](pool, 0, 30)
    assert sorted(found.trained) == list(range(30))
    assert SEARCHERS[name](pool, 0, 30) == found


def test_what_is_cheap_can_be_made_again() -> None:
    assert set(cheap.FREE) >= {"params", "az_nas"}  # its imports are still there
    bed = make_bed("convnet-cifar10")
    assert len(bed.params) == len(bed.truth) == 80
    assert {"random-0", "dm-0"} <= bed.proxies.keys()
