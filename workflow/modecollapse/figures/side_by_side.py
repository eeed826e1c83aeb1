"""Texts of stages side by side: questions as rows, stages as columns."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext
from modecollapse.metrics.lexical import first_words

_SAMPLES = 2
_LINES = 7
"""Lines of a text shown at most."""
_CHARACTERS = 4000
"""Characters of a text that are laid out; more than `_LINES` lines hold."""
_TYPE = style.TINY
_LINE = 0.115
"""Inches from one line of text to the next."""

_NARROWEST = 1.3
"""Inches that a stage has at least."""


def side_by_side(
    context: FigureContext, heading: str, labels: Mapping[str, str], rows: Sequence[tuple[str, pd.DataFrame]]
) -> Figure:
    """The first two texts of each stage for each of some questions.

    Characters that the font cannot draw are shown as ▯; long texts end in "…".

    Args:
        context: for the colours of stages.
        heading: what the whole figure is about.
        labels: stage → what is written above its column, from left to right.
        rows: of each question what is written above it and the texts, with `stage`, `format`, `sample` and `text`.
    """
    margin, gap = 0.1, 0.16
    # Many stages make the sheet wider, so that a column holds a few words.
    page = max(style.PAGE_WIDTH, len(labels) * _NARROWEST)
    width = (page - 2 * margin - gap * (len(labels) - 1)) / max(1, len(labels))
    laid_out = [(title, _columns(texts, list(labels), width)) for title, texts in rows]
    heights = [_LINE * (2 + max((len(lines) for lines in columns), default=0)) + 0.1 for _, columns in laid_out]
    height = 0.5 + sum(heights)
    figure = Figure(figsize=(page, height))
    style.heading(figure, heading)
    marks = style.marks(context.stages)
    for column, (stage, label) in enumerate(labels.items()):
        x = (margin + column * (width + gap)) / page
        figure.text(
            x, 1 - 0.3 / height, label, fontsize=style.BODY, fontweight="bold", va="center", color=marks[stage].colour
        )
    y = height - 0.44
    for (title, columns), row_height in zip(laid_out, heights, strict=True):
        ends = [margin / page, 1 - margin / page]
        figure.add_artist(Line2D(ends, [y / height] * 2, color=style.LIGHT_GREY, linewidth=0.6))
        title = style.shortened(title, page - 2 * margin, _TYPE * 1.1)
        figure.text(
            ends[0], (y - 0.11) / height, title, fontsize=_TYPE, fontstyle="italic", va="center", color=style.GREY
        )
        for column, lines in enumerate(columns):
            x = (margin + column * (width + gap)) / page
            for number, line in enumerate(lines):
                figure.text(x, (y - 0.26 - _LINE * number) / height, line, fontsize=_TYPE, va="center")
        y -= row_height
    return figure


def _columns(table: pd.DataFrame, stages: list[str], width: float) -> list[list[str]]:
    """The lines of each stage's column: texts under each other with an empty line between."""
    columns = []
    for stage in stages:
        lines: list[str] = []
        for text in table.loc[table["stage"] == stage].sort_values(["format", "sample"])["text"].head(_SAMPLES):
            shown = first_words(text, _CHARACTERS)[:_CHARACTERS]  # to measure a million characters takes seconds
            wrapped = style.wrapped(style.printable(shown) or "(empty)", width - 0.1, _TYPE)
            if len(wrapped) > _LINES:
                wrapped = [*wrapped[: _LINES - 1], style.shortened(wrapped[_LINES - 1] + "…", width - 0.1, _TYPE)]
            lines += ["", *(("• " if not n else "   ") + line for n, line in enumerate(wrapped))][0 if lines else 1 :]
        columns.append(lines)
    return columns
