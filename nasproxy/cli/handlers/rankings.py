"""Rankings: made, compared with the truth, calibrated."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from nasproxy.cli.answer import Answer, answer_of
from nasproxy.cli.commands import COMMANDS
from nasproxy.cli.handlers.data import loaded
from nasproxy.errors import UserError
from nasproxy.estimators.making import is_table, parse_by
from nasproxy.report.calibration import calibrate
from nasproxy.report.dashboard import attach, pictures
from nasproxy.report.report import correlate
from nasproxy.report.sources import Reading, each_of, make_sources, scores_among
from nasproxy.studies.identity import reading_of
from nasproxy.studies.rank import rank
from nasproxy.studies.record import Ending, read_records, scored
from nasproxy.studies.reliability import reliability_of
from nasproxy.studies.storage import (
    STORAGE_ERRORS,
    hide_password,
    storage_failure,
    without_passwords,
)
from nasproxy.system.files import make_folder, write_text

_SHOWN = 10  # architectures of a ranking; all are in the JSON


def on_rank(truth: str | None = None, **given: Any) -> Answer:
    """Score architectures; the study that keeps them is the ranking.

    Args:
        truth: study of full trainings of a few of them, or table:FILE:COLUMN, that what is shown
            learns from, as `calibrate` does; five or more, drawn uniformly.
    """
    given = loaded(given)
    by = parse_by(given["by"])
    given["study"] = given["study"] or by.study_name
    if truth is not None:  # before hours of scoring for nothing
        make_sources([truth], given["storage"])
    return _answer(rank(**given), given["storage"], by.options.get("read"), truth)


def on_correlate(out: str | None = None, **given: Any) -> Answer:
    """Correlate rankings with the study named as truth.

    Args:
        out: folder for report.json, report.md and figures.
    """
    given["combine"] = [_named(parts, given["rankings"]) for parts in given["combine"]]
    report, storages = correlate(**given), each_of(given["storage"])
    if out:
        make_folder(Path(out))
        command = COMMANDS["correlate"].line("correlate", {"out": out, **given})
        found = {name: png for one in storages for name, png in pictures(report, one).items()}
        report.write(out, None, found, without_passwords(command))
    for one in storages:
        try:
            attach(report, one)
        except (UserError, *STORAGE_ERRORS, optuna.exceptions.OptunaError) as error:  # no failure
            said = str(error) if isinstance(error, UserError) else storage_failure(error)
            print(f"nasproxy: the dashboard does not show this report: {said}", file=sys.stderr)
    return answer_of(report)


def _named(parts: list[str], rankings: list[str]) -> list[str]:
    """The names in a text that was split at its commas, some of which belong to names.

    Raises:
        UserError: it can be read in several ways.
    """
    known = {*rankings, *(name.rpartition(":")[2] for name in rankings if is_table(name))}
    ways = [[]] if not parts else _ways(parts, known)
    if len(ways) > 1:
        read = " or ".join(" with ".join(map(repr, way)) for way in ways)
        raise UserError(f"--combine {','.join(parts)} may be {read}: give a study another name")
    return ways[0] if ways else parts


def _ways(parts: list[str], known: set[str]) -> list[list[str]]:
    """All ways to join neighbouring parts by commas into known names."""
    if not parts:
        return [[]]
    firsts = [(",".join(parts[:end]), parts[end:]) for end in range(1, len(parts) + 1)]
    return [[name, *rest] for name, left in firsts if name in known for rest in _ways(left, known)]


def on_calibrate(out: str | None = None, **given: Any) -> Answer:
    """Rank all architectures by cheap rankings, calibrated by the full trainings of a few.

    Args:
        out: file for the names of the best, one a line, which rank --like takes.
    """
    found = calibrate(**given)
    if out:
        best = [row["architecture"] for row in found.ranking[: found.top]]
        write_text(Path(out), "".join(f"{name}\n" for name in best))
    return answer_of(found)


def _answer(study: optuna.Study, storage: str, read: str | None, truth: str | None) -> Answer:
    """A study's architectures, best first.

    Args:
        study: the ranking.
        storage: its URL.
        read: the reading that was asked for, which may be another than the study's own.
        truth: what the ranking learns from; None is nothing.
    """
    records = scored(study)
    other = read if read not in (None, reading_of(study)) else None
    scores = scores_among(study, records, other)
    learnt = None
    if truth is not None:
        ranking = study if other is None else Reading(study, other)
        learnt = calibrate(truth, [ranking], storage=storage)
        predicted = {row["architecture"]: row["predicted"] for row in learnt.ranking}
        records = [record for record in records if record.key in predicted]
        scores = np.array([predicted[record.key] for record in records])
    rows = [
        {"architecture": records[i].key, "score": float(scores[i]), "params": records[i].choices}
        for i in np.argsort(-scores, kind="stable")
    ]
    name = study.study_name if other is None else f"{study.study_name}@{other}"
    lines = [f"{name}: {len(rows)} architectures by {study.user_attrs['estimator']}"]
    known = reliability_of(study, other)
    if known is not None:
        lines += known.in_words(name)
    if learnt is not None:
        lines += learnt.in_words()
    if learnt is None and known is not None and known.is_settled is False:
        lines.append("No best is named; --json has all scores.")
    else:
        lines += [f"  {row['score']:<10.6g} {row['architecture']}" for row in rows[:_SHOWN]]
        if len(rows) > _SHOWN:
            lines.append(f"  ... and {len(rows) - _SHOWN} more")
    made: dict[str, Any] = {
        "study": study.study_name,
        "storage": hide_password(storage),
        "ranking": rows,
    }
    made["broken"] = [
        {"architecture": record.key, "why": record.why}
        for record in read_records(study)
        if record.ending is Ending.BROKEN
    ]
    made["reliability"] = None if known is None else known.to_dict()
    made["calibration"] = None
    if learnt is not None:
        made["calibration"] = {k: v for k, v in learnt.to_dict().items() if k != "ranking"}
    return Answer(made, "\n".join(lines))
