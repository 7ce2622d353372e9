"""Scores looked up in a published table: a truth, or a baseline, that costs nothing.

Read by the `csv` module of Python and not by pandas, which takes a row that is too long for one
with an index and fills one that is too short: both give figures of the wrong rows without a word.
"""

import csv
import gzip
import hashlib
import io
import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from nasproxy.errors import NotInTable, UserError, nearest
from nasproxy.estimators.estimator import Estimator
from nasproxy.system.files import expanded
from nasproxy.workers.task import Candidate, Scores

_LARGEST = 2**28  # bytes, unpacked
KEY_COLUMNS = ("arch", "architecture")  # a table names its architectures in one of these
_NOTHING = {"", "nan", "na", "n/a", "null", "none", "-"}  # cells without a number, in lower case
_LESS_IS_BETTER = re.compile(  # names of columns, as words
    r"(?<![a-z])(err|errors?|loss(es)?|latenc(y|ies)|perplexity|ppl|nll|mse|rmse|mae|runtimes?|"
    r"times?|seconds|energy|costs?)(?![a-z])"
)
_THOUSANDS, _DECIMAL = (
    re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"),
    re.compile(r"[+-]?\d+,\d+"),
)


@dataclass(frozen=True)
class TableEstimator(Estimator):
    """The value of a column, in the row whose ``arch`` is the architecture's key.

    A score of minus infinity is one that failed, and ranks last. What has no row or no number is
    unknown, and takes no part in a comparison.

    Attributes:
        name: ``table:FILE:COLUMN``, without the folder.
        column: of the file; with a minus before it, of which less is better.
        digest: SHA-256 of the file, 16 hex digits.
        values: by key, higher is better; NaN where the table has none.
    """

    name: str
    column: str
    digest: str
    values: dict[str, float] = field(repr=False)

    kind = "table"
    seeded = False
    needs_data = False

    @property
    def metric(self) -> str:
        return self.column

    @property
    def identity(self) -> dict[str, str | int | float | bool]:
        return {"estimator": self.name, "table": self.digest}

    def __call__(self, candidate: Candidate, seed: int) -> Scores:
        if candidate.key not in self.values:
            raise NotInTable(f"{self.name} has no row {candidate.key}")
        value = self.values[candidate.key]
        if math.isnan(value):
            raise NotInTable(f"{self.name} has no number for {candidate.key}")
        return {"score": value}


def read_table(path: str, column: str) -> TableEstimator:
    """The estimator of one column of a CSV file, plain or gzipped, with a header.

    Cells are separated by commas, semicolons or tabs; blanks around them and lines that begin with
    ``#`` are passed over. Numbers may be percent, and have commas where these mean one thing only.

    Args:
        path: of the file.
        column: ``-COLUMN`` where less is better, ``+COLUMN`` where more is, whatever its name says.

    Raises:
        UserError: the file is missing or unreadable, has no such column, has a key twice, a row of
            another length than its header or a cell that is no number, or less of the column seems
            to be better.
    """
    file = expanded(path)
    if not file.is_file():
        raise UserError(f"no such table: {path}")
    try:
        raw = file.read_bytes()
        text = _unpacked(raw).decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds NUL")
        lines = text.splitlines(keepends=True)
        separator = _separator(lines)
        (_, header), *rows = [*_cells(lines, separator)] or [(1, [])]
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise UserError(f"{path}: not a readable CSV file in UTF-8 ({error})") from None
    key, place, sign = _places(path, header, column)
    texts: dict[str, tuple[int, str]] = {}
    for line, cells in rows:
        if len(cells) < len(header) or any(cells[len(header) :]):
            raise UserError(
                f"{path}, line {line}: {len(cells)} cells, the header has {len(header)}"
            )
        if not cells[key]:
            raise UserError(f"{path}, line {line}: nothing in the column {header[key]}")
        if cells[key] in texts:
            raise UserError(
                f"{path} has {cells[key]} twice, in line {texts[cells[key]][0]} and {line}"
            )
        texts[cells[key]] = line, cells[place]
    values = _scores(path, column, texts, separator, sign)
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return TableEstimator(f"table:{file.name}:{column}", column, digest, values)


