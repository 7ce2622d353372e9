"""Files damaged at random: every loader reads them, or refuses them in one line.

``NASPROXY_FUZZ=2000 pytest -m slow tests/hostile/test_fuzz.py`` looks longer, and elsewhere each
time.
"""

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from safetensors.torch import save_file

import nasproxy
from nasproxy import UserError, cli
from nasproxy.errors import one_line
from nasproxy.estimators.table import read_table
from nasproxy.studies.identity import load_study
from nasproxy.studies.storage import open_storage
from nasproxy.system.spelling import parse_spec
from tests.hostile.case import Good, make_good
from tests.hostile.pictures import fill

EXAMPLES = int(os.environ.get("NASPROXY_FUZZ", "40"))
pytestmark = pytest.mark.slow
fuzz = settings(
    max_examples=EXAMPLES,
    derandomize="NASPROXY_FUZZ" not in os.environ,  # CI must not fail for what nobody changed
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["put", "drop", "insert", "cut"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=5,
)


def damaged(whole: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    for kind, place, given_bytes in edits:
        at = int(place * len(whole))
        after = {
            "put": given_bytes + whole[at + len(given_bytes) :],
            "drop": whole[at + len(given_bytes) :],
            "insert": given_bytes + whole[at:],
            "cut": b"",
        }
        whole = whole[:at] + after[kind]
    return whole


def loads_or_refuses(load: Callable[[], Any]) -> None:
    try:
        load()
    except UserError as error:
        assert str(error)
        assert one_line(str(error)).isprintable()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    return make_good(tmp_path_factory.mktemp("good"))


def _load_by(name: str, path: Path, good: Good) -> Any:
    data = nasproxy.load_dataset(str(good.npz))
    loaders: dict[str, Callable[[], Any]] = {
        "proxy": lambda: nasproxy.ProxySet.load(path).check_fits(data),
        "foreign": lambda: nasproxy.import_proxy(path, data),
        "network": lambda: nasproxy.load_network(path),
        "npz": lambda: nasproxy.load_dataset(str(path)),
        "npz compressed": lambda: nasproxy.load_dataset(str(path)),
        "table": lambda: read_table(str(path), "acc"),
        "table gzipped": lambda: read_table(str(path), "acc"),
    }
    return loaders[name]()


@pytest.mark.parametrize(
    "name", ["proxy", "foreign", "network", "npz", "npz compressed", "table", "table gzipped"]
)
def test_damaged_files(name: str, good: Good, tmp_path: Path) -> None:
    compressed = io.BytesIO()
    np.savez_compressed(compressed, **np.load(good.npz))
    wholes = {
        "proxy": (good.proxy.read_bytes(), "f.safetensors"),
        "foreign": (good.proxy.read_bytes(), "f.safetensors"),
        "network": (good.network.read_bytes(), "f.safetensors"),
        "npz": (good.npz.read_bytes(), "f.npz"),
        "npz compressed": (compressed.getvalue(), "f.npz"),
        "table": (good.table.read_bytes(), "f.csv"),
        "table gzipped": (gzip.compress(good.table.read_bytes()), "f.csv"),
    }
    whole, file = wholes[name]

    @fuzz
    @given(edits=EDITS)
    def check(edits: list[tuple[str, float, bytes]]) -> None:
        (tmp_path / file).write_bytes(damaged(whole, edits))
        loads_or_refuses(lambda: _load_by(name, tmp_path / file, good))

    check()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_damaged_images(kind: str, tmp_path: Path) -> None:
    fill(tmp_path)
    held = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(held, kind)

    @fuzz
    @given(edits=EDITS)
    def check(edits: list[tuple[str, float, bytes]]) -> None:
        (tmp_path / "cat" / "0.png").write_bytes(damaged(held.getvalue(), edits))
        loads_or_refuses(lambda: nasproxy.load_dataset(str(tmp_path)))

    check()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@fuzz
@given(key=st.integers(0, 99), value=JSON)
def test_metadata_of_any_kind(key: int, value: Any, good: Good, tmp_path: Path) -> None:
    proxy = nasproxy.ProxySet.load(good.proxy)
    about = dict(proxy.metadata)
    about[sorted(about)[key % len(about)]] = value
    tensors = {"images": proxy.images, "labels": proxy.labels}
    save_file(tensors, tmp_path / "p.safetensors", {"nasproxy": json.dumps(about)})

    def use() -> None:
        found = nasproxy.ProxySet.load(tmp_path / "p.safetensors")
        repr(found)
        found.check_fits(nasproxy.load_dataset(str(good.npz)))

    loads_or_refuses(use)


@fuzz
@given(key=st.integers(0, 99), value=JSON)
def test_descriptions_of_any_kind(key: int, value: Any, good: Good, tmp_path: Path) -> None:
    about = nasproxy.describe_network(good.network)
    about[sorted(about)[key % len(about)]] = value
    state = {k: torch.clone(v) for k, v in nasproxy.load_network(good.network).state_dict().items()}
    save_file(state, tmp_path / "n.safetensors", {"nasproxy": json.dumps(about)})
    loads_or_refuses(lambda: nasproxy.load_network(tmp_path / "n.safetensors"))


ARRAYS = hnp.arrays(
    hnp.scalar_dtypes() | hnp.unicode_string_dtypes(max_len=3),
    hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=9),
)


@fuzz
@given(arrays=st.dictionaries(st.sampled_from(["x_train", "y_train", "class_names"]), ARRAYS))
def test_arrays_of_any_kind(arrays: dict[str, np.ndarray], good: Good, tmp_path: Path) -> None:
    with np.load(good.npz) as sound:
        np.savez(tmp_path / "d.npz", **{**sound, **arrays})
    loads_or_refuses(lambda: nasproxy.load_dataset(str(tmp_path / "d.npz")))


@fuzz
@given(arrays=st.dictionaries(st.sampled_from(["images", "labels", "mean", "std"]), ARRAYS))
@example(arrays={"labels": np.zeros((), ">i2")})  # of another machine's byte order
def test_foreign_arrays_of_any_kind(
    arrays: dict[str, np.ndarray], good: Good, tmp_path: Path
) -> None:
    held = {"images": np.zeros((6, 1, 8, 8)), "labels": np.arange(6) % 3}
    np.savez(tmp_path / "f.npz", **{**held, **arrays})
    data = nasproxy.load_dataset(str(good.npz))
    loads_or_refuses(lambda: nasproxy.import_proxy(tmp_path / "f.npz", data))


@fuzz
@given(
    text=st.text(max_size=60)
    | st.text("{}[]&*!|>-:,'\"\\ \n\tacdeipqxyz0.", max_size=60)
    | JSON.map(lambda value: f"ipc: {json.dumps(value)}\n")
    | JSON.map(lambda value: f"proxy: {json.dumps(value)}\n")
)
def test_configs_of_any_kind(text: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    # refused by the data set, if not before
    status = cli.main(["run", "--config", str(path), "--data", str(tmp_path / "nothing.npz")])
    out, err = capsys.readouterr()
    assert (status, out) == (2, ""), (out, err)
    assert err.startswith("nasproxy: error: ")
    assert err.count("\n") == 1


@fuzz
@given(edits=EDITS)
@example(edits=[("put", 0.3125, b"\0")])  # in a study's JSON
def test_damaged_storages(
    edits: list[tuple[str, float, bytes]], good: Good, tmp_path: Path
) -> None:
    path = tmp_path / "s.db"
    for old in tmp_path.glob("s.db*"):
        old.unlink()
    path.write_bytes(damaged(good.storage.read_bytes(), edits))
    words = ("--truth", "params", "--study", "flops", "--storage", f"sqlite:///{path}")
    assert cli.main(["correlate", *words]) in (0, 2)


@fuzz
@given(text=st.text(max_size=40) | st.text('a:=,[]{}"1.e-', max_size=40))
def test_specs_of_any_kind(text: str) -> None:
    loads_or_refuses(lambda: parse_spec(text))


def test_a_damaged_storage_is_never_mended(good: Good, tmp_path: Path) -> None:
    """The studies of a copy that was only read are those of the original."""
    copy = tmp_path / "s.db"
    copy.write_bytes(good.storage.read_bytes())
    for path in (good.storage, copy):
        study = load_study("params", open_storage(f"sqlite:///{path}", must_exist=True))
        assert [t.state for t in study.trials].count(optuna.trial.TrialState.COMPLETE) == 5
