import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from nasproxy import ProxySet, UserError, condense

BEFORE = Path(__file__).parents[1] / "before"  # made by an earlier version


@pytest.fixture(scope="module")
def proxy(data) -> ProxySet:
    return condense(data, "random", ipc=2)


def test_round_trip(proxy: ProxySet, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "set.safetensors"
    proxy.save(path)
    loaded = ProxySet.load(path)
    assert torch.equal(loaded.images, proxy.images)
    assert torch.equal(loaded.labels, proxy.labels)
    assert loaded.metadata == proxy.metadata
    assert loaded.seconds == proxy.seconds
    assert loaded.digest == proxy.digest


def test_a_set_made_before_is_read(tmp_path: Path) -> None:
    before = BEFORE / "proxy.safetensors"
    proxy = ProxySet.load(before)
    assert (proxy.digest, proxy.seconds) == ("550329595c128ea7", 2.755)
    made = proxy.provenance
    assert (made.method, made.dataset, made.seed) == ("dm", "digits", 0)
    assert len(made.class_names) == 10
    assert made.options == proxy.metadata["options"]
    proxy.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == before.read_bytes()


def test_what_a_method_says_besides_is_kept(proxy: ProxySet) -> None:
    more = replace(proxy, metadata={**proxy.metadata, "space_sha256": "abc"})
    assert (more.provenance.more, proxy.provenance.more) == ({"space_sha256": "abc"}, {})


def test_a_cost_of_another_set_is_not_taken(proxy: ProxySet, tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    proxy.save(path)
    path.with_suffix(".json").write_text(json.dumps({"seconds": 1.0, "digest": "another"}))
    assert ProxySet.load(path).seconds is None
    path.with_suffix(".json").write_text("[")
    assert ProxySet.load(path).seconds is None


def test_soft_labels_are_kept(proxy: ProxySet, tmp_path: Path) -> None:
    soft = replace(proxy, labels=torch.full((6, 3), 1 / 3))
    soft.save(tmp_path / "soft.safetensors")
    assert torch.equal(ProxySet.load(tmp_path / "soft.safetensors").labels, soft.labels)


def test_files_follow_the_umask_and_leave_nothing_behind(proxy: ProxySet, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        proxy.save(tmp_path / "set.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "set.safetensors").stat().st_mode & 0o777 == 0o640
    assert {p.name for p in tmp_path.iterdir()} == {"set.safetensors", "set.json"}


def test_preview_shows_a_row_a_class(proxy: ProxySet, tmp_path: Path) -> None:
    from PIL import Image

    proxy.preview(tmp_path / "set.png")
    with Image.open(tmp_path / "set.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[0] > 150
    assert pixels.std() > 20  # not blank


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(6, 1, 8, 8, dtype=torch.float64)}, "expected float32 images"),
        ({"images": torch.zeros(6, 8, 8)}, "expected float32 images"),
        ({"images": torch.full((6, 1, 8, 8), torch.nan)}, "NaN or infinity"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, "expected int64 labels"),
        ({"labels": torch.full((6,), 3)}, "expected labels from 0 to 2, got 3 to 3"),
        ({"labels": torch.zeros(6, 2)}, "expected int64 labels"),
        ({"labels": torch.full((6, 3), -1.0)}, "that sum to 1"),
        ({"mean": [0.0, 0.0]}, "expected 1 numbers as mean"),
        ({"std": None}, "expected numbers as std"),
        ({"format": 99}, "expected proxy format 1, got 99"),
        ({"class_names": "abc"}, "expected a list of class names"),
    ],
)
def test_bad_files_are_refused(proxy, tmp_path: Path, change: dict, message: str) -> None:
    tensors = {"images": proxy.images, "labels": proxy.labels}
    metadata = dict(proxy.metadata)
    for key, value in change.items():
        (tensors if key in tensors else metadata)[key] = value
    path = tmp_path / "set.safetensors"
    save_file(tensors, path, {"nasproxy": json.dumps(metadata)})
    with pytest.raises(UserError, match=message):
        ProxySet.load(path)


def test_foreign_files_are_refused(proxy: ProxySet, tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="not a proxy set"):
        ProxySet.load(path)
    save_file({"images": torch.zeros(3), "labels": torch.zeros(3)}, path, {"nasproxy": "{"})
    with pytest.raises(UserError, match="not a readable"):
        ProxySet.load(path)
    with pytest.raises(UserError, match="no such proxy file"):
        ProxySet.load(tmp_path / "nothing.safetensors")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 2000), flip=st.integers(0, 1999), value=st.integers(0, 255))
def test_damaged_files_never_crash(proxy, tmp_path, cut: int, flip: int, value: int) -> None:
    path = tmp_path / "set.safetensors"
    proxy.save(path)
    damaged = bytearray(path.read_bytes())
    damaged[flip % len(damaged)] = value
    path.write_bytes(damaged[: len(damaged) - cut % 50])
    try:
        ProxySet.load(path)
    except UserError as error:
        assert "\n" not in str(error)


def test_a_set_of_other_data_is_refused(proxy: ProxySet) -> None:
    from nasproxy import from_arrays
    from tests.conftest import make_arrays

    with pytest.raises(UserError, match=r"was made from made .* not from other"):
        proxy.check_fits(from_arrays(*make_arrays(seed=5), name="other"))
