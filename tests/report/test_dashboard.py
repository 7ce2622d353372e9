"""What optuna-dashboard shows of our studies, and the pages in a real browser."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

import nasproxy
from nasproxy.cli import main
from nasproxy.studies.dashboard import keep_picture, note_of, pictures_of

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def original(tiny_space_file: str, npz: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a proxy set, a storage with studies of it, and a report."""
    folder = tmp_path_factory.mktemp("ranked")
    same = ["--data", npz, "--quiet"]
    rank = ["rank", *same, "--space", tiny_space_file, "--trials", "6"]
    for arguments in (
        ["condense", *same, "--method", "random", "--ipc", "5", "--out", "proxy.safetensors"],
        [*rank, "--by", "proxy.safetensors:epochs=12", "--study", "fast"],
        [*rank, "--by", "full:epochs=2", "--like", "fast", "--study", "truth"],
        ["correlate", "--truth", "truth", "--study", "fast", "--out", "report"],
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert main(arguments) == 0
    return folder


@pytest.fixture
def ranked(original: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy of it, where we are."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _study(name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage="sqlite:///nasproxy.db")


def _kept(study: optuna.Study) -> dict[str, int]:
    """How many attributes of each kind the dashboard has of a study."""
    keys = study._storage.get_study_system_attrs(study._study_id)
    kinds = ("artifacts:", "dashboard:plot_data:", "dashboard:note_str:")
    return {kind: sum(key.startswith(kind) for key in keys) for kind in kinds}


def test_a_study_says_what_it_is(ranked: Path) -> None:
    fast = _study("fast")
    note = note_of(fast)
    assert "ranked by **random-5:epochs=12**" in note
    assert "1 invalid" in note and "too thin to be deep" in note
    assert "## Beside the truth" in note and "95% interval" in note
    assert note.index("## Beside the truth") < note.index("## Made with")
    (png,) = pictures_of(fast).values()
    assert png.startswith(PNG)
    assert "![proxy set](/artifacts/" in note
    trial = fast.best_trial
    numbers = {k for k, v in trial.user_attrs.items() if isinstance(v, float)}
    assert numbers >= {"accuracy", "params", "macs", "seconds", "epochs", "images"}
    assert len(trial.intermediate_values) == 10  # the learning curve, a point a tenth
    assert min(trial.intermediate_values) == 2 and max(trial.intermediate_values) == 12
    assert trial.intermediate_values[12] == pytest.approx(trial.user_attrs["train_loss"])


def test_nothing_is_there_twice(ranked: Path, command, npz: str, tiny_space_file: str) -> None:
    before = {name: (_kept(_study(name)), note_of(_study(name))) for name in ("fast", "truth")}
    pictures = sorted(Path("nasproxy.db.artifacts").iterdir())
    assert len(pictures) == 1
    arguments = ["--data", npz, "--space", tiny_space_file, "--trials", "6", "--quiet"]
    by = ["--by", "proxy.safetensors:epochs=12", "--study", "fast"]
    assert command("rank", *arguments, *by)[0] == 0
    assert "## Beside the truth" in note_of(_study("fast"))  # still there
    assert command("correlate", "--truth", "truth", "--study", "fast")[0] == 0
    for name, (kept, note) in before.items():
        assert _kept(_study(name)) == kept
        assert note_of(_study(name)) == note
    assert sorted(Path("nasproxy.db.artifacts").iterdir()) == pictures


def test_a_new_proxy_set_replaces_the_picture(ranked: Path) -> None:
    fast = _study("fast")
    keep_picture(fast, "proxy set", PNG + b"other")
    assert pictures_of(_study("fast")) == {"proxy set": PNG + b"other"}
    assert len(list(Path("nasproxy.db.artifacts").iterdir())) == 1


@pytest.mark.parametrize("number", [None, "../secret.png"])
def test_an_artifact_that_was_deleted_or_leads_elsewhere(ranked: Path, number) -> None:
    """The dashboard leaves null where one was deleted; a stranger writes what he likes."""
    Path("secret.png").write_bytes(PNG)
    fast = _study("fast")
    attributes = fast._storage.get_study_system_attrs(fast._study_id)
    (key,) = (key for key in attributes if key.startswith("artifacts:"))
    about = {**json.loads(attributes[key]), "artifact_id": number} if number else None
    fast._storage.set_study_system_attr(fast._study_id, key, json.dumps(about))
    assert pictures_of(_study("fast")) == {}
    keep_picture(_study("fast"), "proxy set", PNG + b"again")
    assert pictures_of(_study("fast")) == {"proxy set": PNG + b"again"}
    assert Path("secret.png").read_bytes() == PNG


def test_a_picture_of_before_is_replaced(ranked: Path) -> None:
    """Older studies have a digest in a picture's file name."""
    fast = _study("fast")
    attributes = fast._storage.get_study_system_attrs(fast._study_id)
    (key,) = (key for key in attributes if key.startswith("artifacts:"))
    about = {**json.loads(attributes[key]), "filename": "proxy set-0123abcd.png"}
    fast._storage.set_study_system_attr(fast._study_id, key, json.dumps(about))
    assert list(pictures_of(_study("fast"))) == ["proxy set"]


def test_studies_in_memory_have_no_note(tiny_space, data) -> None:
    study = nasproxy.rank(tiny_space, "params", data=data, trials=4)
    assert note_of(study) == ""


def test_a_report_that_cannot_be_kept_is_still_printed(ranked: Path, command, monkeypatch) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise optuna.exceptions.StorageInternalError("database or disk is full")

    monkeypatch.setattr("nasproxy.report.dashboard.annotate", full)
    status, out, err = command("correlate", "--truth", "truth", "--study", "fast")
    assert status == 0 and "Spearman" in out
    assert err.count("\n") == 1 and "disk is full" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--storage", "sqlite:///nowhere.db"], "no such storage"),
        (["--port", "70000"], "cannot listen on 127.0.0.1:70000"),
        (["--host", "no.such.host.invalid"], "cannot listen"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_dashboard_that_cannot_start(ranked: Path, command, arguments, said: str) -> None:
    status, _, err = command("dashboard", *arguments)
    assert status == 2
    assert err.startswith("nasproxy: error: ") and said in err and err.count("\n") == 1
    assert not Path("nowhere.db").exists()


@contextlib.contextmanager
def _served(*arguments: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """The dashboard as a process, and its address."""
    program = shutil.which("nasproxy", path=str(Path(sys.executable).parent))
    assert program
    server = subprocess.Popen(
        [program, "dashboard", "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        yield server.stderr.readline().strip(), server
    finally:
        server.kill()
        server.communicate()


@pytest.mark.slow
def test_it_is_served_on_loopback_and_stops(ranked: Path) -> None:
    with _served() as (address, server):
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}api/studies", timeout=60) as answer:
            found = json.load(answer)
        assert {s["study_name"] for s in found["study_summaries"]} == {"fast", "truth"}
        port = address.rstrip("/").rpartition(":")[2]
        with socket.socket() as other, pytest.raises(OSError):  # not on other addresses
            other.settimeout(2)
            other.connect((_own_address(), int(port)))
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=60)
        assert server.returncode == 130
        assert "Traceback" not in err


def _own_address() -> str:
    """An address of this machine that is not loopback, else one that leads nowhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "192.0.2.1"
        return str(probe.getsockname()[0])


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program,
            args=[
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
                *("--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
            ],
        )
        yield started
        started.close()


@contextlib.contextmanager
def _page(browser, scheme: str, wrong: list[str]) -> Iterator:
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1300, "height": 900})
    page.set_default_timeout(90_000)
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    page.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_dashboard_in_a_browser(ranked: Path, browser, scheme: str) -> None:
    number = _study("fast")._study_id
    wrong: list[str] = []
    with _served() as (address, _), _page(browser, scheme, wrong) as page:
        page.goto(f"{address}dashboard/studies/{number}")
        for title in ("Score against truth", "Regret against", "95% intervals", "each choice"):
            page.wait_for_selector(f"text={title}")
        page.wait_for_selector("text=proxy set.png")  # the artifact
        page.goto(f"{address}dashboard/studies/{number}/note")
        page.wait_for_selector("text=Beside the truth")
        image = page.wait_for_selector("img[alt='proxy set']")
        page.wait_for_function("image => image.naturalWidth > 100", arg=image)
    assert not wrong


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(ranked: Path, browser, scheme: str) -> None:
    wrong: list[str] = []
    with _page(browser, scheme, wrong) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((ranked / "report" / "report.html").as_uri())
        page.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length > 9")
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 100)")
        assert page.evaluate("document.images.length") == 1
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        ink, paper = page.evaluate(
            "[getComputedStyle(document.querySelector('#spearman text.gtitle')).fill,"
            " getComputedStyle(document.body).backgroundColor]"
        )
        assert abs(_lightness(ink) - _lightness(paper)) > 0.6
        assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    assert not wrong


def _lightness(colour: str) -> float:
    """Of a CSS colour such as rgb(0, 0, 0), in [0, 1]."""
    channels = [float(c) for c in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(channels) / 765
