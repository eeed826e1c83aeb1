"""The one style of all figures: type, sizes, colours, markers, and how a figure becomes files."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ParamSpec

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D

from modecollapse.figures.context import FigureContext, StageInfo, families
from modecollapse.publishing import publish_file

Parameters = ParamSpec("Parameters")

LineStyle = str | tuple[int, tuple[int, ...]]
"""One of matplotlib's names, or an offset with lengths of dashes and gaps."""

PAGE_WIDTH = 7.2
"""Inches: the text width of a two-column paper page."""
DPI = 200

BODY, SMALL, TINY = 8.0, 7.0, 6.0
"""Type sizes in points: axis and panel titles; ticks and legends; notes and dense tables."""

_HANDLE, _SPACING = 2.2, 1.6
"""Length of a legend's handles and space between its columns, in units of its type size."""
_LEGEND_LINE = 0.15
"""Height in inches of one row of a legend."""
_BESIDE = 2
"""Rows of a legend that fit beside the heading."""

BAND_OPACITY = 0.18
"""Of up to six bands over each other."""
GREY, LIGHT_GREY, FAINT = "#555555", "#B0B0B0", "#EFEFEF"

# Okabe and Ito's colour-blind safe palette without its yellow, which is too light for lines on white.
# After its seven what is further down a lineage of more stages: most of Tol's muted palette first.
_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000",
    "#332288", "#882255", "#999933", "#AA4499", "#7F4F24", "#44AA99", "#888888",
    "#B2182B", "#005F5F", "#7FD13B", "#9A8CF0",
)  # fmt: skip
_LIGHTEST, _DARKEST = -0.5, 0.4
"""How much of white (below 0) and of black is mixed into the colour of a run's first and last epoch."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "d", "h", "8")
_HEADING = "heading"
"""Marks the heading among a figure's texts."""

_LINES: tuple[LineStyle, ...] = (
    "solid", "dashed", "dotted", "dashdot", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 3)), (0, (3, 1, 1, 1, 1, 4)),
)  # fmt: skip

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": SMALL,
    "axes.titlesize": BODY,
    "axes.labelsize": SMALL,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": TINY,
    "ytick.labelsize": TINY,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.2,
    "patch.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    # Completions and names hold dollar signs; nothing in a figure is meant as mathematics.
    "text.parse_math": False,
    # Text as shapes looks the same everywhere; a fixed salt makes the SVG's ids, hence its bytes, reproducible.
    "svg.fonttype": "path",
    "svg.hashsalt": "modecollapse",
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Mark:
    """How one stage looks in every figure. Markers tell stages apart where colours do not (grey print).

    The epochs of one training run share colour and marker and grow darker.
    """

    colour: str
    marker: str


def marks(stages: Mapping[str, StageInfo]) -> dict[str, Mark]:
    """The look of each stage, by the place in the lineage of it or of its run."""
    looks = {}
    for place, members in enumerate(families(stages)):
        # One marker on in each further turn through the colours: no two of the first 252 look the same.
        turn, colour = place // len(_COLOURS), _COLOURS[place % len(_COLOURS)]
        marker = _MARKERS[(place + turn) % len(_MARKERS)]
        for epoch, stage in enumerate(members):
            looks[stage] = Mark(_shade(colour, epoch / (len(members) - 1)) if len(members) > 1 else colour, marker)
    return looks


def looks(names: Sequence[str]) -> dict[str, Mark]:
    """The look of each of up to 18 names that are no stages, in their order."""
    each = zip(names, itertools.cycle(_COLOURS), itertools.cycle(_MARKERS), strict=False)
    return {name: Mark(colour, marker) for name, colour, marker in each}


def _shade(colour: str, share: float) -> str:
    """A colour mixed with white at `share` 0, with black at 1, pure in between."""
    amount = _LIGHTEST + (_DARKEST - _LIGHTEST) * share
    return lightened(colour, -amount) if amount < 0 else _mixed(colour, 0, amount)


def lightened(colour: str, amount: float) -> str:
    """A colour with this share of white mixed into it."""
    return _mixed(colour, 255, amount)


def _mixed(colour: str, other: int, amount: float) -> str:
    channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(channel + (other - channel) * amount):02X}" for channel in channels)


def band_opacity(stages: int) -> float:
    """Opacity of bands where those of so many stages may lie over each other: lines must stay visible."""
    return BAND_OPACITY * min(1.0, 6 / max(1, stages))


def line_styles(names: Sequence[str]) -> dict[str, LineStyle]:
    """A line style for each name, e.g. of prompt formats."""
    return {name: _LINES[place % len(_LINES)] for place, name in enumerate(names)}


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Decorator: draw under this style, whatever the caller's matplotlib settings are."""

    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    wrapper.__name__, wrapper.__doc__ = draw.__name__, draw.__doc__
    return wrapper


