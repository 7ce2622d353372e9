import json

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial
from scipy import stats

import nasproxy
from nasproxy import UserError, calibrate
from nasproxy.estimators.ranks import normal_scores
from nasproxy.report.calibration import held_out, predict
from nasproxy.studies.statistics import percentile_interval, spearman
from tests.report.conftest import make_study

N = 80


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray]:
    """Truth (n,), and three rankings (3, n): a good one, a poor one, and noise."""
    generator = np.random.default_rng(3)
    truth = generator.normal(size=N)
    noise = generator.normal(size=(3, N))
    return truth, np.stack([truth + 0.4 * noise[0], truth + 1.5 * noise[1], noise[2]])


def test_normal_scores_are_quantiles_of_the_ranks() -> None:
    found = normal_scores([3.0, -np.inf, 3.0, 10.0])
    assert found == pytest.approx(stats.norm.ppf(np.array([2.5, 1, 2.5, 4]) / 5))


def test_weights_are_learnt_where_they_matter(scores) -> None:
    truth, rankings = scores
    others = np.arange(40, N)
    equal = sum(stats.rankdata(row) for row in rankings)
    predicted = predict(rankings, truth, np.arange(40))
    assert (
        spearman(truth[others], predicted[others]) > spearman(truth[others], equal[others]) + 0.05
    )
    assert spearman(truth[others], predicted[others]) > 0.85


def test_without_enough_to_learn_from_it_is_about_the_mean(scores) -> None:
    truth, rankings = scores
    alike = np.stack([rankings[0], rankings[0] + 1e-3 * rankings[2], rankings[0]])
    predicted = predict(alike, truth, np.arange(6))
    assert spearman(predicted, rankings[0]) > 0.99


def test_truths_that_are_not_known_are_not_looked_at(scores) -> None:
    truth, rankings = scores
    known = np.arange(20)
    other = truth.copy()
    other[20:] = np.nan
    assert np.array_equal(predict(rankings, truth, known), predict(rankings, other, known))


def test_held_out_is_about_others_than_the_known() -> None:
    """Rankings that say nothing have nothing to give, however well they fit the known."""
    means = []
    for seed in range(6):
        generator = np.random.default_rng(seed)
        truth, rankings = generator.normal(size=60), generator.normal(size=(15, 60))
        mean, samples = held_out(rankings, truth, 20, draws=20)
        assert samples.shape == (20,)
        assert np.percentile(samples, 2.5) < mean < np.percentile(samples, 97.5)
        means.append(mean)
    assert abs(np.mean(means)) < 0.1


def _studies(scores, known: int):
    truth, rankings = scores
    columns = [dict(enumerate(row.tolist())) for row in rankings]
    full = make_study("full", dict(enumerate(truth[:known].tolist())))
    return full, [make_study(f"r{i}", column) for i, column in enumerate(columns)]


def test_all_architectures_are_ranked_by_the_truth_of_some(scores) -> None:
    truth, _ = scores
    found = calibrate(*_studies(scores, 20))
    assert (found.known, found.studies, len(found.ranking)) == (20, ("r0", "r1", "r2"), N)
    predicted = {row["architecture"]: row["predicted"] for row in found.ranking}
    assert list(predicted.values()) == sorted(predicted.values(), reverse=True)
    assert sum(row["truth"] is not None for row in found.ranking) == 20
    unseen = np.array([predicted[f"a{i}"] for i in range(20, N)])
    assert spearman(unseen, truth[20:]) > 0.8
    low, high = found.spearman_ci
    assert low < found.spearman < high
    assert "20 of full" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_broken_architecture_ranks_low(scores) -> None:
    truth, rankings = scores
    full, studies = _studies(scores, 20)
    worst = int(truth[20:].argmax()) + 20
    broken = {i: None if i == worst else float(v) for i, v in enumerate(rankings[0])}
    before = [row["architecture"] for row in calibrate(full, studies).ranking]
    after = calibrate(full, [make_study("r0", broken), *studies[1:]])
    assert after.known == 20
    assert [r["architecture"] for r in after.ranking].index(f"a{worst}") > before.index(f"a{worst}")


