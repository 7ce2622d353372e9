"""What README.md and the site's pages say is so: commands, links, code, and the site itself."""

import ast
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import nasproxy
from nasproxy.cli.parsing import parse
from nasproxy.estimators.table import read_table

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in FILES}
MEASURED = {
    f"docs/{name}.md"
    for name in ("LOG", "fidelity", "fidelity-draws", "free-scores", "reliability", "speed")
}


def _blocks(language: str, *pages: str) -> list[tuple[str, str, str]]:
    """Blocks of code: their page, their file's name (their title), and the code."""
    fence = re.compile(rf"```{language}(?: title=\"([^\"]+)\")?\n(.*?)```", re.DOTALL)
    found = {page: fence.findall(PAGES[page]) for page in pages or PAGES}
    return [(page, *block) for page, blocks in found.items() for block in blocks]


def _commands() -> list[list[str]]:
    lines = [line for *_, block in _blocks("bash") for line in block.splitlines()]
    parts = [part for line in lines for part in line.split("&&")]
    split = [shlex.split(part, comments=True) for part in parts]
    return [part[1:] for part in split if part[:1] == ["nasproxy"]]


@pytest.mark.parametrize("arguments", _commands(), ids=" ".join)
def test_commands_parse(arguments: list[str]) -> None:
    parse(arguments)


def test_every_file_is_in_the_tree() -> None:
    names = {path.name for path in (ROOT / "nasproxy").glob("*.py")} - {"__init__.py"}
    for name in names - {
        *("errors.py", "files.py", "runtime.py", "progress.py", "__main__.py", "spec.py", "size.py")
    }:
        assert name in PAGES["README.md"], name


def test_links_lead_somewhere() -> None:
    for page, text in PAGES.items():
        for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            to = ((ROOT / page).parent / path).resolve() if path else ROOT / page
            assert to.exists(), f"{page}: {target}"
            if anchor:
                assert anchor in _anchors(to.read_text()), f"{page}: {target}"


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_every_page_is_in_the_menu_and_asks_a_question() -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    pages = [f"docs/{name}" for part in menu for page in _values(part) for name in _values(page)]
    assert sorted(pages) == sorted(page for page in PAGES if page.startswith("docs/"))
    for page in set(pages) - MEASURED:
        assert re.match(r"# .+\n\n\*\*[^*]+\?\*\*\n", PAGES[page]), page


def _values(entry: dict[str, list | str]) -> list:
    (value,) = entry.values()
    return value if isinstance(value, list) else [value]


def test_the_api_has_all_that_is_public() -> None:
    shown = re.findall(r"^::: nasproxy\.(\w+)$", PAGES["docs/api.md"], re.MULTILINE)
    assert sorted(shown) == sorted(nasproxy.__all__)


def test_code_calls_what_is_public() -> None:
    for page, _, code in _blocks("python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id != "nasproxy" or node.attr in nasproxy.__all__, (
                    page,
                    node.attr,
                )


