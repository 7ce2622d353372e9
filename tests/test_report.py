import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial
from scipy import stats

from nasproxy import Reading, Report, UserError, correlate
from nasproxy.figures import draw_cost, draw_regret, draw_scatter, plain_text
from nasproxy.words import advice, findings

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


def test_figures_are_scipys(report: Report, values) -> None:
    truth, good, _ = values
    ranking = report.rankings[0]
    assert report.n == ranking.n == N
    assert ranking.spearman == pytest.approx(stats.spearmanr(truth, good).statistic)
    assert ranking.kendall == pytest.approx(stats.kendalltau(truth, good).statistic)
    low, high = ranking.spearman_ci
    assert low < ranking.spearman < high
    best = np.argsort(-truth)[: N // 5]
    inside = stats.spearmanr(truth[best], good[best]).statistic
    assert ranking.spearman_top20 == pytest.approx(inside)
    assert ranking.regret == pytest.approx(truth.max() - truth[good.argmax()])


def test_cost_and_break_even(report: Report) -> None:
    good = report.rankings[0]
    assert good.speedup == pytest.approx(10)
    assert good.break_even == 10  # 90 seconds, 9 saved on each
    assert good.seconds_once == 90


def test_differences_are_paired_and_said_in_words(report: Report) -> None:
    good, noise = report.rankings
    there, back = good.difference["noise"], noise.difference["good"]
    assert there["value"] == pytest.approx(good.spearman - noise.spearman)
    assert there["ci"] == pytest.approx([-back["ci"][1], -back["ci"][0]])
    assert there["ci"][0] > 0
    assert "good ranks better than noise" in str(report)
    again = correlate(
        make_study("truth", dict(enumerate(range(9)))),
        [make_study(n, dict(enumerate(range(9)))) for n in ("a", "b")],
    )
    assert "a and b can't be told apart: +0.00 [+0.00, +0.00]" in str(again)


def test_steered_and_invalid_trials_do_not_count(values) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    study = make_study("good", good)
    for trial in make_study("x", {900: 5.0, 901: 6.0}, drawn="tpe").trials:
        study.add_trial(trial)
    whole = make_study("truth", {**truth, 900: -9.0, 901: -9.0})
    assert correlate(whole, [study]).n == N


def test_broken_architectures_rank_last(values) -> None:
    truth, good, _ = values
    scores: dict[int, float | None] = dict(enumerate(good.tolist()))
    scores[3] = None
    ranking = correlate(
        make_study("truth", dict(enumerate(truth.tolist()))), [make_study("good", scores)]
    ).rankings[0]
    good[3] = good.min() - 1
    assert ranking.broken == 1
    assert ranking.spearman == pytest.approx(stats.spearmanr(truth, good).statistic)


def test_only_common_architectures_count() -> None:
    truth = make_study("truth", {i: float(i) for i in range(10)})
    some = make_study("some", {i: float(-i) for i in range(5, 15)})
    assert correlate(truth, [some]).n == 5
    few = make_study("few", {0: 1.0, 1: 2.0})
    with pytest.raises(UserError, match=r"have 2 uniformly drawn architectures in common"):
        correlate(truth, [few])
    with pytest.raises(UserError, match="one ranking or more"):
        correlate(truth, [])
    with pytest.raises(UserError, match="dataset_digest is d and other"):
        correlate(truth, [make_study("z", {0: 1.0}, dataset_digest="other")])


def test_constant_scores_have_no_correlation(tmp_path: Path) -> None:
    truth = make_study("truth", {i: float(i) for i in range(10)})
    flat = correlate(truth, [make_study("flat", dict.fromkeys(range(10), 1.0))])
    assert flat.rankings[0].spearman is None
    flat.write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["rankings"][0]["spearman"] is None


def test_files(report: Report, tmp_path: Path) -> None:
    from PIL import Image

    report.write(tmp_path)
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["n"] == N
    assert document["rankings"][0]["provenance"]["dataset_digest"] == "d"
    assert len(document["points"]) == N
    text = (tmp_path / "report.md").read_text()
    for name in ("spearman.png", "scores.png"):
        assert f"({name})" in text
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 100
    assert {p.name for p in tmp_path.iterdir()} == {
        *("report.json", "report.md", "report.html"),
        *("spearman.png", "scores.png", "cost.png", "regret.png"),  # "number" has no few options
    }


def test_logarithmic_axes_have_plain_numbers(values) -> None:
    """Names are drawn as they are, a dollar too: then so are matplotlib's own formulas."""
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    wide = {number: 10.0 ** (3 * score) for number, score in good.items()}
    studies = [make_study("wide", wide, seconds=0.001), make_study("noise", noise, seconds=10.0)]
    report = correlate(make_study("t", truth), studies)
    with plain_text():
        for draw in (draw_scatter, draw_cost, draw_regret):
            figure = draw(report)
            figure.canvas.draw()
            axis = figure.axes[0]
            assert axis.get_xscale() == "log"
            texts = [label.get_text() for label in axis.get_xticklabels()]
            assert any(texts)
            assert not any("$" in text for text in texts), texts


def test_the_whole_of_a_space_is_said(values) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    report = correlate(make_study("t", truth, drawn="all"), [make_study("g", good, drawn="all")])
    assert report.drawn == "all"
    assert "all of the space" in str(report)


def test_many_architectures(values) -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=3000)
    noisy = truth + generator.normal(size=3000)
    report = correlate(
        make_study("t", dict(enumerate(truth.tolist()))),
        [make_study("g", dict(enumerate(noisy.tolist())))],
    )
    low, high = report.rankings[0].spearman_ci
    assert high - low < 0.06