def save(figure: Figure, stem: Path) -> None:
    """Publish `figure` as ``stem.svg`` and ``stem.png`` (200 dpi); the same figure gives the same bytes."""
    formats: Mapping[str, dict[str, None]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
    for suffix, metadata in formats.items():
        with _style(), publish_file(stem.with_name(f"{stem.name}.{suffix}")) as partial:
            figure.savefig(partial, format=suffix, metadata=metadata)


@dataclass(frozen=True)
class Sheet:
    """A figure of panels with sizes in inches."""

    figure: Figure
    panels: list[list[Axes]]

    def all(self) -> Iterator[Axes]:
        for row in self.panels:
            yield from row


def sheet(
    widths: Sequence[float],
    heights: Sequence[float],
    column_gaps: Sequence[float],
    row_gaps: Sequence[float],
    margins: tuple[float, float, float, float],
) -> Sheet:
    """Panels of `widths` × `heights` inches with the gaps between them; `margins` are left, right, top, bottom."""
    left, right, top, bottom = margins
    width = left + sum(widths) + sum(column_gaps) + right
    height = top + sum(heights) + sum(row_gaps) + bottom
    figure = Figure(figsize=(width, height))
    rows: list[list[Axes]] = []
    y = height - top
    for row, panel_height in enumerate(heights):
        y -= panel_height
        x = left
        axes = []
        for column, panel_width in enumerate(widths):
            axes.append(figure.add_axes((x / width, y / height, panel_width / width, panel_height / height)))
            x += panel_width + (column_gaps[column] if column < len(column_gaps) else 0.0)
        rows.append(axes)
        y -= row_gaps[row] if row < len(row_gaps) else 0.0
    return Sheet(figure, rows)


def spread(count: int, total: float, gaps: Sequence[float]) -> list[float]:
    """Widths of `count` equal panels that fill `total` inches together with their `gaps`."""
    return [(total - sum(gaps)) / count] * count


def shifts(rows: pd.DataFrame, stages: Sequence[str], room: float) -> dict[tuple[str, str], float]:
    """(size, stage) → how far beside the middle of its size's place a stage stands, with `room` for each that `rows`
    hold of that size.
    """
    found: dict[tuple[str, str], float] = {}
    for size, of_size in rows.groupby("size", sort=False):
        shown = [stage for stage in stages if (of_size["stage"] == stage).any()]
        found |= {(str(size), stage): room * (order - (len(shown) - 1) / 2) for order, stage in enumerate(shown)}
    return found


def stage_handles(context: FigureContext, stages: Collection[str]) -> list[Line2D]:
    """Legend entries of those `stages` that are drawn, in the order of the lineage."""
    looks = marks(context.stages)
    return [
        Line2D([], [], color=looks[stage].colour, marker=looks[stage].marker, label=context.label(stage))
        for stage in context.stages
        if stage in stages
    ]


def top_legend(figure: Figure, handles: Sequence[Artist], inches_from_top: float = 0.04) -> None:
    """Legend entries at the top of the figure, in reading order: in its middle, or beside the heading where they fit
    there in a row or two; else below the heading, with room made and all else of the same size.
    """
    labels = [str(handle.get_label()) for handle in handles]
    width = figure.get_size_inches()[0]
    taken = max((text_width(text.get_text(), SMALL) for text in figure.texts if text.get_gid() == _HEADING), default=0)
    rows = _legend_rows(labels, width - taken)
    beside = len(rows) <= _BESIDE and (not taken or _rows_width(labels, rows) <= width - taken - 0.2)
    if not beside:
        rows = _legend_rows(labels, width)
        inches_from_top += _LEGEND_LINE * (taken > 0)
        _make_room(figure, inches_from_top + _LEGEND_LINE * (len(rows) - 1))
    centred = not beside or _rows_width(labels, rows) / 2 < width / 2 - taken - 0.1
    # The library fills columns first; people read rows.
    columns = len(rows[0]) if rows else 1
    ordered = [handles[row[column]] for column in range(columns) for row in rows if column < len(row)]
    height = figure.get_size_inches()[1]
    figure.legend(
        handles=ordered, loc="upper center" if centred else "upper right",
        bbox_to_anchor=(0.5 if centred else 1 - 0.05 / width, 1 - inches_from_top / height),
        ncols=columns, borderaxespad=0.0, handlelength=_HANDLE, columnspacing=_SPACING, labelspacing=0.25,
    )  # fmt: skip


def _legend_rows(labels: Sequence[str], inches: float) -> list[list[int]]:
    """Places of the labels in as few rows of equal columns as are at most `inches` wide."""
    places = range(len(labels))
    for columns in range(len(labels), 0, -1):
        rows = [list(places[start : start + columns]) for start in range(0, len(labels), columns)]
        if columns == 1 or _rows_width(labels, rows) <= inches - 0.2:
            return rows
    return []


def _rows_width(labels: Sequence[str], rows: Sequence[Sequence[int]]) -> float:
    """Inches that a legend with these rows is wide."""
    fixed = (_HANDLE + _SPACING + 0.8) * SMALL / 72  # 0.8: the library's space between handle and text
    columns = range(len(rows[0]) if rows else 0)
    return sum(
        max(text_width(labels[row[column]], SMALL) for row in rows if column < len(row)) + fixed for column in columns
    )


def _make_room(figure: Figure, inches: float) -> None:
    """Make the figure taller at its top; everything but the heading keeps its size and its distance from the bottom."""
    width, height = figure.get_size_inches()
    share = height / (height + inches)
    headings = [text for text in figure.texts if text.get_gid() == _HEADING]
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((box.x0, box.y0 * share, box.width, box.height * share))
    for line in figure.lines:
        line.set_ydata(np.asarray(line.get_ydata(orig=True), dtype=float) * share)
    for text in figure.texts:
        y = text.get_position()[1]
        text.set_y(1 - (1 - y) * share if text in headings else y * share)
    figure.set_size_inches(width, height + inches)


def heading(figure: Figure, text: str) -> None:
    """What the whole figure is about, small, in its upper left corner; to be called before `top_legend`."""
    height = figure.get_size_inches()[1]
    figure.text(0.01, 1 - 0.05 / height, text, ha="left", va="top", fontsize=SMALL, color=GREY, gid=_HEADING)


def footer(figure: Figure, text: str) -> None:
    """Population and n, small, in one line or more along the lower edge."""
    figure.text(0.01, 0.05 / figure.get_size_inches()[1], text, ha="left", va="bottom", fontsize=TINY, color=GREY)


def counted(values: Iterable[int], noun: str) -> str:
    """ "20 prompts", "19–20 prompts" or "1 seed": the range of n over what is drawn."""
    found = sorted({int(value) for value in values})
    if not found:
        return f"0 {noun}s"
    number = f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,}–{found[-1]:,}"
    return f"{number} {noun}" + ("" if found == [1] else "s")


