"""How far a ranking can be trusted: studies joined on the architecture, correlated with truth."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nasproxy.correlation import (
    Array,
    bootstrap_spearman,
    kendall,
    percentile_interval,
    regret,
    spearman,
    top,
)
from nasproxy.errors import UserError
from nasproxy.files import write_atomically, write_json, write_text
from nasproxy.study import UNBIASED

RESAMPLES = 2000
TOP = 0.2  # the share of architectures, best by truth, within which rankings are compared again
_MIDDLE = 3  # fewest architectures that a correlation is computed for


@dataclass(frozen=True)
class Ranking:
    """One study beside the truth, over the architectures that both have.

    Attributes:
        study: its name.
        estimator: what gave the scores.
        n: architectures compared.
        broken: how many of them have no score here; they rank last.
        spearman: rho with the truth, None where one side is constant; so for the others.
        spearman_ci: its 95% percentile bootstrap interval over architectures.
        kendall: tau-b with the truth.
        spearman_top20: rho among the 20% best by truth.
        regret: best truth minus the truth of this ranking's first, in units of the truth.
        difference: rho minus that of each other ranking, by study name, with the interval from
            paired resamples: {"value": ..., "ci": [lo, hi]}.
        seconds_per_architecture: mean over architectures, all seeds together.
        seconds_once: spent before any architecture (condensing), None when unknown.
        speedup: seconds per architecture of the truth over those of this ranking.
        break_even: architectures after which `seconds_once` has been earned back.
    """

    study: str
    estimator: str
    n: int
    broken: int
    spearman: float | None
    spearman_ci: tuple[float | None, float | None]
    kendall: float | None
    spearman_top20: float | None
    regret: float | None
    difference: dict[str, Any]
    seconds_per_architecture: float | None
    seconds_once: float | None
    speedup: float | None
    break_even: int | None


@dataclass(frozen=True)
class Report:
    """Rankings beside the study named as truth; print it, or write it to a folder.

    Attributes:
        truth: name of the study.
        truth_estimator: what gave its scores.
        metric: what the truth measures.
        n: architectures that the truth and all rankings have in common.
        drawn: how they were drawn, ``uniform`` or ``all``.
        rankings: in the order given.
        provenance: identity, versions and hardware of the truth.
        points: per architecture its key, truth and scores (None: no score), for figures.
    """

    truth: str
    truth_estimator: str
    metric: str
    n: int
    drawn: str
    truth_seconds_per_architecture: float | None
    rankings: tuple[Ranking, ...]
    provenance: dict[str, Any]
    points: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with None for what is not defined."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join([*_headline(self), "", *_table(self), "", *_findings(self)])

    def to_markdown(self, figures: Sequence[str] = ()) -> str:
        """The report in Markdown, with links to figures in the same folder."""
        lines = ["# How far the rankings can be trusted", "", *_headline(self), "", *_table(self)]
        lines += ["", *(f"- {line}" for line in _findings(self)), ""]
        for name in figures:
            lines += [f"![{Path(name).stem.replace('_', ' ')}]({name})", ""]
        lines += ["## Made with", ""]
        lines += [f"- {key}: {value}" for key, value in self.provenance.items()]
        return "\n".join(lines) + "\n"

    def write(self, folder: str | Path, extra: dict[str, Any] | None = None) -> None:
        """Write ``report.json``, ``report.md`` and its PNG figures."""
        from nasproxy.figures import draw_scatter, draw_spearman

        folder = Path(folder)
        figures = {"spearman.png": draw_spearman, "scores.png": draw_scatter}
        for name, draw in figures.items():
            figure = draw(self)
            write_atomically(
                folder / name, lambda temporary: figure.savefig(temporary, format="png")
            )
        write_json(folder / "report.json", {**self.to_dict(), **(extra or {})})
        write_text(folder / "report.md", self.to_markdown(list(figures)))


def correlate(truth: optuna.Study, rankings: Sequence[optuna.Study], *, seed: int = 0) -> Report:
    """Correlate rankings with the study named as truth.

    Only architectures drawn without regard to a score count, and of these the ones that every
    study has: trials steered by a sampler crowd where scores are high, which biases any
    correlation. An architecture that broke while it was being scored ranks last.

    Args:
        truth: such as full-data training.
        rankings: one study or more.
        seed: of the bootstrap.

    Raises:
        UserError: fewer than three architectures are in common, or the studies are of different
            data or spaces.
    """
    if not rankings:
        raise UserError("correlate needs one ranking or more beside the truth")
    for study in rankings:
        _require_comparable(truth, study)
    columns = [_values(study) for study in (truth, *rankings)]
    keys = [key for key in columns[0] if all(key in column for column in columns)]
    if len(keys) < _MIDDLE:
        raise UserError(
            f"studies {', '.join(s.study_name for s in (truth, *rankings))} have {len(keys)} "
            f"uniformly drawn architectures in common, {_MIDDLE} is the least; score the same "
            "ones with --like"
        )
    table = np.array([[column[key] for key in keys] for column in columns])
    resampled = bootstrap_spearman(table[0], table[1:], RESAMPLES, seed)
    names = [study.study_name for study in rankings]
    truth_seconds = _mean_seconds(truth, keys)
    made = []
    for number, study in enumerate(rankings):
        versus = {
            name: resampled[number] - resampled[other]
            for other, name in enumerate(names)
            if other != number
        }
        scores = table[1 + number]
        seconds = _mean_seconds(study, keys)
        made.append(
            _ranking(study, table[0], scores, resampled[number], versus, seconds, truth_seconds)
        )
    rhos = {ranking.study: ranking.spearman for ranking in made}
    for ranking in made:
        for name, entry in ranking.difference.items():
            entry["value"] = _minus(ranking.spearman, rhos[name])
    drawn = {t.user_attrs["drawn"] for t in _unbiased(truth) if _key(t) in set(keys)}
    return Report(
        truth=truth.study_name,
        truth_estimator=_estimator(truth),
        metric=(truth.metric_names or ["score"])[0],
        n=len(keys),
        drawn="all" if drawn == {"all"} else "uniform",
        truth_seconds_per_architecture=truth_seconds,
        rankings=tuple(made),
        provenance={
            **truth.user_attrs,
            "bootstrap": f"percentile, {RESAMPLES} resamples of architectures, seed {seed}",
        },
        points=tuple(
            {"architecture": key, "truth": _finite(column[0])}
            | {name: _finite(score) for name, score in zip(names, column[1:], strict=True)}
            for key, column in zip(keys, table.T, strict=True)
        ),
    )


def _ranking(
    study: optuna.Study,
    truth: Array,
    scores: Array,
    resampled: Array,
    versus: dict[str, Array],
    seconds: float | None,
    truth_seconds: float | None,
) -> Ranking:
    best = top(truth, TOP)
    once = study.user_attrs.get("cost")
    speedup = break_even = None
    if seconds and truth_seconds:
        speedup = truth_seconds / seconds
        if once is not None and truth_seconds > seconds:
            break_even = math.ceil(once / (truth_seconds - seconds))
    return Ranking(
        study=study.study_name,
        estimator=_estimator(study),
        n=len(truth),
        broken=int(np.isneginf(scores).sum()),
        spearman=_finite(spearman(truth, scores)),
        spearman_ci=_interval(resampled),
        kendall=_finite(kendall(truth, scores)),
        spearman_top20=_finite(spearman(truth[best], scores[best])),
        regret=_finite(regret(truth, scores)),
        difference={name: {"value": None, "ci": _interval(d)} for name, d in versus.items()},
        seconds_per_architecture=seconds,
        seconds_once=once,
        speedup=speedup,
        break_even=break_even,
    )


def _require_comparable(truth: optuna.Study, study: optuna.Study) -> None:
    for key in ("space_sha256", "dataset_digest"):
        here, there = truth.user_attrs.get(key), study.user_attrs.get(key)
        if here is not None and there is not None and here != there:
            raise UserError(
                f"studies {truth.study_name!r} and {study.study_name!r} can't be compared: "
                f"{key} is {here} and {there}"
            )


def _unbiased(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that a correlation may use: drawn blindly, buildable, with a score or broken."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return [
        trial
        for trial in study.get_trials(deepcopy=False, states=states)
        if trial.user_attrs.get("drawn") in UNBIASED
        and (trial.state is TrialState.COMPLETE or "broken" in trial.user_attrs)
    ]


def _key(trial: FrozenTrial) -> str:
    return str(trial.user_attrs["architecture"])


def _values(study: optuna.Study) -> dict[str, float]:
    """Scores by architecture, minus infinity for the broken."""
    return {
        _key(trial): -math.inf if trial.state is TrialState.PRUNED else float(trial.value or 0)
        for trial in _unbiased(study)
    }


def _mean_seconds(study: optuna.Study, keys: Sequence[str]) -> float | None:
    """Mean time of an architecture, all its seeds together."""
    wanted, seeds = set(keys), study.user_attrs.get("seeds", 1)
    seconds = [
        trial.user_attrs["seconds"] * seeds
        for trial in _unbiased(study)
        if _key(trial) in wanted and "seconds" in trial.user_attrs
    ]
    return sum(seconds) / len(seconds) if seconds else None


def _estimator(study: optuna.Study) -> str:
    return str(study.user_attrs.get("estimator", study.study_name))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _interval(samples: Array) -> tuple[float | None, float | None]:
    low, high = percentile_interval(samples)
    return _finite(low), _finite(high)


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _headline(report: Report) -> list[str]:
    how = "all of the space" if report.drawn == "all" else "drawn uniformly"
    seconds = _number(report.truth_seconds_per_architecture, ".2f")
    return [
        f"{report.n} architectures, {how}. Truth: {report.truth} "
        f"({report.metric}, {seconds} s per architecture)."
    ]


def _table(report: Report) -> list[str]:
    """The figures as an aligned Markdown table."""
    rows = [
        ["ranking", "Spearman", "95% interval", "Kendall", "top 20%", "regret", "s/arch", "s once"]
    ]
    for r in report.rankings:
        low, high = (_number(x, ".2f") for x in r.spearman_ci)
        rows.append(
            [
                r.study,
                _number(r.spearman, ".3f"),
                f"[{low}, {high}]",
                _number(r.kendall, ".3f"),
                _number(r.spearman_top20, ".2f"),
                _number(r.regret, ".4f"),
                _number(r.seconds_per_architecture, ".3g"),
                _number(r.seconds_once, ".1f"),
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def _findings(report: Report) -> list[str]:
    """What the figures say, in words: a difference counts when its interval leaves 0 out."""
    said = []
    for number, one in enumerate(report.rankings):
        for other in report.rankings[number + 1 :]:
            entry = one.difference[other.study]
            low, high = entry["ci"]
            if entry["value"] is None or low is None or high is None:
                continue
            shown = f"{entry['value']:+.2f} [{low:+.2f}, {high:+.2f}]"
            if low > 0 or high < 0:
                word = "better" if low > 0 else "worse"
                said.append(f"{one.study} ranks {word} than {other.study}: {shown}.")
            else:
                said.append(f"{one.study} and {other.study} can't be told apart: {shown}.")
    for r in report.rankings:
        if r.broken:
            said.append(f"{r.study}: {r.broken} of {r.n} could not be scored and rank last.")
        if r.seconds_once and r.speedup:
            even = f", earned back after {r.break_even} architectures" if r.break_even else ""
            said.append(
                f"{r.study} takes {r.seconds_once:.1f} s once and is {r.speedup:.1f} times as "
                f"fast as the truth on each architecture{even}."
            )
    return said


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