def test_among_the_best_and_at_k(report: Report, values) -> None:
    truth, good, _ = values
    ranking = report.rankings[0]
    for subset in ranking.subsets:
        of = truth if subset.by == "truth" else good
        index = np.argsort(-of)[: subset.n]
        assert subset.n == max(2, round(subset.fraction * N))
        expected = stats.spearmanr(truth[index], good[index]).statistic
        if subset.n < 5:  # three architectures say nothing
            assert subset.spearman is None
            assert subset.spearman_ci == (None, None)
        else:
            assert subset.spearman == pytest.approx(expected)
    for at in ranking.at_k:
        first, best = set(np.argsort(-good)[: at.k]), set(np.argsort(-truth)[: at.k])
        assert at.overlap == len(first & best) / at.k
        assert at.regret == pytest.approx(truth.max() - truth[list(first)].max())
        assert at.best_rank == 1 + (truth > truth[list(first)].max()).sum()


def test_kendalls_interval_holds_it(report: Report) -> None:
    low, high = report.rankings[0].kendall_ci
    assert low < report.rankings[0].kendall < high
    assert high - low < 0.3


def test_combined_rankings(values) -> None:
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    studies = [make_study("good", good, cost=90.0), make_study("noise", noise, seconds=2.0)]
    for how in ("log", "mean"):
        report = correlate(
            make_study("t", truth), studies, combine=[["good", "noise"]], combination=how
        )
        both = report.rankings[2]
        ranks = [stats.rankdata(v) for v in values[1:]]
        score = sum(np.log(r / N) for r in ranks) if how == "log" else sum(ranks)
        assert both.study == "good+noise"
        assert both.kind == "combined"
        assert both.spearman == pytest.approx(stats.spearmanr(values[0], score).statistic)
        assert both.seconds_per_architecture == pytest.approx(3.0)
        assert both.seconds_once == 90
    with pytest.raises(UserError, match="can't combine 'godo'"):
        correlate(make_study("t", truth), studies, combine=[["godo", "noise"]])
    with pytest.raises(UserError, match="expected combination log or mean"):
        correlate(make_study("t", truth), studies, combination="sum")


