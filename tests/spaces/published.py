"""NAS-Bench-201's published table, for tests that compare with it."""

import csv
import gzip
import re
from pathlib import Path

import pytest

TABLE = Path(__file__).parents[3] / "shared" / "data" / "nasbench201.csv.gz"
needs_table = pytest.mark.skipif(not TABLE.exists(), reason=f"{TABLE.name} is not there")


def published() -> list[dict[str, str]]:
    with gzip.open(TABLE, "rt") as file:
        return list(csv.DictReader(file))


def operations(arch: str) -> dict[str, str]:
    terms = re.findall(r"(\w+)~\d", arch)
    return {f"Op{i}": term for i, term in enumerate(terms)}
