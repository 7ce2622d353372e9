"""What a trial says: every ending, read back as it was written."""

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from nasproxy import UserError
from nasproxy.spaces.space import Architecture
from nasproxy.studies.record import Ending, numbers_of, read_claim, read_record, written
from nasproxy.workers.task import Failure

GOOD = Architecture({"width": 8}, {"width": optuna.distributions.IntDistribution(1, 9)}, "w8")
BAD = Architecture({}, {}, "w0", error="too thin")


def record(state: TrialState, attributes: dict, **more):
    study = optuna.create_study()
    study.add_trial(create_trial(state=state, user_attrs=attributes, **more))
    return read_record(study.trials[0])


@pytest.mark.parametrize(
    "state, attributes, value, ending, why, counts, has_result",
    [
        (TrialState.COMPLETE, written(GOOD), 0.5, Ending.SCORED, None, True, True),
        (TrialState.PRUNED, written(BAD), None, Ending.INVALID, "too thin", True, False),
        (
            *(TrialState.PRUNED, written(GOOD, Failure("no")), None),
            *(Ending.BROKEN, "no", True, True),
        ),
        (
            *(TrialState.PRUNED, written(GOOD, Failure("no row", "missing")), None),
            *(Ending.MISSING, "no row", True, False),
        ),
        (
            *(TrialState.PRUNED, {**written(GOOD), "duplicate": True}, None),
            *(Ending.DUPLICATE, None, False, False),
        ),
        (TrialState.FAIL, written(GOOD), None, Ending.LOST, None, False, False),
        (TrialState.RUNNING, written(GOOD), None, Ending.UNFINISHED, None, True, False),
        # its driver died between the ending and the state
        (
            *(TrialState.RUNNING, written(GOOD, Failure("no")), None),
            *(Ending.UNFINISHED, "no", True, False),
        ),
    ],
)
def test_every_ending(state, attributes, value, ending, why, counts, has_result) -> None:
    found = record(state, attributes, value=value)
    assert (found.ending, found.why, found.score) == (ending, why, value)
    assert (found.counts, found.has_result) == (counts, has_result)
    assert found.is_finished == (state is not TrialState.RUNNING)
    assert found.has_ended == (bool(attributes.keys() & set(Ending)))
    claim = read_claim(state, attributes)
    assert (claim.key, claim.counts, claim.is_finished) == (
        *(found.key, found.counts, found.is_finished),
    )


def test_what_was_stopped_has_the_score_of_its_last_rung() -> None:
    attributes = {**written(GOOD), Ending.STOPPED: 3}
    found = record(TrialState.PRUNED, attributes, intermediate_values={1: 0.1, 3: 0.3})
    assert (found.ending, found.epochs, found.score) == (Ending.STOPPED, 3, 0.3)
    assert found.has_result and found.why is None


def test_an_architecture_comes_back() -> None:
    trial = {"params": GOOD.choices, "distributions": GOOD.distributions}
    assert record(TrialState.RUNNING, written(GOOD), **trial).architecture() == GOOD
    assert record(TrialState.PRUNED, written(BAD)).architecture() == BAD
    with pytest.raises(UserError, match="has no drawn"):
        record(TrialState.RUNNING, {"architecture": "x"}).architecture()


def test_numbers_of_every_seed_come_back() -> None:
    one, two = {"score": 0.5, "loss": 1.0}, {"score": 0.7, "loss": float("inf")}
    attributes = written(GOOD) | numbers_of(one, seed=0) | numbers_of(two, seed=11)
    assert list(numbers_of(one, seed=0)) == ["loss_seed0", "score_seed0"]  # the score comes last
    found = record(TrialState.RUNNING, attributes)
    assert found.of_seed(0) == one and found.of_seed(11) == two
    assert found.of_seed(1) is None


def test_what_is_no_number_of_the_whole_is_left_out() -> None:
    scores = {"score": 1.0, "loss": 2.0, "curve@3": 1.0, "latency": float("nan")}
    assert numbers_of(scores) == {"loss": 2.0}
