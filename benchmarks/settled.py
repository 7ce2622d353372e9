"""Has the ranking of a truth settled? What its own trainings say, at their marks and by two seeds.

    python -m benchmarks truth --bed NAME --show

An earlier epoch of the same training agrees with its end in what chance did to it, too. So it is
compared with another training's end as well: where that agrees no less than the two ends do,
more epochs change the ranking by less than another seed does.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.results import table
from nasproxy.studies.statistics import (
    Array,
    bootstrap_spearman,
    percentile_interval,
    resample_count,
    spearman,
    top,
)

BEST = 0.2  # share of the best, by the end, that is looked at alone


def settled(rows: Sequence[Mapping[str, str]], marks: Sequence[int]) -> str:
    """Spearman, its 95% interval and n of the pairs that tell, as a Markdown table.

    Args:
        rows: of a truth's CSV.
        marks: epochs whose accuracies are in it.
    """
    first, second = "test_acc_s1", "test_acc_s2"
    pairs = [(f"epoch {e}, its own end", f"{first}_e{e}", first) for e in marks]
    pairs += [(f"epoch {e}, another's end", f"{first}_e{e}", second) for e in marks]
    pairs += [("end, another's end", first, second)]
    found = []
    for name, before, end in pairs:
        a, b = _both(rows, before, end)
        best = top(b, BEST) if len(b) else np.arange(0)
        found.append(
            {
                "accuracy after": name,
                "n": len(a),
                "Spearman": _agreement(a, b),
                "n of the best fifth": len(best),
                "Spearman there": _agreement(a[best], b[best]),
            }
        )
    return table(found)


def _both(rows: Sequence[Mapping[str, str]], *columns: str) -> tuple[Array, ...]:
    """Columns of the architectures that have all of them; those that broke rank last in each."""
    broken = float("-inf")
    kept = [row for row in rows if row["test_acc"] == "-inf" or all(row.get(c) for c in columns)]
    return tuple(np.array([float(row.get(c) or broken) for row in kept]) for c in columns)


def _agreement(a: Array, b: Array) -> str:
    """Spearman with its 95% bootstrap interval, resampled over architectures."""
    if len(a) < 3:
        return "-"
    (samples,) = bootstrap_spearman(b, a[None], resample_count(len(a)))
    low, high = percentile_interval(samples)
    return f"{spearman(a, b):.3f} [{low:.2f}, {high:.2f}]"
