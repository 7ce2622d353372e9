"""What a ranking by trainings says of itself, against what is known of made-up ones."""

import json
import math

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState, create_trial

import nasproxy
from nasproxy.data.images import ImageSet, Normalisation
from nasproxy.estimators.training import linear_accuracy
from nasproxy.report.report import correlate
from nasproxy.studies.note import describe_study
from nasproxy.studies.reliability import FEWEST, reliability_of
from nasproxy.studies.statistics import spearman
from nasproxy.training.training import Training, evaluate_network
from tests.conftest import QUICK, scored
from tests.report.conftest import make_study

RECIPE = json.dumps(QUICK.to_dict())


def made(numbers: list[dict[str, float]], **attributes) -> optuna.Study:
    """A study of trainings with such numbers; what has none broke."""
    about = {"kind": "proxy", "recipe": RECIPE, "space_sha256": "s", "estimator": "p", "cost": 0.0}
    study = optuna.create_study(study_name="p", direction="maximize")
    for key, value in {**about, **attributes}.items():
        study.set_user_attr(key, value)
    for k, of in enumerate(numbers):
        state = TrialState.COMPLETE if of else TrialState.PRUNED
        said = {} if of else {"broken": "why"}
        attrs = {"architecture": f"a{k}", "drawn": "uniform", **of, **said}
        study.add_trial(create_trial(state=state, value=of.get("accuracy"), user_attrs=attrs))
    return study


def test_halves_are_what_the_training_had_half_way(data, tiny_space, tmp_path) -> None:
    """Against a training of the same seed that is stopped there, and looked at."""
    recipe = nasproxy.Recipe(epochs=5, batch_size=64, augment="none")
    proxy = nasproxy.condense(data, "random", ipc=20)
    study = nasproxy.rank(
        tiny_space, proxy, data=data, recipe=recipe, sampler="all", jobs=1, seed=3
    )
    trials = scored(study)
    for trial in trials:
        torch.manual_seed(3)
        network = tiny_space.build(trial.params, data.input_shape, data.num_classes)
        training = Training(network, proxy.image_set, recipe, data.normalisation, seed=3)
        training.run(2)
        there = evaluate_network(training.network, data.validation, data.normalisation)
        assert trial.user_attrs["accuracy_half"] == there.accuracy
        assert trial.user_attrs["loss_half"] == pytest.approx(there.loss)
        assert trial.user_attrs["train_loss_half"] == pytest.approx(training.loss)
    known = reliability_of(study)
    of = [[t.user_attrs[f"accuracy{end}"] for t in trials] for end in ("_half", "")]
    if len(trials) >= FEWEST:
        assert known is not None and known.of_halves is not None
        assert known.of_halves.spearman == pytest.approx(spearman(*map(np.array, of)), nan_ok=True)
    else:
        assert known is None