def _separator(lines: list[str]) -> str:
    """What stands between the cells of the header."""
    header = next((line for line in lines if _counts(line)), "")
    return max(",;\t", key=header.count)


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _cells(lines: list[str], separator: str) -> Iterable[tuple[int, list[str]]]:
    """The number of each line that counts, from 1, and its cells without blanks around them."""
    kept = (line if _counts(line) else "\n" for line in lines)
    reader = csv.reader(kept, delimiter=separator, strict=True, skipinitialspace=True)
    for cells in reader:
        if any(cells):
            yield reader.line_num, [cell.strip() for cell in cells]


def _places(path: str, header: list[str], column: str) -> tuple[int, int, int]:
    """Where the keys and the column are, and the sign that makes more of it better.

    Raises:
        UserError: one is not there, or there twice.
    """
    signed = column not in header and column[:1] in ("-", "+")
    name = column[1:] if signed else column
    if name not in header:
        raise UserError(f"{path} has no column {name!r}{nearest(name, filter(None, header))}")
    keys = [one for one in header if one.lower() in KEY_COLUMNS]
    if not keys:
        raise UserError(
            f"{path}: expected a column named {' or '.join(KEY_COLUMNS)}, got {', '.join(header)}"
        )
    for one in (name, keys[0]):
        if header.count(one) > 1:
            raise UserError(f"{path} has the column {one!r} twice")
    return header.index(keys[0]), header.index(name), -1 if signed and column[0] == "-" else 1


def _scores(
    path: str, column: str, texts: dict[str, tuple[int, str]], separator: str, sign: int
) -> dict[str, float]:
    """The values of a column by key, more is better.

    Raises:
        UserError: a cell is no number or the best of all by being infinite, there is none, or less
            seems to be better.
    """
    plain = _without_commas([text for _, text in texts.values()], separator)
    percent = any(text.endswith("%") for _, text in texts.values())
    values: dict[str, float] = {}
    wrong = ""
    for (key, (line, given)), text in zip(texts.items(), plain, strict=True):
        value = _number(text, percent)
        values[key] = math.nan if value is None else sign * value
        if value is None:
            meant = "percent in every row or in none" if percent else "a number"
            meant = "no comma that may mean two things" if text is None else meant
            wrong = wrong or (
                f"{path}, line {line}: expected {meant} as {column}, got {given!r}; leave it empty "
                "where there is none, or write -inf where it failed"
            )
        elif values[key] == math.inf:
            wrong = wrong or f"{path}, line {line}: {given} as {column} would be the best of all"
    known = [value for value in values.values() if math.isfinite(value)]
    if not known:
        first = f"; {wrong}" if wrong else ""
        raise UserError(f"{path}: column {column!r} holds no numbers{first}")
    if wrong:
        raise UserError(wrong)
    if sign > 0 and min(known) >= 0 and _LESS_IS_BETTER.search(_words(column)):
        raise UserError(
            f"{path}: less of {column!r} seems to be better: write -{column} if it is, or "
            f"+{column} if more is"
        )
    return values


def _number(text: str | None, percent: bool) -> float | None:
    """A number without a sign for percent, NaN of an empty cell; None if it is none."""
    if text is None:
        return None
    if text.lower() in _NOTHING:
        return math.nan
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        return None
    return value if text.endswith("%") == percent or math.isinf(value) else None


def _words(column: str) -> str:
    """A name in lower case, its words apart: ``valLoss`` too; nothing if its sign is given."""
    if column.startswith(("+", "-")):
        return ""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower()


def _without_commas(cells: list[str], separator: str) -> list[str | None]:
    """Numbers as Python writes them; None where a comma may mean thousands or decimals.

    A comma that can't be of thousands, as in 0,93, says that all of the column are decimal.
    """
    having = [cell.removesuffix("%").strip() for cell in cells if "," in cell]
    thousands = all(_THOUSANDS.fullmatch(cell) for cell in having)
    decimal = all(_DECIMAL.fullmatch(cell) for cell in having)
    decimal = decimal and not any("." in cell for cell in cells)
    if thousands and (separator == "," or not decimal):
        return [cell.replace(",", "") for cell in cells]
    if decimal and not thousands:
        return [cell.replace(",", ".") for cell in cells]
    return [None if "," in cell else cell for cell in cells]


def _unpacked(raw: bytes) -> bytes:
    if raw[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
            raw = packed.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    return raw
