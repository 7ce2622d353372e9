"""The wheel, installed outside the checkout, holds all that it needs."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

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


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "search_spaces/convnet.py" in names
    assert "nasproxy/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks"))]
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
    # the dependencies, gigabytes of them, come from the environment that runs the tests
    paths = [path for path in sys.path if path.endswith("site-packages")]
    folder = next((home / "lib").glob("python*")) / "site-packages"
    (folder / "dependencies.pth").write_text("\n".join(paths))
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([python, "-c", CODE], cwd=tmp_path, check=True, env=clean)
    for program in (["run", "--help"], ["list", "spaces"]):
        subprocess.run([home / "bin" / "nasproxy", *program], cwd=tmp_path, check=True, env=clean)