def test_the_ceiling_is_seed_against_seed(values) -> None:
    truth, good, _ = values
    study = make_study("t", dict(enumerate(truth.tolist())), seeds=3)
    noisy = truth + np.random.default_rng(3).normal(size=(3, N))
    for trial in study.get_trials(deepcopy=False):
        for k in range(3):
            value = float(noisy[k, trial.number])
            trial.user_attrs[f"score_seed{k}"] = value
    report = correlate(study, [make_study("g", dict(enumerate(good.tolist())))])
    pairs = [stats.spearmanr(noisy[a], noisy[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    assert report.ceiling == {
        "seeds": 3,
        "spearman": pytest.approx(np.mean(pairs)),
        "spearman_top20": pytest.approx(report.ceiling["spearman_top20"]),
        "perfect_ranking": pytest.approx(report.ceiling["perfect_ranking"]),
    }
    # what a ranking by the noiseless truth really shows with the mean of the three
    shown = stats.spearmanr(truth, noisy.mean(0)).statistic
    assert report.ceiling["perfect_ranking"] == pytest.approx(shown, abs=0.1)
    assert "A perfect ranking would show about" in str(report)


def test_tied_seeds_do_not_break_the_report(values, tmp_path: Path) -> None:
    truth, good, _ = values
    study = make_study("t", dict(enumerate(truth.tolist())), seeds=2)
    for trial in study.get_trials(deepcopy=False):
        trial.user_attrs["score_seed0"] = 1.0
        trial.user_attrs["score_seed1"] = trial.value
    report = correlate(study, [make_study("g", dict(enumerate(good.tolist())))])
    report.write(tmp_path)
    assert report.ceiling["spearman"] is None


def test_a_score_made_of_components_is_combined_here(values) -> None:
    truth, good, noise = values
    study = make_study("az", dict.fromkeys(range(N), 0.0), components="a,b")
    for trial in study.get_trials(deepcopy=False):
        trial.user_attrs["a"], trial.user_attrs["b"] = good[trial.number], noise[trial.number]
    report = correlate(make_study("t", dict(enumerate(truth.tolist()))), [study])
    score = sum(np.log(stats.rankdata(v) / N) for v in (good, noise))
    assert report.rankings[0].spearman == pytest.approx(stats.spearmanr(truth, score).statistic)


def _with_losses(values) -> tuple[optuna.Study, optuna.Study, np.ndarray]:
    """A truth, and a study whose losses say more than its scores; its first trial broke."""
    truth, good, noise = values
    study = make_study("noise", {})
    for number in range(N):
        about = {"architecture": f"a{number}", "drawn": "uniform", "loss": -float(good[number])}
        if not number:
            about["broken"] = "why"
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if number else TrialState.PRUNED,
                value=float(noise[number]) if number else None,
                params={"number": number},
                distributions={"number": IntDistribution(0, 10_000)},
                user_attrs=about,
            )
        )
    return make_study("truth", dict(enumerate(truth.tolist()))), study, good


def test_a_study_can_be_read_by_its_loss(values) -> None:
    truth, study, good = _with_losses(values)
    report = correlate(truth, [study, Reading(study, "loss")])
    assert [r.study for r in report.rankings] == ["noise", "noise@loss"]
    expected = good.copy()
    expected[0] = -np.inf
    assert report.rankings[1].spearman == pytest.approx(
        stats.spearmanr(values[0], stats.rankdata(expected)).statistic
    )
    assert report.rankings[1].broken == 1
    assert report.rankings[1].provenance["read"] == "loss"
    with pytest.raises(UserError, match=r"no number 'los'; did you mean 'loss'"):
        correlate(truth, [Reading(study, "los")])


def test_a_study_read_twice_costs_its_trainings_once(values) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    study = make_study("good", good, seconds=2.0, cost=90.0)
    readings = [study, Reading(study, "seconds")]
    report = correlate(make_study("t", truth), readings, combine=[["good", "good@seconds"]])
    assert report.rankings[2].seconds_per_architecture == 2
    assert report.rankings[2].seconds_once == 90


def test_an_older_study_is_read_by_both(values) -> None:
    """Its trials have the parts of the reading, which came later."""
    truth, good, noise = values
    accuracy = 1 / (1 + np.exp(-good))
    study = optuna.create_study(study_name="old", direction="maximize")
    for name, value in {"space_sha256": "s", "dataset_digest": "d", "estimator": "full"}.items():
        study.set_user_attr(name, value)
    for number in range(N):
        about = {
            "architecture": f"a{number}", "drawn": "uniform",
            "accuracy": float(accuracy[number]), "train_loss": float(np.exp(noise[number])),
        }  # fmt: skip
        study.add_trial(
            create_trial(
                value=about["accuracy"], params={"number": number}, user_attrs=about,
                distributions={"number": IntDistribution(0, 10_000)},
            )
        )  # fmt: skip
    report = correlate(
        make_study("truth", dict(enumerate(truth.tolist()))), [Reading(study, "both")]
    )
    expected = (accuracy + np.exp(-np.exp(noise))) / 2
    assert report.rankings[0].spearman == pytest.approx(stats.spearmanr(truth, expected).statistic)
    assert study.trials[0].user_attrs.keys() == about.keys()


def test_the_command_line_reads_by_loss(values, tmp_path: Path, command) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    options = "--data", "digits", "--storage", url, "--quiet", "--trials", "6"
    assert command("rank", *options, "--by", "full:steps=10", "--study", "fast")[0] == 0
    assert command("rank", *options, "--by", "params", "--study", "t@x", "--like", "fast")[0] == 0
    correlation = "correlate", "--truth", "t@x", "--storage", url, "--json"
    status, out, _ = command(*correlation, "--study", "fast", "--study", "fast@loss")
    assert status == 0
    assert [r["study"] for r in json.loads(out)["rankings"]] == ["fast", "fast@loss"]
    status, _, err = command(*correlation, "--study", "fast@lss")
    assert status == 2
    assert "'loss'" in err


@pytest.mark.parametrize("names", [["good"], ["good", "good"], []])
def test_a_combination_is_of_different_rankings(values, names: list[str]) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    with pytest.raises(UserError, match="different rankings to combine"):
        correlate(make_study("truth", truth), [make_study("good", good)], combine=[names])


class _Links(HTMLParser):
    """What a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")
        ]


def test_the_page_needs_nothing_else_and_trusts_no_name(values, tmp_path: Path) -> None:
    truth, good, _ = (dict(enumerate(v.tolist())) for v in values)
    evil = "<script>alert(1)</script>"
    report = correlate(make_study("truth", truth), [make_study(evil, good)])
    report.write(tmp_path, None, {"a <set>": b"\x89PNG"}, "nasproxy correlate --truth '<b>'")
    page = (tmp_path / "report.html").read_text()
    links = _Links()
    links.feed(page)
    assert links.found and all(link.startswith("data:") for link in links.found)
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "nasproxy correlate --truth &#39;&lt;b&gt;&#39;" in page


def test_advice_names_the_cheapest_that_is_as_good(values) -> None:
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    same = {k: v + 1e-3 * noise[k] for k, v in good.items()}
    report = correlate(
        make_study("truth", truth),
        [make_study("dear", good, seconds=9.0), make_study("cheap", same, seconds=0.1)],
    )
    said = " ".join(advice(report))
    assert "cheap" in said and "can't be told apart" in said
    nothing = correlate(make_study("truth", truth), [make_study("noise", noise)])
    assert "None of these rankings is shown to agree" in advice(nothing)[0]


def test_many_rankings_are_told_apart_in_a_sentence_each(values) -> None:
    truth, good, noise = (dict(enumerate(v.tolist())) for v in values)
    studies = [make_study(f"good{i}", good) for i in range(3)] + [make_study("noise", noise)]
    lines = findings(correlate(make_study("truth", truth), studies))
    assert len(lines) == 3  # the noise beats nothing and is level with nothing
    assert lines[0].startswith("good0 (0.9") and "ranks better than noise" in lines[0]
    assert "can't be told from good1 and good2" in lines[0]
