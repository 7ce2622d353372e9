"""The sampler as a package of OptunaHub's registry, by OptunaHub's own loader."""

import importlib.util
import tomllib
from pathlib import Path

import optuna
import pytest
import yaml

import nasproxy

ROOT = Path(__file__).parent.parent
REGISTRY = ROOT / "optunahub" / "package"
PACKAGE = REGISTRY / "samplers" / "nasproxy"


def test_it_is_loaded_and_samples(tiny_space, data) -> None:
    # not plain optunahub: where it is missing, the folder of that name here may be imported
    hub = pytest.importorskip("optunahub.hub", reason="optunahub is not installed")
    module = hub.load_local_module("samplers/nasproxy", registry_root=str(REGISTRY))
    assert module.ProxySampler is nasproxy.ProxySampler
    sampler = module.ProxySampler(tiny_space, data, scores=["params"], pool=6, jobs=1)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: _width(tiny_space, trial), n_trials=2)
    assert {trial.user_attrs["drawn"] for trial in study.trials} <= {"surrogate", "blind"}


def _width(space: nasproxy.Space, trial: optuna.Trial) -> float:
    space.module.build(trial, (1, 8, 8), 3)
    return float(trial.params["width"])


def test_the_readme_has_the_front_matter_that_the_registry_asks_for() -> None:
    _, front, body = (PACKAGE / "README.md").read_text().split("---\n", 2)
    about = yaml.safe_load(front)
    assert about.keys() == {
        *("author", "title", "description", "tags", "optuna_versions", "license")
    }
    assert "sampler" in about["tags"]
    assert all(isinstance(version, str) for version in about["optuna_versions"])
    wanted = ("## Abstract", "## APIs", "## Installation", "## Example")
    assert [line for line in body.splitlines() if line in wanted] == list(wanted)


def test_it_has_the_licence_and_the_requirement_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert (PACKAGE / "requirements.txt").read_text().split() == [project["name"]]


@pytest.mark.slow
def test_the_example(monkeypatch, capsys) -> None:
    pytest.importorskip("optunahub.hub", reason="optunahub is not installed")
    monkeypatch.chdir(ROOT / "optunahub")
    spec = importlib.util.spec_from_file_location("__main__", PACKAGE / "example.py")
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert "width" in capsys.readouterr().out