def show_constant(panels: Sequence[Axes]) -> None:
    """Where nothing varies in panels with a common vertical axis: a range of 1 around the value, labelled once.

    Left alone, the range would be a rounding error, or as wide as its tick labels are long.
    """
    ranges = [axes.dataLim.intervaly for axes in panels if axes.has_data()]
    low, high = min((low for low, _ in ranges), default=0.0), max((high for _, high in ranges), default=1.0)
    if high - low < 1e-9:
        middle = round((low + high) / 2, 9)
        panels[0].set_ylim(middle - 0.5, middle + 0.5)
        panels[0].set_yticks([middle])


def marker_size(points: int) -> float:
    """Markers of a line with many points are smaller, so that lines close together stay apart."""
    return 3.2 if points <= 8 else 2.2


def note(axes: Axes, text: str) -> None:
    """An empty panel that says why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, fontsize=TINY, color=GREY)


def printable(text: str) -> str:
    """`text` with what the figures' font cannot draw (emoji, controls, lone surrogates) shown as ▯."""
    drawable = _font().get_charmap()
    return "".join(c if c == "\n" or (ord(c) >= 32 and ord(c) in drawable) else "▯" for c in text)


def visible(token: str) -> str:
    """A token as figures show it: printable, its spaces, tabs and line breaks as signs; ∅ if it has no text."""
    return printable(token.translate({ord(" "): "␣", ord("\n"): "⏎", ord("\t"): "⇥", ord("\r"): "⏎"})) or "∅"


def wrapped(text: str, inches: float, points: float) -> list[str]:
    """`text` broken into lines that are at most `inches` wide at a type size of `points`; long words are cut."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(joined, points) <= inches:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and text_width(lines[-1] + character, points) > inches:
                lines.append("")
            lines[-1] += character
    return lines


def shortened(text: str, inches: float, points: float) -> str:
    """`text` in one line, cut with an ellipsis where it would be wider than `inches` at `points`."""
    text = printable(text)
    if text_width(text, points) <= inches:
        return text
    text = text.removesuffix("…")
    while text and text_width(text + "…", points) > inches:
        text = text[:-1]
    return text.rstrip() + "…"


def text_width(text: str, points: float) -> float:
    """Width in inches of one line of regular type of `points`."""
    return sum(_advance(character) for character in text) * points / 72


@cache
def _advance(character: str) -> float:
    """Width of a character in units of the type size."""
    font = _font()
    font.set_size(100, 72)
    return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / 100


@cache
def _font() -> FT2Font:
    return font_manager.get_font(font_manager.findfont("DejaVu Sans"))


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield
