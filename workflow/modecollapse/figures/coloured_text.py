"""Text token by token, each on the colour of its probability, behind the grey text that it continues."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from modecollapse.figures import style
from modecollapse.figures.token_colours import INK, STOPS, colour

_TYPE = style.TINY
_LINE, _BACKGROUND = 0.13, 0.115
"""Inches from one line to the next, and height of the colour behind a token."""
_TITLE, _BETWEEN = 0.19, 0.06
"""Height of a block's title, and space below each of its passages, in inches."""
_LABELS = 0.78
"""Width in inches of the column with the passages' labels."""
_MARGIN = 0.1
_LONGEST = 1.6
"""Inches of a token that are shown at most."""
_BEFORE = 1.6
"""Lines' worth of the text before the tokens that is shown, its end."""
LINES = 8
"""Lines of a passage at most."""
CUT = "“…”: longer; ↵: line break."


@dataclass(frozen=True)
class Passage:
    """A continuation to be drawn."""

    label: str
    before: str
    tokens: Sequence[str]
    probabilities: Sequence[float]
    colour: str = style.GREY
    """Of the label."""


@dataclass(frozen=True)
class Block:
    """Passages under a common title."""

    title: str
    colour: str
    passages: Sequence[Passage]


@dataclass(frozen=True)
class Placed:
    """A piece of text in a line."""

    text: str
    x: float
    """Inches from the start of the line to its left edge, leading spaces included."""
    width: float
    probability: float | None
    """None for the text before the tokens."""


def lay_out(passage: Passage, inches: float, lines: int = LINES) -> list[list[Placed]]:
    """The lines of a passage, at most `inches` wide and `lines` many; what does not fit ends in "…".

    Characters that the font cannot draw are shown as ▯, line breaks as ↵, a token without a character as a space;
    tokens are not divided, but cut to `_LONGEST` inches.
    """
    found: list[list[Placed]] = [[]]
    x = 0.0
    end = style.text_width(" …", _TYPE)
    for text, probability in _pieces(passage, inches):
        room = inches - (end if len(found) == lines else 0.0)
        if found[-1] and x + style.text_width(text, _TYPE) > room:
            if len(found) == lines:
                found[-1].append(Placed(" …", x, end, None))
                return found
            found.append([])
            x = 0.0
        if not found[-1]:
            text = text.lstrip(" ") or text
        width = style.text_width(text, _TYPE)
        found[-1].append(Placed(text, x, width, probability))
        x += width
    return found


def _pieces(passage: Passage, inches: float) -> Iterator[tuple[str, float | None]]:
    words = [_shown(word) for word in re.findall(r"\s*\S+|\s+$", passage.before)]
    kept, width = 0, 0.0
    for word in reversed(words):
        width += style.text_width(word, _TYPE)
        if width > _BEFORE * inches:
            yield "…", None
            break
        kept += 1
    for word in words[len(words) - kept :]:
        yield word, None
    for token, probability in zip(passage.tokens, passage.probabilities, strict=True):
        yield _shown(token) or " ", float(probability)


def _shown(text: str) -> str:
    # A token may be as long as a model likes; far less than this is drawn.
    text = style.printable(text[:400].replace("\r\n", "\n").replace("\r", "\n").replace("\n", "↵"))
    return text if style.text_width(text, _TYPE) <= _LONGEST else style.shortened(text, _LONGEST, _TYPE)


def coloured_sheet(blocks: Sequence[Block], heading: str, footer: str, empty: str) -> Figure:
    """Blocks of passages below each other, with a legend of the colours; `empty` is said where there is none."""
    wide = style.PAGE_WIDTH - 2 * _MARGIN
    laid = [[lay_out(passage, wide - _LABELS) for passage in block.passages] for block in blocks]
    heights = [_TITLE + sum(_LINE * len(lines) + _BETWEEN for lines in passages) for passages in laid] or [0.5]
    footer_lines = style.wrapped(footer, wide, style.TINY)
    below = 0.1 + 0.105 * len(footer_lines)
    drawn = style.sheet([wide], heights, [], [0.08] * (len(heights) - 1), (_MARGIN, _MARGIN, 0.42, below))
    for axes, height in zip(drawn.all(), heights, strict=True):
        axes.set_axis_off()
        axes.set_xlim(0.0, wide)
        axes.set_ylim(0.0, height)
    for axes, block, passages in zip(drawn.all(), blocks, laid, strict=False):
        _draw_block(axes, block, passages)
    if not blocks:
        style.note(drawn.panels[0][0], empty)
    style.heading(drawn.figure, heading)
    style.footer(drawn.figure, "\n".join(footer_lines))
    _legend(drawn.figure)
    return drawn.figure


def _draw_block(axes: Axes, block: Block, passages: Sequence[Sequence[Sequence[Placed]]]) -> None:
    (_, wide), (_, y) = axes.get_xlim(), axes.get_ylim()
    title = style.shortened(block.title, wide, style.SMALL)
    axes.text(0.0, y - _TITLE / 2, title, fontsize=style.SMALL, fontweight="bold", va="center", color=block.colour)
    y -= _TITLE
    for passage, lines in zip(block.passages, passages, strict=True):
        label = style.shortened(passage.label, _LABELS - 0.06, _TYPE)
        axes.text(0.0, y - _LINE / 2, label, fontsize=_TYPE, va="center_baseline", color=passage.colour)
        for line in lines:
            for piece in line:
                _draw_piece(axes, piece, y - _LINE / 2)
            y -= _LINE
        y -= _BETWEEN


def _draw_piece(axes: Axes, piece: Placed, middle: float) -> None:
    if piece.probability is not None:
        corner = (_LABELS + piece.x, middle - _BACKGROUND / 2)
        axes.add_patch(
            Rectangle(corner, piece.width, _BACKGROUND, facecolor=colour(piece.probability), linewidth=0, clip_on=False)
        )
    text = piece.text.lstrip(" ")
    if text:
        x = _LABELS + piece.x + style.text_width(piece.text[: len(piece.text) - len(text)], _TYPE)
        ink = style.GREY if piece.probability is None else INK
        axes.text(x, middle, text, fontsize=_TYPE, va="center_baseline", color=ink)


def _legend(figure: Figure) -> None:
    width, height = figure.get_size_inches()
    bar = figure.add_axes(((width - 1.75) / width, 1 - 0.14 / height, 1.6 / width, 0.08 / height))
    colours = LinearSegmentedColormap.from_list("tokens", STOPS)
    figure.colorbar(ScalarMappable(Normalize(0.0, 1.0), colours), cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=style.TINY, pad=1, length=1.5)
    bar.set_ylabel("probability of the token ", fontsize=style.TINY, rotation=0, ha="right", va="center")