def _run(code: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _left_by(page: str, folder: Path) -> None:
    """Write the files that a page shows."""
    for _, title, code in _blocks("python", page):
        if title:
            (folder / title).write_text(code)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("page", sorted({p for p, *_ in _blocks("python")} - {"CONTRIBUTING.md"}))
def test_the_python_of_a_page_runs(page: str, tmp_path: Path) -> None:
    _left_by(page, tmp_path)
    for _, title, code in _blocks("python", page):
        if not title:
            _run(
                code.replace("trials=40", "trials=4").replace("ipc=10", "ipc=10, steps=5"), tmp_path
            )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train.py", "train_lightning.py", "train_timm.py"])
def test_a_training_of_ones_own(name: str, tmp_path: Path, monkeypatch) -> None:
    _left_by("docs/training.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    for library in ("lightning", "timm"):
        if library in name:
            pytest.importorskip(library, reason=f"{library} is not installed")
    options = {"scores": ["params"], "method": "none", "pool": 5, "trainings": 1, "quiet": True}
    found = nasproxy.search("digits", "convnet_tiny", full=f"{name}:train", **options)
    assert 0.1 < found.best["validation_accuracy"] <= 1


def test_published_tables_are_brought_to_our_names(tmp_path: Path) -> None:
    """One row of each, as it is published."""
    (tmp_path / "nats_bench.csv").write_text(
        "CIFAR10TestAccuracy200Epochs,CIFAR100TestAccuracy200Epochs,ImageNetTestAccuracy200Epochs,"
        f"ArchitectureString,UniqueString\n85.8633,52.9133,26.6333,{CELL},(0)@avg_pool_3x3\n"
    )
    (tmp_path / "hw_cifar10.csv").write_text(
        'net,edgegpu_latency,edgetpu_latency\n"(4, 3, 3, 0, 0, 0)",5.8074,-1.0\n'
        '"(2, 2, 0, 4, 2, 0)",6.5477,1.4390\n'
    )
    for *_, code in _blocks("python", "docs/published.md"):
        _run(code, tmp_path)
    accuracies = read_table(str(tmp_path / "nasbench201.csv.gz"), "cifar10_test_acc")
    latencies = read_table(str(tmp_path / "hardware.csv"), "-edgegpu_latency")
    assert accuracies.values == {CELL: 85.8633}
    assert latencies.values[CELL] == -5.8074
    missing = read_table(str(tmp_path / "hardware.csv"), "-edgetpu_latency").values
    assert missing[CELL] != missing[CELL]  # NaN


CELL = (  # the first of the benchmark
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
)


@functools.cache
def _program() -> str:
    program = shutil.which("nasproxy", path=str(Path(sys.executable).parent))
    assert program
    return program


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_first_command_works(tmp_path: Path) -> None:
    done = subprocess.run([_program(), "search"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "As many random trainings would have found" in done.stdout
    assert (tmp_path / "runs" / "search-fashion-convnet_tiny" / "best.safetensors").exists()


@pytest.mark.slow
def test_step_by_step(tmp_path: Path) -> None:
    blocks = [block for *_, block in _blocks("bash", "docs/rankings.md")]
    block = next(block for block in blocks if "correlate" in block)
    shorter = {"--trials 40": "--trials 4", "--method dm": "--method dm --steps 5"}
    shorter |= {"evaluate proxy.safetensors": "evaluate proxy.safetensors --recipe.epochs 5"}
    for whole, part in shorter.items():
        assert whole in block
        block = block.replace(whole, part)
    for line in block.splitlines():
        arguments = shlex.split(line, comments=True)[1:]
        done = subprocess.run(
            [_program(), *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.md").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["own_training", "own_space"])
def test_an_example(name: str, tmp_path: Path) -> None:
    script = ROOT / "examples" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=590
    )
    assert done.returncode == 0, done.stderr
    said = {"own_training": r"Best validation accuracy 0\.[5-9]", "own_space": "trousers.png: "}
    assert re.search(said[name], done.stdout)


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["version"] == project["version"]
    assert cited["license"] == project["license"]
    assert cited["repository-code"] == project["urls"]["Repository"]
    assert cited["authors"] == project["authors"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    for name in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(name, reason="the site's tools are missing: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_site_asks_nothing_of_other_hosts(site: Path) -> None:
    for path in _html(site):
        asked = re.findall(
            r"<(?:script|img|iframe)[^>]* src=\"?([^\"> ]+)|"
            r"<link[^>]* rel=\"?(?:stylesheet|preconnect)\"?[^>]* href=\"?([^\"> ]+)|"
            r"@import url\(([^)]+)\)",
            path.read_text(),
        )
        assert asked
        for address in filter(None, (one for found in asked for one in found)):
            assert not re.match(r"(\w+:)?//", address), f"{path}: {address}"


@pytest.mark.slow
def test_the_site_finds_and_explains_what_is_public(site: Path) -> None:
    api = (site / "api" / "index.html").read_text()
    for name in nasproxy.__all__:
        assert re.search(rf'id="nasproxy\.([\w.]+\.)?{name}"', api), name
    index = json.loads((site / "search" / "search_index.json").read_text())
    assert any("ProxySampler" in entry["title"] for entry in index["docs"])


def _html(site: Path) -> Iterator[Path]:
    return site.rglob("*.html")


def test_the_first_contribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """The score that CONTRIBUTING.md adds, and its test."""
    (_, _, score), (_, _, test) = _blocks("python", "CONTRIBUTING.md")
    module = types.ModuleType("l2_norm")
    exec(score, vars(module))
    monkeypatch.setitem(sys.modules, "nasproxy.estimators.zerocost.l2_norm", module)
    tests: dict[str, Any] = {}
    exec(test, tests)
    tests["test_l2_norm_number_by_number"]()
