"""What is published: a wheel and an sdist with all that they need, and nothing else."""

import email
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MADE = {"PKG-INFO", "setup.cfg", "nasproxy.egg-info"}  # by the build

CODE = """
import nasproxy, pathlib, search_spaces
assert "site-packages" in nasproxy.__file__, nasproxy.__file__
data = nasproxy.load_dataset("digits")
for name in ("convnet", "search_spaces.convnet_small"):
    assert nasproxy.load_space(name).sample(2, 0, data.input_shape, 10)
pathlib.Path("mine.py").write_text(nasproxy.load_space("convnet").path.read_text())
study = nasproxy.rank("./mine.py", "params", data=data, trials=3)
assert len(study.trials) >= 3
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built of it."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder, ROOT], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked sdist."""
    (found,) = built.glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(found) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    install = [python, "-m", "pip", "install", "-q", "--no-deps", wheel]
    subprocess.run(install, check=True, env=clean)
    # the dependencies, gigabytes of them, come from the environment that runs the tests
    paths = [path for path in sys.path if path.endswith("site-packages")]
    folder = next((home / "lib").glob("python*")) / "site-packages"
    (folder / "dependencies.pth").write_text("\n".join(paths))
    subprocess.run([python, "-c", CODE], cwd=tmp_path, check=True, env=clean)
    for program in (["run", "--help"], ["list", "spaces"]):
        subprocess.run([home / "bin" / "nasproxy", *program], cwd=tmp_path, check=True, env=clean)


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_what_they_read(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    (about,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    found = {name for name in names if not name.startswith(about)}
    assert found == {
        name for name in _sources() if name.startswith(("nasproxy/", "search_spaces/"))
    }
    metadata = email.message_from_bytes(zipfile.ZipFile(wheel).read(f"{about}/METADATA"))
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()


def _sources() -> set[str]:
    """Files of the checkout, but those that are made there."""
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if tracked.returncode:
        pytest.skip("not a checkout of git")
    return {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()}


@pytest.mark.slow
def test_the_sdist_is_the_checkout(sdist: Path) -> None:
    files = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}
    assert {name for name in files if name.split("/")[0] not in MADE} == _sources() - MADE


@pytest.mark.slow
def test_the_sdist_runs_its_tests(sdist: Path) -> None:
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    chosen = ["tests/test_imports.py", "tests/test_readme.py", "tests/spaces/test_space.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *chosen],
        cwd=sdist,
        capture_output=True,
        text=True,
        env={**clean, "PYTHONPATH": str(sdist)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
