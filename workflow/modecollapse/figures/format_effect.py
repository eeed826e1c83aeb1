"""How much of an apparent stage effect is format: parts that sum to it, or what the format changes at each stage."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from modecollapse.analysis.attribution import MEAN_TEMPERATURE
from modecollapse.analysis.format_effects import APPARENT, BOTH, FORMAT, STAGE
from modecollapse.figures import style
from modecollapse.figures.attribution import (
    HATCHES,
    PAIRS_PER_ROW,
    TOTAL,
    across_bar,
    bars_of_sizes,
    panel_grid,
    places,
    size_axis,
)
from modecollapse.figures.context import FigureContext, Tables, longest_cut, records
from modecollapse.figures.labels import drawn, output_label

_HATCHES = (*HATCHES[1:], "\\\\\\\\", "----", "||||", "++++", "oooo")
_BARS = 18
"""Bars in a panel up to which there are two metrics in a row."""

_TRAINING, _WORDS = 0.75, 0.3
"""Opacity of the parts of training and of the words around the prompt."""


@dataclass(frozen=True)
class _Bar:
    """What one bar is about; a single stage where `step` has no ">"."""

    step: str
    before: str
    after: str
    """Prompt formats."""

    @property
    def last(self) -> str:
        return self.step.split(">")[-1]


@style.styled
def format_effect(tables: Tables, context: FigureContext) -> Figure:
    """Apparent effects of steps that change the prompt format as well, split into training and format.

    In studies without such steps: what each further format changes beside the first one of its stage. Reads the table
    `format_effect`: means over temperatures, longest cut.
    """
    effects = tables["format_effect"]
    words = longest_cut(effects)
    effects = effects[
        (effects["temperature"] == MEAN_TEMPERATURE)
        & (effects["words"] == words)
        & (effects["definition"] == context.definition)
    ]
    split = effects[effects["step"].str.contains(">", regex=False)]
    shown = split[split["within"].isin([BOTH, ""])] if len(split) else effects
    bars = [_Bar(*key) for key in dict.fromkeys(zip(*(shown[c] for c in _KEY), strict=True))]
    drawn_bars = ((str(size), _Bar(*key)) for size, *key in zip(*(shown[c] for c in ["size", *_KEY]), strict=True))
    of_sizes = bars_of_sizes(bars, drawn_bars)
    sets = list(context.prompts)
    per_row = max(1, 2 * PAIRS_PER_ROW // len(sets)) if len(bars) * len(context.sizes) <= _BARS else 1
    panels = [
        (output_label(metric), shown[(shown["metric"] == metric) & (shown["prompts"] == name)])
        for metric in drawn(shown["metric"])
        for name in sets
    ]
    titles = [f"{name.capitalize()} prompts" for name in sets] * per_row
    n = (style.counted(shown["n_prompts"], "prompt"), style.counted(shown["n_seeds"], "training seed"))
    what = "of each part and of the apparent effect" if len(split) else "of each effect"
    notes = [f"Each bar: {', '.join(n)}. Lines: 95 % bootstrap intervals {what}."]
    sheet = panel_grid(
        panels, len(sets), per_row, titles, lambda axes, frame: _panel(axes, frame, bars, of_sizes, context), notes
    )
    style.heading(sheet.figure, f"first {words} words · mean over T")
    style.top_legend(sheet.figure, _handles(bars, context))
    return sheet.figure


_KEY = ["step", "format_before", "format_after"]


def _panel(
    axes: Axes,
    effects: pd.DataFrame,
    bars: Sequence[_Bar],
    of_sizes: Mapping[str, Sequence[_Bar]],
    context: FigureContext,
) -> None:
    """Per size one bar for each change: its parts stacked from zero by sign, the apparent effect as a diamond."""
    marks, hatches = style.marks(context.stages), _hatches(bars)
    rows = {(row["size"], _Bar(*(row[c] for c in _KEY)), row["effect"]): row for row in records(effects)}
    for size, bar, middle, room in places(of_sizes, context.sizes):
        parts = [effect for effect in (STAGE, FORMAT, APPARENT) if (size, bar, effect) in rows]
        ends = {True: 0.0, False: 0.0}
        for offset, effect in zip(across_bar(len(parts), room), parts, strict=True):
            row, at = rows[size, bar, effect], middle + offset
            if effect == APPARENT:
                axes.vlines(at, row["low"], row["high"], color="black", linewidth=0.9, zorder=3)
                axes.plot([at], [row["delta"]], **TOTAL)
                continue
            rising = row["delta"] >= 0
            base = ends[rising]
            colour = marks[bar.last].colour
            if effect == STAGE:
                axes.bar(middle, row["delta"], 0.92 * room, base, color=to_rgba(colour, _TRAINING), edgecolor="white")
            else:
                hatch, face = hatches[bar.before, bar.after], to_rgba(colour, _WORDS)
                axes.bar(middle, row["delta"], 0.92 * room, base, color=face, edgecolor=style.GREY, hatch=hatch)
            axes.vlines(at, base + row["low"], base + row["high"], color="black", linewidth=0.9)
            ends[rising] = base + row["delta"]
    size_axis(axes, context)


def _hatches(bars: Sequence[_Bar]) -> dict[tuple[str, str], str]:
    """A hatch for each change of format; after the eighth they begin again."""
    changes = dict.fromkeys((bar.before, bar.after) for bar in bars)
    return dict(zip(changes, itertools.cycle(_HATCHES), strict=False))


def _handles(bars: Sequence[_Bar], context: FigureContext) -> list[Artist]:
    marks = style.marks(context.stages)
    handles: list[Artist] = []
    for step in dict.fromkeys(bar.step for bar in bars):
        label = " → ".join(context.stages[stage].label for stage in step.split(">"))
        colour = to_rgba(marks[step.split(">")[-1]].colour, _TRAINING if ">" in step else _WORDS)
        handles.append(Patch(facecolor=colour, label=f"training: {label}" if ">" in step else label))
    for (before, after), hatch in _hatches(bars).items():
        handles.append(Patch(facecolor="white", edgecolor=style.GREY, hatch=hatch, label=f"format: {before} → {after}"))
    if any(">" in bar.step for bar in bars):
        handles.append(Line2D([], [], label="apparent effect", **TOTAL))
    return handles
