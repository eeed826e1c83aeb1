"""Completions side by side: prompts as rows, stages as columns."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables
from modecollapse.metrics.lexical import first_words

_PROMPTS_PER_SET = 2
_SAMPLES = 2
_LINES = 7
"""Lines of a completion shown at most."""
_CHARACTERS = 4000
"""Characters of a completion that are laid out; more than `_LINES` lines hold."""
_TYPE = style.TINY
_LINE = 0.115
"""Inches from one line of text to the next."""

_NARROWEST = 1.3
"""Inches that a stage has at least."""


@style.styled
def samples(tables: Tables, context: FigureContext) -> Figure:
    """Sample completions of one size (`context.size`) and its first seed, at `context.temperature`.

    Reads the table `samples`: the first two prompts of each set, two completions of each. Characters that the font
    cannot draw are shown as ▯; long completions end in "…".
    """
    chosen = _chosen(tables["samples"], context)
    stages = [stage for stage in context.stages if (chosen["stage"] == stage).any()]
    margin, gap = 0.1, 0.16
    # Many stages make the sheet wider, so that a column holds a few words.
    page = max(style.PAGE_WIDTH, len(stages) * _NARROWEST)
    width = (page - 2 * margin - gap * (len(stages) - 1)) / max(1, len(stages))
    rows = [
        (name, prompt, _columns(chosen[(chosen["prompts"] == name) & (chosen["prompt"] == prompt)], stages, width))
        for name in context.prompts
        for prompt in list(dict.fromkeys(chosen.loc[chosen["prompts"] == name, "prompt"]))[:_PROMPTS_PER_SET]
    ]
    heights = [_LINE * (2 + max((len(lines) for lines in columns), default=0)) + 0.1 for _, _, columns in rows]
    height = 0.5 + sum(heights)
    figure = Figure(figsize=(page, height))
    scope = context.scope(f"{context.size} · T = {context.temperature}")
    style.heading(figure, scope + ("" if len(chosen) else " · no samples"))
    marks = style.marks(context.stages)
    for column, stage in enumerate(stages):
        x = (margin + column * (width + gap)) / page
        figure.text(
            x, 1 - 0.3 / height, context.label(stage), fontsize=style.BODY, fontweight="bold", va="center",
            color=marks[stage].colour,
        )  # fmt: skip
    y = height - 0.44
    for (name, prompt, columns), row_height in zip(rows, heights, strict=True):
        ends = [margin / page, 1 - margin / page]
        figure.add_artist(Line2D(ends, [y / height] * 2, color=style.LIGHT_GREY, linewidth=0.6))
        question = context.prompts[name].get(prompt, prompt)
        title = style.shortened(f"{name}: {question}", page - 2 * margin, _TYPE * 1.1)
        figure.text(
            ends[0], (y - 0.11) / height, title, fontsize=_TYPE, fontstyle="italic", va="center", color=style.GREY
        )
        for column, lines in enumerate(columns):
            x = (margin + column * (width + gap)) / page
            for number, line in enumerate(lines):
                figure.text(x, (y - 0.26 - _LINE * number) / height, line, fontsize=_TYPE, va="center")
        y -= row_height
    return figure


def _chosen(table: pd.DataFrame, context: FigureContext) -> pd.DataFrame:
    """One size, one seed, one temperature, one prompt format for each stage."""
    table = context.in_view(table)
    table = table[(table["size"] == context.size) & (table["temperature"] == context.temperature)]
    return table[table["seed"] == table["seed"].min()]


def _columns(table: pd.DataFrame, stages: list[str], width: float) -> list[list[str]]:
    """The lines of each stage's column: completions under each other with an empty line between."""
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
