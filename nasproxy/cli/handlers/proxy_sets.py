"""Making proxy sets, taking in those of others, and trying them."""

from inspect import signature
from pathlib import Path
from typing import Any

from nasproxy.cli.answer import Answer, answer_of
from nasproxy.cli.handlers.data import Given, loaded
from nasproxy.cli.options import of_data
from nasproxy.errors import UserError
from nasproxy.proxies.checkpoint import checkpoint_beside
from nasproxy.proxies.importing import import_proxy
from nasproxy.proxies.methods import condense, method_options
from nasproxy.proxies.proxy_set import ProxySet
from nasproxy.proxies.quality import evaluate
from nasproxy.system.files import make_folder


def on_condense(out: str = "proxy.safetensors", **given: Any) -> Answer:
    """Make a proxy set, and a picture of it.

    Args:
        out: file to write; its picture has the ending .png.
    """
    of_method = given.keys() - {*signature(condense).parameters, *(o.parameter for o in of_data())}
    method_options(given["method"], **{name: given[name] for name in of_method})
    given = loaded(given)  # what takes longest comes last
    path = _proxy_path(out)
    return _saved(condense(checkpoint=checkpoint_beside(path), **given), given, path)


def on_import(out: str = "proxy.safetensors", **given: Any) -> Answer:
    """Take a proxy set that another program made.

    Args:
        out: file to write; its picture has the ending .png.
    """
    given = loaded(given)
    return _saved(import_proxy(**given), given, _proxy_path(out))


def on_evaluate(**given: Any) -> Answer:
    """Train ConvNets on a proxy set and on as many random real images, and test both."""
    return answer_of(evaluate(**loaded(given)))


def _proxy_path(out: str) -> Path:
    path = Path(out)
    if path.suffix != ".safetensors":
        raise UserError(f"expected --out to end in .safetensors, got {out}")
    make_folder(path.parent)
    return path


def _saved(proxy: ProxySet, given: Given, path: Path) -> Answer:
    """Save a set and its picture."""
    proxy.save(path)
    picture = path.with_suffix(".png")
    proxy.preview(picture, data=given["data"])
    return _answer(proxy, path, picture)


def _answer(proxy: ProxySet, path: Path, picture: Path) -> Answer:
    """A proxy set on disk."""
    made = {"out": str(path), "preview": str(picture), "images": len(proxy)}
    made |= {"seconds": proxy.seconds, "digest": proxy.digest, **proxy.metadata}
    cost = "" if proxy.seconds is None else f" in {proxy.seconds:.1f} s"
    return Answer(made, f"{path}: {len(proxy)} images{cost}; see {picture}")