def test_too_little_truth_is_refused(scores) -> None:
    full, studies = _studies(scores, 4)
    with pytest.raises(UserError, match="the truth of 4 of the 80 architectures"):
        calibrate(full, studies)
    with pytest.raises(UserError, match="expected one ranking or more, each once, got none"):
        calibrate(full, [])
    with pytest.raises(UserError, match="each once, got r0, r0"):
        calibrate(full, [studies[0], studies[0]])


def test_what_can_t_be_compared_is_refused(scores) -> None:
    full, studies = _studies(scores, 20)
    with pytest.raises(UserError, match="dataset_digest is d and other"):
        calibrate(full, [make_study("r", {i: 1.0 * i for i in range(N)}, dataset_digest="other")])
    about = {**full.trials[0].user_attrs, "stopped": 3}
    ended = {"state": TrialState.PRUNED, "intermediate_values": {3: 0.5}}
    full.add_trial(create_trial(user_attrs=about, **ended))
    with pytest.raises(UserError, match="it is no truth"):
        calibrate(full, studies)


def test_on_the_command_line(command, tmp_path) -> None:
    storage = f"sqlite:///{tmp_path / 'a.db'}"
    space = nasproxy.load_space("nasbench201")
    cells = space.sample(30, 0, (3, 32, 32), 10)
    table = tmp_path / "t.csv"
    lines = ["arch,truth,score"]
    lines += [f"{cell.key},{i if i < 12 else ''},{i + 3 * (i % 3)}" for i, cell in enumerate(cells)]
    table.write_text("\n".join(lines) + "\n")
    same = ("--space", "nasbench201", "--trials", 30, "--storage", storage, "--data", "digits")
    status, _, error = command("rank", "--by", "params", *same, "--study", "params")
    assert status == 0, error
    status, out, error = command(
        *("calibrate", "--truth", f"table:{table}:truth", "--study", f"table:{table}:score"),
        *("--study", "params", "--storage", storage, "--json"),
    )
    assert status == 0, error
    found = json.loads(out)
    assert (found["known"], len(found["ranking"])) == (12, 30)
    assert found["spearman"] > 0.5
    again = ("rank", "--by", "params", *same, "--study", "params", "--truth")
    status, out, error = command(*again, f"table:{table}:truth", "--json")  # likewise, in one go
    assert status == 0, error
    learnt = json.loads(out)
    alone = calibrate(f"table:{table}:truth", ["params"], storage=storage)
    assert [(row["architecture"], row["score"]) for row in learnt["ranking"]] == [
        (row["architecture"], row["predicted"]) for row in alone.ranking
    ]
    assert learnt["calibration"]["spearman"] == alone.spearman
    status, out, error = command(*again, f"table:{table}:truth")
    assert "Calibrated by 12 of truth." in out
    for wrong in ("nothing", f"table:{table}:no"):
        status, out, error = command(*again, wrong)
        assert (status, out, error.count("\n")) == (2, "", 1)
    status, out, error = command(
        "calibrate", "--truth", "nothing", "--study", "params", "--storage", storage
    )
    assert (status, out) == (2, "")
    assert "no study 'nothing'" in error


def test_useless_rankings_have_no_correlation_and_an_interval_that_says_so() -> None:
    """Each left out of its own prediction, they would have one of -.15 with 10 that are known."""
    rhos, holds = [], 0
    for seed in range(12):
        generator = np.random.default_rng(seed)
        truth, rankings = generator.normal(size=10), generator.normal(size=(3, 10))
        rho, samples = held_out(rankings, truth, 6, draws=30)
        low, high = percentile_interval(samples)
        rhos.append(rho)
        holds += low <= 0 <= high
    assert abs(np.mean(rhos)) < 0.15
    assert holds == 12


def test_it_says_what_was_held_out_and_what_broke(scores) -> None:
    truth, rankings = scores
    known = {i: None if i == 4 else float(truth[i]) for i in range(5)}
    columns = [dict(enumerate(row.tolist())) for row in rankings]
    studies = [make_study(f"r{i}", column) for i, column in enumerate(columns)]
    found = calibrate(make_study("full", known), studies)
    assert (found.known, found.broken, found.held_out) == (5, 1, 3)
    assert "the truth of 3 of these 5, held out of what it learns from, mean over 100 draws" in str(
        found
    )
    assert "1 of the 5 broke by full and rank last." in str(found)
    equal = calibrate(make_study("full", dict.fromkeys(range(5), 1.0)), studies)
    assert equal.spearman is None
    assert "not defined" in str(equal)
