import pytest

from nasproxy import UserError, from_arrays, load_dataset
from nasproxy.data.dataset import as_dataset
from tests.conftest import make_arrays


def test_npz_and_arrays_agree(npz: str, data) -> None:
    loaded = load_dataset(npz)
    assert loaded.digest == data.digest
    assert len(loaded.test) == 90


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("./nowhere/", "no such folder"),
        ("missing.npz", "no such file"),
    ],
)
def test_unknown_data_is_named(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_dataset(name)


def test_a_name_or_the_data_set_itself(data) -> None:
    assert as_dataset(data) is data
    assert as_dataset("digits").digest == load_dataset("digits").digest


def test_test_images_want_labels() -> None:
    x, y = make_arrays(60)
    with pytest.raises(UserError, match="both x_test and y_test"):
        from_arrays(x, y, x_test=x)