def test_the_ceiling_holds_beside_a_truth_without_noise() -> None:
    """What two trainings say of each other bounds what their mean shows of the truth."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=4000)
    for noise in (0.3, 1.0, 3.0):
        seeds = truth[:, None] + noise * generator.normal(size=(4000, 3))
        rows = []
        for row in seeds.tolist():
            both = ("score", "accuracy")
            of_each = {f"{name}_seed{k}": v for k, v in enumerate(row) for name in both}
            rows.append({"accuracy": sum(row) / 3, **of_each})
        known = reliability_of(made(rows[:400], seeds=3))
        assert known is not None and known.of_seeds is not None
        reached = spearman(truth[:400], seeds[:400].mean(1))
        assert known.ceiling == pytest.approx(reached, abs=0.06)
        low, high = known.of_seeds.ci
        assert low < known.of_seeds.spearman < high
        assert low < spearman(*seeds.T[:2]) < high


def of_halves(agree: bool, above: float = 1.0, n: int = 20) -> optuna.Study:
    generator = np.random.default_rng(1)
    end = 0.3 + 0.5 * generator.random(n)
    half = end - 0.1 if agree else generator.random(n)
    end[: round(n * (1 - above))] = 0.1
    rows = [{"accuracy": float(e), "accuracy_half": float(h)} for e, h in zip(end, half)]
    return made([*rows, {}], chance=0.1, linear_accuracy=0.5)


def test_what_is_not_settled_is_said_and_names_no_best() -> None:
    for study, settled in (
        (of_halves(True), True),
        (of_halves(False), False),
        (of_halves(True, above=0.3), False),
        (made([{"accuracy": k / 9} for k in range(9)]), None),  # by an older version
    ):
        known = reliability_of(study)
        assert known is not None and known.is_settled is settled
        said = " ".join(known.in_words("p"))
        assert ("p is not settled" in said) is (settled is False)
        assert all(line in describe_study(study, {}) for line in known.in_words("This ranking"))
        truth = {k: float(k) for k in range(9)}
        report = correlate(make_study("truth", truth), [study])
        assert all(line in str(report) for line in known.in_words("p"))
        kept = report.to_dict()["rankings"][0]["reliability"]
        assert (kept["of_halves"] is None) is (settled is None)


def test_what_is_no_training_says_nothing_of_itself() -> None:
    numbers = [{"accuracy": k / 9} for k in range(9)]
    assert reliability_of(made(numbers, kind="free")) is None
    assert reliability_of(made(numbers, kind="table")) is None
    assert reliability_of(made(numbers[: FEWEST - 1])) is None


def test_rank_tells(command, npz: str, tiny_space_file: str, tmp_path) -> None:
    """On labels that say nothing all networks stay at chance, and none is named."""
    x = np.random.default_rng(0).integers(0, 256, (400, 8, 8), dtype=np.uint8)
    y = np.random.default_rng(1).integers(0, 3, 400)
    np.savez(tmp_path / "noise.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    space = tmp_path / "wide.py"
    space.write_text(
        "from torch import nn\n\n\ndef build(trial, input_shape, num_classes):\n"
        "    width = trial.suggest_int('width', 1, 12)\n"
        "    layers = [nn.Flatten(), nn.Linear(64, width), nn.Linear(width, num_classes)]\n"
        "    return nn.Sequential(*layers)\n"
    )
    words = ["rank", "--by", "full:epochs=2", "--space", space, "--sampler", "all"]
    storage = ["--storage", f"sqlite:///{tmp_path}/s.db"]
    for data, settled in ((tmp_path / "noise.npz", False), (npz, True)):
        status, out, _ = command(*words, "--data", data, *storage, "--study", str(settled))
        assert status == 0
        assert ("is not settled" in out) is not settled
        assert ("No best is named" in out) is not settled
        assert len(out.splitlines()) > 10 or not settled
        again = [*words, "--data", data, *storage, "--study", str(settled), "--json"]
        document = json.loads(command(*again)[1])
        assert document["reliability"]["is_settled"] is settled
        assert len(document["ranking"]) == 12


def test_the_linear_classifier_is_one() -> None:
    """On what a plane separates it is right, on what only shape tells it is at chance."""
    generator = torch.Generator().manual_seed(0)
    as_they_are = Normalisation((0.0,), (1.0,))
    for tells, low, high in ((True, 0.95, 1.0), (False, 0.3, 0.7)):
        sets = []
        for n in (200, 300):
            labels = torch.arange(n) % 2
            images = torch.randn(n, 1, 6, 6, generator=generator)
            sign = torch.randint(0, 2, (n,), generator=generator) * 2.0 - 1
            images[:, 0, 0, 0] = 4 * (2.0 * labels - 1) if tells else sign
            images[:, 0, 0, 1] = 0 if tells else sign * (2.0 * labels - 1)  # an exclusive or
            sets.append(ImageSet(images, labels))
        assert low <= linear_accuracy(*sets, as_they_are, 2) <= high
    assert math.isfinite(linear_accuracy(sets[0], sets[1], as_they_are, 2))


LATE_SPACE = """
import torch
from torch import nn

class Late(nn.Module):
    \"\"\"Says the same of all images until it was trained for some updates.\"\"\"

    def __init__(self, size, classes):
        super().__init__()
        self.linear = nn.Linear(size, classes)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return self.linear(x.flatten(1)) * (self.seen > 5)

def build(trial, input_shape, num_classes):
    trial.suggest_int("width", 1, 6)
    return Late(torch.Size(input_shape).numel(), num_classes)
"""


def test_what_is_not_settled_is_trained_for_twice_as_long(data, tmp_path) -> None:
    (tmp_path / "late.py").write_text(LATE_SPACE)
    storage = f"sqlite:///{tmp_path / 's.db'}"
    proxy = nasproxy.condense(data, "random", ipc=20)
    given: dict = {
        "data": data, "sampler": "all", "jobs": 1, "storage": storage,
        "recipe": nasproxy.Recipe(steps=2, batch_size=20, augment="none", lr=0.01),
    }  # fmt: skip
    space = str(tmp_path / "late.py")
    for doublings, last in ((0, "p"), (1, "p-x2"), (5, "p-x4")):
        study = nasproxy.rank(space, proxy, study="p", doublings=doublings, **given)
        assert study.study_name == last
        assert json.loads(study.user_attrs["recipe"])["steps"] == 2 * int(last[3:] or 1)
    assert reliability_of(study).is_settled is not False  # 8 updates, of which 3 are learnt from
    assert len(scored(study)) == 6
    names = optuna.get_all_study_names(storage)
    assert sorted(names) == ["p", "p-x2", "p-x4"]
    pruned = {"pruner": "halving", "recipe": QUICK}
    for by, more in (("params", {}), (proxy, {"sampler": "tpe"}), (proxy, pruned)):
        with pytest.raises(nasproxy.UserError, match="doublings are of trainings"):
            nasproxy.rank(space, by, doublings=1, **{**given, "study": "q", **more})
    with pytest.raises(nasproxy.UserError, match="doublings of 0 or more, got -1"):
        nasproxy.rank(space, proxy, doublings=-1, **given)
