"""Tables as people have them: read right, or refused with the row."""

import math
from pathlib import Path

import pytest

from nasproxy import UserError
from nasproxy.estimators.table import read_table

READ = {  # by what is special: the text, the column, the values of a, b and c
    "plain": ("arch,x\na,1\nb,2\nc,3\n", "x", (1, 2, 3)),
    "semicolons": ("arch;x\na;1\nb;2\nc;3\n", "x", (1, 2, 3)),
    "tabs": ("arch\tx\na\t1\nb\t2\nc\t3\n", "x", (1, 2, 3)),
    "Windows": ("\ufeffarch,x\r\na,1\r\nb,2\r\nc,3\r\n", "x", (1, 2, 3)),
    "blanks": (" Arch , x \na , 1\n b, 2 \nc,3\n", "x", (1, 2, 3)),
    "quotes after blanks": ('"arch", "x"\n"a", "1"\n"b", 2\nc, 3\n', "x", (1, 2, 3)),
    "comments": ("# made by me\narch,x\na,1\n# half-way\nb,2\nc,3\n#end\n", "x", (1, 2, 3)),
    "empty lines": ("\narch,x\n\na,1\nb,2\n,\nc,3\n\n", "x", (1, 2, 3)),
    "an index without a name": (",arch,x\n0,a,1\n1,b,2\n2,c,3\n", "x", (1, 2, 3)),
    "commas at the ends": ("arch,x\na,1,\nb,2,,\nc,3\n", "x", (1, 2, 3)),
    "thousands": ('arch,x\na,"1,234"\nb,"2,345,678.5"\nc,3\n', "x", (1234, 2345678.5, 3)),
    "decimal commas": ("arch;x\na;0,93\nb;1,234\nc;3\n", "x", (0.93, 1.234, 3)),
    "quoted decimal commas": ('arch,x\na,"0,93"\nb,"91,2"\nc,3\n', "x", (0.93, 91.2, 3)),
    "percent": ("arch,x\na,93%\nb,91.5 %\nc,\n", "x", (93, 91.5, math.nan)),
    "percent with commas": ("arch;x\na;93,25%\nb;91,5%\nc;\n", "x", (93.25, 91.5, math.nan)),
    "nothing": ("arch,x\na,1\nb,\nc,N/A\n", "x", (1, math.nan, math.nan)),
    "what failed": ("arch,x\na,1\nb,-inf\nc,3\n", "x", (1, -math.inf, 3)),
    "less is better": ("arch,loss\na,1\nb,2\nc,inf\n", "-loss", (-1, -2, -math.inf)),
    "more is better": ("arch,loss\na,1\nb,2\nc,3\n", "+loss", (1, 2, 3)),
    "negated before": ("arch,loss\na,-1\nb,-2\nc,-3\n", "loss", (-1, -2, -3)),
    "a column with a minus": ("arch,-loss\na,1\nb,2\nc,3\n", "-loss", (1, 2, 3)),
}
REFUSED = {  # by what is wrong: the text, the column, what is said
    "too long": ("arch,x\na,1\nb,1,234\n", "x", r"line 3: 3 cells, the header has 2"),
    "too short": ("arch,x,y\na,1,2\nb,2\n", "x", r"line 3: 2 cells, the header has 3"),
    "too short in a later line": ("# x\narch,x\n\na,1\nb\n", "x", r"line 5: 1 cells"),
    "no key": ("arch,x\na,1\n,2\n", "x", r"line 3: nothing in the column arch"),
    "twice but for blanks": ("arch,x\na,1\n a ,2\n", "x", r"has a twice, in line 2 and 3"),
    "no number": ("arch,x\na,1\nb,failed\n", "x", r"line 3: expected a number as x, got 'failed'"),
    "percent and fractions": ("arch,x\na,93%\nb,0.91\n", "x", r"line 3: expected percent in every"),
    "two meanings": ("arch;x\na;1,234\nb;5,678\n", "x", r"line 2: expected no comma that may mean"),
    "both commas": ("arch;x\na;0,93\nb;0.93\n", "x", r"line 2: expected no comma"),
    "grouped oddly": ('arch,x\na,"12,34"\nb,"1,234,567"\n', "x", r"line 2: expected no comma"),
    "infinite": ("arch,x\na,1\nb,inf\n", "x", r"line 3: inf as x would be the best of all"),
    "the lowest of all": ("arch,err\na,1\nb,-inf\n", "-err", r"line 3: -inf as -err would be"),
    "column twice": ("arch,x,x\na,1,2\n", "x", "has the column 'x' twice"),
    "no column": ("arch,x\na,1\n", "-y", "has no column 'y'"),
}


def _write(folder: Path, text: str) -> str:
    path = folder / "t.csv"
    path.write_bytes(text.encode())
    return str(path)


@pytest.mark.parametrize("name", READ)
def test_tables_are_read(tmp_path: Path, name: str) -> None:
    text, column, values = READ[name]
    found = read_table(_write(tmp_path, text), column).values
    assert found == pytest.approx(dict(zip("abc", values, strict=True)), nan_ok=True)


@pytest.mark.parametrize("name", REFUSED)
def test_or_refused_with_the_row(tmp_path: Path, name: str) -> None:
    text, column, said = REFUSED[name]
    with pytest.raises(UserError, match=said):
        read_table(_write(tmp_path, text), column)


@pytest.mark.parametrize(
    "column",
    [
        *("loss", "val_loss", "valLoss", "test-error", "top1err", "Latency (ms)", "perplexity"),
        *("train_seconds", "edgegpu_latency", "RMSE", "energy_mJ", "inference time"),
    ],
)
def test_less_of_an_error_is_better(tmp_path: Path, column: str) -> None:
    path = _write(tmp_path, f"arch,{column}\na,1\nb,2\n")
    with pytest.raises(UserError, match=r"less of .* seems to be better: write -"):
        read_table(path, column)
    less, more = (read_table(path, sign + column) for sign in "-+")
    assert less.values == {"a": -1, "b": -2}
    assert more.values == {"a": 1, "b": 2}
    assert less.metric == f"-{column}"
    assert less.identity != more.identity


@pytest.mark.parametrize("column", ["acc", "params", "flops", "lossless", "timely", "synflow"])
def test_more_of_anything_else_is_better(tmp_path: Path, column: str) -> None:
    path = _write(tmp_path, f"arch,{column}\na,1\nb,2\n")
    assert read_table(path, column).values == {"a": 1, "b": 2}
