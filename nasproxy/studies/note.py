"""A study in words: the Markdown note that optuna-dashboard shows with it."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.storages import InMemoryStorage

from nasproxy.studies.dashboard import keep_note, keep_picture, note_of, picture_addresses
from nasproxy.studies.record import WITHOUT_SCORE, Ending, Record, read_records
from nasproxy.studies.reliability import reliability_of

_BESIDE = "## Beside the truth"
_MADE_WITH = "## Made with"
_REASONS = 5  # shown of each


def annotate(
    study: optuna.Study,
    pictures: Mapping[str, Callable[[], bytes]] | None = None,
    beside_the_truth: str | None = None,
) -> None:
    """Write a study's note anew; one in memory has no dashboard, and is left alone.

    Args:
        study: of our making.
        pictures: what draws the PNGs to show with it, by name; each takes the place of the one
            that had its name.
        beside_the_truth: what a report says of it, in Markdown; None leaves what is there.

    Raises:
        UserError: the pictures' folder can't be written to.
    """
    if isinstance(study._storage, InMemoryStorage):
        return
    for name, draw in (pictures or {}).items():
        keep_picture(study, name, draw())
    if beside_the_truth is None:
        beside_the_truth = note_of(study).partition(_BESIDE)[2].partition(_MADE_WITH)[0].strip()
    keep_note(study, describe_study(study, picture_addresses(study), beside_the_truth))


def describe_study(
    study: optuna.Study, pictures: Mapping[str, str], beside_the_truth: str = ""
) -> str:
    """What was ranked, on what and how, what could not be scored, and what it was made with.

    Args:
        study: of our making.
        pictures: addresses by caption.
        beside_the_truth: what a report says of it, in Markdown.
    """
    attributes, records = study.user_attrs, read_records(study)
    lines = [f"# {study.study_name}", "", _what(attributes, records, study), ""]
    for caption, address in pictures.items():
        lines += [f"{caption}:", "", f"![{caption}]({address})", ""]
    if any(record.by_epoch for record in records):
        lines += [
            "Intermediate values are the scores at the pruner's rungs."
            if attributes.get("pruner", "none") != "none"
            else "Intermediate values are the training loss, after each tenth of the epochs.",
            "",
        ]
    if known := reliability_of(study):
        lines += [*(f"- {line}" for line in known.in_words("This ranking")), ""]
    for ending in WITHOUT_SCORE:
        lines += _reasons(ending, [r.why or "" for r in records if r.ending is ending])
    if beside_the_truth:
        lines += [_BESIDE, "", beside_the_truth, ""]
    lines += [_MADE_WITH, "", "| | |", "|---|---|"]
    lines += [f"| {key} | {_cell(value)} |" for key, value in attributes.items()]
    return "\n".join(lines) + "\n"


def _what(attributes: Mapping[str, Any], records: list[Record], study: optuna.Study) -> str:
    done = Counter(r.drawn for r in records if r.ending is Ending.SCORED)
    how = {"uniform": "drawn uniformly", "all": "the whole space", "given": "given by hand"}
    drawn = ", ".join(f"{n} {how.get(str(d), f'by {d}')}" for d, n in done.most_common()) or "none"
    data = f" on {attributes['dataset']}" if "dataset" in attributes else ""
    seeds = int(attributes.get("seeds", 1))
    metric = (study.metric_names or ["score"])[0]
    return (
        f"Architectures of **{attributes.get('space', '?')}** ranked by "
        f"**{attributes.get('estimator', '?')}**{data}. Scored: {drawn}. The score is "
        f"{metric}{f', the mean of {seeds} trainings' if seeds > 1 else ''}; higher is better."
    )


def _reasons(ending: Ending, reasons: list[str]) -> list[str]:
    if not reasons:
        return []
    counted = Counter(reasons)
    lines = [f"## {len(reasons)} {ending}", ""]
    lines += [f"- {n} x {_cell(why)}" for why, n in counted.most_common(_REASONS)]
    if len(counted) > _REASONS:
        lines.append(f"- and {len(counted) - _REASONS} other reasons")
    return [*lines, ""]


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return " ".join(text.split()).replace("|", "\\|")
