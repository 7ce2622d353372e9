"""Pictures by matplotlib that show text as it is."""

import contextlib
import warnings
from collections.abc import Iterator

import matplotlib


@contextlib.contextmanager
def plain_text() -> Iterator[None]:
    """Draw names as they are: a dollar begins no formula, and a character may lack a glyph."""
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
