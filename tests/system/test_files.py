"""Where what is made goes."""

from pathlib import Path

import pytest

from nasproxy.system.files import runs_folder


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("digits", "convnet_small"), "digits-convnet_small"),
        (("digits", "./my_space.py"), "digits-my_space"),
        (("./images/", "a/b/space.py"), "images-space"),
        (("set.npz", "convnet"), "set-convnet"),
        (("imagenet-v1.5", "convnet"), "imagenet-v1.5-convnet"),  # no ending of a file
        (("cifar10", "nasbench201:C=8,N=1"), "cifar10-nasbench201-C=8,N=1"),
        (("cifar10", "my.py:widths=[1,2]"), "cifar10-my-widths=_1,2_"),
        (("search", "table", "nasbench201"), "search-table-nasbench201"),
    ],
)
def test_runs_are_named_by_what_they_are_about(names: tuple[str, ...], expected: str) -> None:
    assert runs_folder(*names) == Path("runs") / expected


def test_the_folder_that_one_is_in_has_a_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs_folder(".", "convnet") == Path("runs") / f"{tmp_path.name}-convnet"
