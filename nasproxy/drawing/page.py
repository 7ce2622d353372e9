"""Pages that are one file: styles, figures to look into, and what draws them all inside."""

import base64
import functools
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import plotly.io
import plotly.offline

from nasproxy.drawing import by_plotly
from nasproxy.drawing.figure import Figure


def render(template: Path, **values: Any) -> str:
    """A page by a template that extends ``page.html.jinja``."""
    folders = [template.parent, Path(__file__).parent]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(plotly=_packed_plotly(), **values)


def plots(figures: Mapping[str, Figure]) -> dict[str, str]:
    """Figures as JSON, for a page of `render`; nothing in them ends the element that holds them."""
    found = {name: plotly.io.to_json(by_plotly.draw(figure)) for name, figure in figures.items()}
    return {name: text.replace("<", "\\u003c") for name, text in found.items()}


@functools.cache
def _packed_plotly() -> str:
    """What draws, a third of its 5 MB: gzip, which browsers unpack since 2023, in base64."""
    packed = gzip.compress(plotly.offline.get_plotlyjs().encode(), mtime=0)
    return base64.b64encode(packed).decode("ascii")
