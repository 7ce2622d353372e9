"""Trials written together are those that Optuna writes one by one."""

from datetime import datetime
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nasproxy import UserError
from nasproxy.studies.database import write_trials
from nasproxy.studies.storage import database_of, open_storage


def trials() -> list[FrozenTrial]:
    width, kind = IntDistribution(1, 64, log=True), CategoricalDistribution(["a", 2, None, True])
    rate = FloatDistribution(1e-4, 1.0)
    made = [
        create_trial(
            state=TrialState.COMPLETE,
            value=value,
            params={"width": 2**k, "kind": kind.choices[k % 4]} | ({"rate": 0.1} if k % 2 else {}),
            distributions={"width": width, "kind": kind} | ({"rate": rate} if k % 2 else {}),
            user_attrs={"architecture": f"ä {k}", "numbers": [k, 0.1], "deep": {"x": None}},
            intermediate_values={1: 0.5, 20: float("nan"), 30: float("-inf")} if k == 3 else {},
        )
        for k, value in enumerate([0.1, -1e9, float("inf"), 3.0, float("-inf")])
    ]
    return [*made, create_trial(state=TrialState.PRUNED, user_attrs={"broken": "why"})]


def told(study: optuna.Study, states: tuple[TrialState, ...] | None = None) -> list[str]:
    return [
        f"{t.number} {t.state} {t.value} {t.params} {t.distributions} {t.system_attrs} "
        f"{sorted(t.user_attrs.items())} {sorted(t.intermediate_values.items())}"
        for t in study.get_trials(states=states)
    ]


def make(path: Path) -> optuna.Study:
    return optuna.create_study(
        study_name="s", direction="maximize", storage=open_storage(f"sqlite:///{path}")
    )


def test_they_are_what_optuna_writes(tmp_path: Path) -> None:
    one_by_one, together = make(tmp_path / "a.db"), make(tmp_path / "b.db")
    other = optuna.create_study(study_name="other", storage=together._storage)
    other.add_trials(trials())
    for _ in range(2):  # on an empty study, and after others
        one_by_one.add_trials(trials())
        write_trials(database_of(together._storage), together._study_id, trials)
    assert told(together) == told(one_by_one)
    assert [t.number for t in other.get_trials()] == list(range(6))
    again = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'b.db'}")
    assert told(again) == told(one_by_one)
    assert again.best_trial.number == 2
    starts = [t.datetime_start for t in again.get_trials()]
    assert all(abs((start - datetime.now()).total_seconds()) < 600 for start in starts)
    again.optimize(lambda trial: trial.suggest_int("width", 1, 64, log=True), n_trials=1)
    assert again.trials[-1].number == 12


def test_they_are_read_as_optuna_reads_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    ours = optuna.create_study(study_name="s", storage=open_storage(url))
    other = optuna.create_study(study_name="other", storage=url)
    other.add_trials(trials())
    other.ask(fixed_distributions=trials()[1].distributions).report(0.25, 3)
    ours.add_trials(trials())
    running = [ours.ask(fixed_distributions=trials()[1].distributions) for _ in range(2)]
    ours.add_trials(trials()[:2])
    ours._storage.set_trial_system_attr(running[0]._trial_id, "beats", 3)
    theirs = optuna.load_study(study_name="s", storage=url)
    for _ in range(2):
        fresh = optuna.load_study(study_name="s", storage=open_storage(url))
        assert told(ours) == told(fresh) == told(theirs)
        for states in ((TrialState.RUNNING,), (TrialState.COMPLETE, TrialState.PRUNED)):
            assert told(fresh, states) == told(theirs, states)
        ours.tell(running.pop(0), 4.0)  # what was running ends below what is known
    with pytest.raises(KeyError):
        open_storage(url).get_all_trials(99)


def test_another_distribution_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    study = make(tmp_path / "a.db")
    study.add_trials(trials()[:1])
    changed = create_trial(
        state=TrialState.COMPLETE,
        value=1.0,
        params={"kind": "b"},
        distributions={"kind": CategoricalDistribution(["a", "b"])},
    )
    with pytest.raises(UserError, match="parameter 'kind'"):
        write_trials(database_of(study._storage), study._study_id, lambda: [trials()[1], changed])
    assert len(study.get_trials()) == 1


@pytest.mark.parametrize("statement", range(7))
def test_who_ends_a_trial_while_it_is_read_takes_nothing_from_it(
    tmp_path: Path, statement: int
) -> None:
    """Each statement sees the database as it is by then; what has ended is never read again."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    writer = optuna.create_study(study_name="s", storage=url)
    reader = optuna.load_study(study_name="s", storage=open_storage(url))
    trial, come = writer.ask(trials()[1].distributions), 0

    def between(*given: object) -> None:
        nonlocal come
        come += 1
        if come == statement + 1:
            trial.set_user_attr("architecture", "a")
            writer.tell(trial, 0.5)

    engine = database_of(reader._storage).engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", between)
    seen = reader.get_trials()[0]
    assert come > statement
    if seen.state is TrialState.COMPLETE:
        assert (seen.value, seen.user_attrs["architecture"]) == (0.5, "a")
    assert told(reader) == told(writer)
