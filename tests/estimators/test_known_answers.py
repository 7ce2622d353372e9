"""Figures of the published NAS-Bench-201 table that others have reported too."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nasproxy.studies.statistics import spearman
from tests.spaces.published import TABLE, needs_table, published


@pytest.fixture(scope="module")
def column():
    rows = published()
    return lambda name: np.array([float(row[name] or "nan") for row in rows])


@needs_table
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10_valid_acc", 0.984),
        ("cifar100_test_acc", 0.980),
        ("imagenet16_test_acc", 0.959),
        ("cifar10_test_acc_e12", 0.871),
        ("cifar10_valid_acc_e12", 0.772),
        ("params_m", 0.753),
        ("flops_m", 0.753),
        ("synflow_c10", 0.769),
        ("logsynflow_c10", 0.826),
        ("naswot_c10", 0.793),
        ("nregions_c10", 0.725),
    ],
)
def test_spearman_over_all_cells(column, name: str, expected: float) -> None:
    assert spearman(column("cifar10_test_acc"), column(name)) == pytest.approx(expected, abs=5e-4)


@needs_table
def test_the_seed_ceiling(column) -> None:
    one, two = column("cifar10_test_acc_s1"), column("cifar10_test_acc_s2")
    both = ~np.isnan(one) & ~np.isnan(two)
    assert both.sum() == 13_400
    assert spearman(one[both], two[both]) == pytest.approx(0.986, abs=5e-4)
    mean = column("cifar10_test_acc")
    best = both & (mean >= np.quantile(mean, 0.9))
    assert spearman(one[best], two[best]) == pytest.approx(0.591, abs=5e-4)


@pytest.mark.slow
@needs_table
def test_a_table_can_be_truth_and_rankings_without_a_study(command, tmp_path: Path) -> None:
    """All 15,625 cells, several rankings, in seconds and under 1 GB."""
    table = f"table:{TABLE}"
    script = (  # the high-water mark of this program alone: ru_maxrss starts at its parent's
        "import re, sys; from nasproxy.cli import main; status = main(sys.argv[1:]);"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1];"
        "print(peak, file=sys.stderr);"
        "sys.exit(status)"
    )
    columns = ("params_m", "naswot_c10", "logsynflow_c10")
    studies = [part for name in columns for part in ("--study", f"{table}:{name}")]
    arguments = ["correlate", "--truth", f"{table}:cifar10_test_acc", *studies]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--combine", ",".join(columns[1:]), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["n"] == 15_625
    assert report["drawn"] == "table"
    found = {r["study"]: r["spearman"] for r in report["rankings"]}
    assert found["params_m"] == pytest.approx(0.753, abs=5e-4)
    assert found["naswot_c10"] == pytest.approx(0.793, abs=5e-4)
    assert found["naswot_c10+logsynflow_c10"] > found["logsynflow_c10"]
    assert int(done.stderr.split()[-1]) < 1_000_000  # kB
