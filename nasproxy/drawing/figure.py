"""What a figure is, before it is drawn: by Plotly for a screen, by matplotlib for paper."""

from collections.abc import Sequence
from dataclasses import dataclass

# Okabe and Ito's, told apart by the colour-blind; grey for black, which is lost in the dark
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B6A800", "#808080")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon", "pentagon", "bowtie")
GREY = COLOURS[-1]


@dataclass(frozen=True)
class Marks:
    """Points of one look, or a line through them.

    Attributes:
        x, y: of each point, None where a line is broken; y may be names of a figure's rows.
        label: in the legend; empty for what is not there.
        colour, symbol, size: of the points; without a symbol there is only the line.
        line: ``solid``, ``dash``, or ``step``, which keeps its height up to the next point.
        opacity: in [0, 1].
        bars: an interval about each point: along x in a row, else along y.
        text: shown beside each point.
        about: shown of each point on a screen, when it is pointed at.
        panel: that these belong to; None for all.
    """

    x: Sequence[float | None]
    y: Sequence[float | str | None]
    label: str = ""
    colour: str = GREY
    symbol: str = ""
    size: int = 10
    line: str = ""
    opacity: float = 1.0
    bars: Sequence[tuple[float | None, float | None]] = ()
    text: Sequence[str] = ()
    about: Sequence[str] = ()
    panel: int | None = None


@dataclass(frozen=True)
class Panel:
    """One of several views of a figure: side by side on paper, a menu's entries on a screen."""

    name: str
    x_label: str
    log_x: bool = False


@dataclass(frozen=True)
class Figure:
    """What is marked where, and how it is labelled.

    Attributes:
        rows: names that stand for y, from below; empty where y is a number.
        rules: vertical lines: where, and what they are.
        x_range, y_range: None for that of the marks.
    """

    title: str
    y_label: str
    marks: tuple[Marks, ...]
    panels: tuple[Panel, ...]
    rows: tuple[str, ...] = ()
    rules: tuple[tuple[float, str], ...] = ()
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
