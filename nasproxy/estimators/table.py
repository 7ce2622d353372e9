"""Scores looked up in a published table: a truth, or a baseline, that costs nothing."""

import csv
import gzip
import hashlib
import io
import math
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from nasproxy.errors import BrokenArchitecture, UserError, nearest
from nasproxy.estimators.base import Candidate, Scores

_LARGEST = 2**28  # bytes, unpacked
KEY_COLUMNS = ("arch", "architecture")  # a table names its architectures in one of these


@dataclass(frozen=True)
class TableEstimator:
    """The value of a column, in the row whose ``arch`` is the architecture's key.

    A score of minus infinity is one that failed, and ranks last. What has no row or no number is
    unknown, and takes no part in a comparison.

    Attributes:
        name: ``table:FILE:COLUMN``, without the folder.
        metric: the column.
        digest: SHA-256 of the file, 16 hex digits.
        values: by key; NaN where the table has none.
    """

    name: str
    metric: str
    digest: str
    values: dict[str, float] = field(repr=False)

    kind = "table"
    seeded = False
    needs_data = False
    cost = 0.0

    @property
    def identity(self) -> dict[str, str | int | float]:
        return {"estimator": self.name, "table": self.digest}

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        if candidate.key not in self.values:
            raise BrokenArchitecture(f"{self.name} has no row {candidate.key}")
        value = self.values[candidate.key]
        if math.isnan(value):
            raise BrokenArchitecture(f"{self.name} has no number for {candidate.key}")
        return {"score": value}


def split_table(by: str) -> tuple[str, str] | None:
    """File and column of ``table:FILE:COLUMN``; None for the name of anything else."""
    if not by.startswith("table:"):
        return None
    path, _, column = by.removeprefix("table:").rpartition(":")
    return path, column


def read_table(path: str, column: str) -> TableEstimator:
    """The estimator of one column of a CSV file, plain or gzipped, with a header.

    Raises:
        UserError: the file is missing or unreadable, has no such column, or has a key twice.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"no such table: {path}")
    try:
        raw = file.read_bytes()
        text = _unpacked(raw).decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds NUL")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = list(reader.fieldnames or [])
        rows = list(reader)
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise UserError(f"{path}: not a readable CSV file in UTF-8 ({error})") from None
    if column not in columns:
        raise UserError(f"{path} has no column {column!r}{nearest(column, columns)}")
    if columns.count(column) > 1:
        raise UserError(f"{path} has the column {column!r} twice")
    key = next((name for name in KEY_COLUMNS if name in columns), None)
    if key is None:
        raise UserError(f"{path}: expected a column named {' or '.join(KEY_COLUMNS)}")
    values: dict[str, float] = {}
    for row in rows:
        if not row[key]:
            raise UserError(f"{path}: a row has nothing in the column {key}")
        if row[key] in values:
            raise UserError(f"{path} has {row[key]} twice")
        values[row[key]] = _number(row[column])
    if not any(map(math.isfinite, values.values())):
        raise UserError(f"{path}: column {column!r} holds no numbers")
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return TableEstimator(f"table:{file.name}:{column}", column, digest, values)


def _unpacked(raw: bytes) -> bytes:
    if raw[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
            raw = packed.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    return raw


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
