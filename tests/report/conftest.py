"""Made-up studies, and a report of a truth with a good ranking and noise."""

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial

from nasproxy import Report, correlate

N = 60


def make_study(name: str, scores: dict[int, float | None], drawn: str = "uniform", **attrs):
    """A study of made-up architectures; None is one that broke."""
    study = optuna.create_study(study_name=name, direction="maximize")
    same = {"space_sha256": "s", "dataset_digest": "d", "estimator": name, "cost": 0.0}
    for key, value in {**same, **attrs}.items():
        study.set_user_attr(key, value)
    for number, score in scores.items():
        about = {"architecture": f"a{number}", "drawn": drawn, "seconds": attrs.get("seconds", 1.0)}
        if score is None:
            about["broken"] = "why"
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED if score is None else TrialState.COMPLETE,
                value=score,
                params={"number": number},
                distributions={"number": IntDistribution(0, 10_000)},
                user_attrs=about,
            )
        )
    return study


@pytest.fixture
def values() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=N)
    return truth, truth + 0.3 * generator.normal(size=N), generator.normal(size=N)


@pytest.fixture
def report(values) -> Report:
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    return correlate(
        make_study("truth", truth, seconds=10.0),
        [make_study("good", good, cost=90.0), make_study("noise", noise)],
    )
