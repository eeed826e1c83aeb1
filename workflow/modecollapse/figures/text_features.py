"""Features of text: where chosen answers differ from rejected ones, and whether tuning moves answers the same way."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, records
from modecollapse.figures.feature_labels import label_points
from modecollapse.figures.feature_sides import (
    Shown,
    Step,
    agreement,
    footer_lines,
    look_of,
    rows_of_size,
    shown_features,
    step_label,
)

_NAMES = 1.62
"""Inches beside the panels, for the features' names."""
_ROW, _TALLEST = 0.112, 0.3
"""Inches of a feature's row: with few marks, and with many."""
_MARK = 0.03
"""Inches that a mark needs beside the others of its row."""
_COLUMN = 0.5
"""Inches of a step's column in the chart of signs."""
_SIGNIFICANT = 0.05
_BAND = "#F8F8F8"
"""Behind every second feature."""
_FARTHEST = 15.0
"""−log10 q beyond this is drawn at the edge."""
_NAMED = 7
"""Features of a panel that are named at most."""
_LETTER = 0.058
"""Inches of a letter of small text, about."""
_LINE = 0.105
"""Inches from one line of small text to the next."""


@style.styled
def feature_differences(tables: Tables, context: FigureContext) -> Figure:
    """Normalised mean differences of every feature, a panel per split: the data's, and each step's of `context.size`.

    Without a size those of the data alone. Reads `text_features`.
    """
    shown = shown_features(tables["text_features"], context)
    said = "Lines: 95 % bootstrap intervals."
    sheet, room = _page(shown, said)
    series = shown.series()
    for axes, split in _panels(sheet, shown):
        axes.axvline(0, color=style.GREY, linewidth=0.7)
        for (order, step), (place, feature) in itertools.product(enumerate(series), shown.places()):
            at = place + room * (order - (len(series) - 1) / 2)
            value, low, high = (shown.value(step, split, feature, column) for column in ("normalised", "low", "high"))
            look = look_of(step, shown, context)
            if not math.isnan(low):
                axes.hlines(at, low, high, color=look["color"], linewidth=0.7)
            if not math.isnan(value):
                axes.plot([value], [at], **look)
        axes.margins(x=0.05)
        axes.set_xlabel("Mean difference / S", labelpad=2)
    _finish(sheet, shown, context, said)
    return sheet.figure


@style.styled
def feature_p_values(tables: Tables, context: FigureContext) -> Figure:
    """How certain the differences are: −log10 of adjusted p-values, a panel per split. Reads `text_features`.

    Without a size those of the data alone.
    """
    shown = shown_features(tables["text_features"], context, "q")
    farthest = max((x for x in _certainties(shown) if not math.isnan(x)), default=0.0)
    edge = _FARTHEST if farthest > _FARTHEST else max(3.0, math.ceil(farthest))
    clipped = f" Triangles at the edge: q below 1e−{_FARTHEST:.0f}." if farthest > _FARTHEST else ""
    said = f"Wilcoxon, Benjamini–Hochberg over features. Dashed: q = {_SIGNIFICANT}. Hollow at 0: not defined.{clipped}"
    sheet, room = _page(shown, said)
    series = shown.series()
    for axes, split in _panels(sheet, shown):
        axes.axvline(-math.log10(_SIGNIFICANT), color=style.GREY, linewidth=0.8, linestyle="dashed")
        for (order, step), (place, feature) in itertools.product(enumerate(series), shown.places()):
            at = place + room * (order - (len(series) - 1) / 2)
            look, x = look_of(step, shown, context), _certainty(shown.value(step, split, feature, "q"))
            if (step, split, feature) not in shown.rows:
                continue
            if math.isnan(x):
                x, look = 0.0, look | {"markerfacecolor": "white"}
            elif x > edge:
                x, look = edge, look | {"marker": ">"}
            axes.plot([x], [at], clip_on=False, **look)
        axes.set_xlim(0, edge)
        axes.set_xlabel("−log₁₀ q", labelpad=2)
    _finish(sheet, shown, context, said)
    return sheet.figure


@style.styled
def feature_agreement(tables: Tables, context: FigureContext) -> Figure:
    """Whether each step of `context.size` moves each feature the way the data points, and the share that it does.

    A column per split and step. Reads `text_features`.
    """
    shown = shown_features(tables["text_features"], context, "agreement")
    columns = [
        (split, step)
        for split, step in itertools.product(shown.splits, shown.steps)
        if any(_defined(agreement(shown, step, split, name)) for name in shown.features)
    ]
    count = max(1, len(columns))
    names, right, top, bars = _NAMES, 0.1, 0.45, 0.6
    wide = min(_COLUMN, (style.PAGE_WIDTH - names - right) / count) * count
    right = max(right, 4.6 - names - wide)
    lines = footer_lines(
        shown, "Filled: both differences have q < 0.05. Dashed: half of the features.", names + wide + right
    )
    labels = [step_label(step, context).replace(" − ", "\n− ") for _, step in columns]
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    upright = longest * _LETTER < wide / count
    bottom = (0.4 if upright else 0.16 + longest * _LETTER) + _LINE * len(lines)
    heights = [bars, max(1.0, _ROW * len(shown.lines))]
    sheet = style.sheet([wide], heights, [], [0.08], (names, right, top, bottom))
    share, chart = sheet.panels[0][0], sheet.panels[1][0]
    for place, (split, step) in enumerate(columns):
        found = {line: agreement(shown, step, split, name) for line, name in shown.places()}
        known = {line: sign for line, sign in found.items() if _defined(sign)}
        agreeing, colour = sum(sign > 0 for sign in known.values()), look_of(step, shown, context)["color"]
        share.bar(place, agreeing / len(known), width=0.6, color=colour, alpha=0.75)
        share.text(
            place, agreeing / len(known) + 0.03, f"{agreeing}/{len(known)}", ha="center", va="bottom",
            fontsize=style.TINY,
        )  # fmt: skip
        for line, sign in known.items():
            name = shown.lines[line][1]
            sure = all(shown.value(side, split, name, "q") < _SIGNIFICANT for side in (None, step))
            sign_look = _SIGNS[int(sign)]
            face = sign_look["color"] if sure or sign == 0 else "white"
            chart.plot([place], [line], linestyle="none", markerfacecolor=face, markersize=4.0, **sign_look)
    for axes in (share, chart):
        axes.set_xlim(-0.5, count - 0.5)
        axes.grid(axis="x", visible=False)
        axes.set_xticks(range(len(columns)), [""] * len(columns))
        axes.tick_params(axis="x", length=0)
    share.set_ylim(0, 1.25)
    share.set_yticks([0, 0.5, 1])
    share.set_ylabel("Share", fontsize=style.TINY)
    if columns:
        _named_lines(chart, shown)
        share.axhline(0.5, color=style.GREY, linewidth=0.7, linestyle="dashed")
        chart.set_xticks(range(len(columns)), labels, fontsize=style.TINY, rotation=0 if upright else 90)
        for split, group in itertools.groupby(enumerate(columns), lambda each: each[1][0]):
            of_split = [place for place, _ in group]
            share.text(
                float(np.mean(of_split)), 1.32, split.capitalize(), ha="center", va="bottom", fontsize=style.BODY
            )
            if of_split[-1] < len(columns) - 1:
                chart.axvline(of_split[-1] + 0.5, color=style.LIGHT_GREY, linewidth=0.7)
    else:
        share.set_axis_off()
        style.note(chart, "no differences of both\nthe data and a step")
    style.heading(sheet.figure, context.scope(f"{context.size} · signs of mean differences"))
    style.footer(sheet.figure, "\n".join(lines))
    handles = [
        Line2D([], [], linestyle="none", markersize=4.0, label=label, **_SIGNS[sign])
        for sign, label in ((1, "as the data"), (-1, "the other way"))
    ]
    style.top_legend(sheet.figure, handles)
    return sheet.figure


@style.styled
def feature_alignment(tables: Tables, context: FigureContext) -> Figure:
    """What each step of `context.size` changes against what the data prefers: a point per feature.

    A row per step, a column per split. Reads `text_features` and `text_feature_alignment`.
    """
    shown = shown_features(tables["text_features"], context)
    splits = [split for split in shown.splits if any((None, split, name) in shown.rows for name in shown.features)]
    steps = [
        step
        for step in shown.steps
        if any((step, split, name) in shown.rows for split in splits for name in shown.features)
    ]
    found = rows_of_size(tables["text_feature_alignment"], context)
    numbers = {((row["stage"], row["reference"]), row["split"]): row for row in records(found)}
    rows, columns = max(1, len(steps)), max(1, len(splits))
    said = "Each point: a feature. [ ]: 95 % interval over items, features held fixed."
    lines = footer_lines(shown, said, style.PAGE_WIDTH)
    left, right, top, bottom, gap = 0.55, 0.1, 0.5, 0.42 + _LINE * len(lines), 0.5
    widths = style.spread(columns, style.PAGE_WIDTH - left - right, [gap] * (columns - 1))
    sheet = style.sheet(
        [min(width, 4.0) for width in widths], [2.5] * rows, [gap] * (columns - 1), [0.52] * (rows - 1),
        (left, right, top, bottom),
    )  # fmt: skip
    looks = style.looks(list(dict.fromkeys(category for category, _ in shown.lines)))
    drawn: set[str] = set()
    for (row, step), (column, split) in itertools.product(enumerate(steps), enumerate(splits)):
        axes = sheet.panels[row][column]
        axes.set_title(f"{step_label(step, context)} · {split}", color=look_of(step, shown, context)["color"], pad=4)
        points = [
            (category, name, shown.value(None, split, name, "normalised"), shown.value(step, split, name, "normalised"))
            for category, name in shown.lines
            if name
        ]
        points = [point for point in points if not math.isnan(point[2]) and not math.isnan(point[3])]
        if not points:
            style.note(axes, "no feature is defined\non both sides")
            continue
        for category, _, x, y in points:
            drawn.add(category)
            look = looks[category]
            axes.plot([x], [y], color=look.colour, marker=look.marker, linestyle="none", markersize=3.0, alpha=0.85)
        axes.axhline(0, color=style.GREY, linewidth=0.7, zorder=1)
        axes.axvline(0, color=style.GREY, linewidth=0.7, zorder=1)
        axes.margins(0.14)
        axes.set_xlabel("Data: chosen − rejected, in S", labelpad=2)
        axes.set_ylabel("Step: stage − reference, in S", labelpad=2)
        label_points(axes, [(name, x, y) for _, name, x, y in points], _said(numbers.get((step, split))), _NAMED)
    if not steps or not splits:
        style.note(sheet.panels[0][0], "no differences of both\nthe data and a step")
    style.heading(sheet.figure, context.scope(f"{context.size} · means of features"))
    style.footer(sheet.figure, "\n".join(lines))
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="none", label=category)
        for category, look in looks.items()
        if category in drawn
    ]
    style.top_legend(sheet.figure, handles)
    return sheet.figure


_SIGNS: Mapping[int, dict[str, Any]] = {
    1: {"color": "#0072B2", "marker": "o", "markeredgewidth": 0.8},
    0: {"color": style.LIGHT_GREY, "marker": "_", "markeredgewidth": 0.8},
    -1: {"color": "#D55E00", "marker": "X", "markeredgewidth": 0.7},
}


def _page(shown: Shown, said: str) -> tuple[style.Sheet, float]:
    """A panel per split, and how far apart the marks of a row are, in rows."""
    panels, marks = max(1, len(shown.splits)), max(1, len(shown.series()))
    row = min(_TALLEST, max(_ROW, _MARK * (marks + 0.5)))
    gap, bottom = 0.14, 0.45 + _LINE * len(footer_lines(shown, said, style.PAGE_WIDTH))
    widths = style.spread(panels, style.PAGE_WIDTH - _NAMES - 0.12, [gap] * (panels - 1))
    sheet = style.sheet(
        widths, [max(1.0, row * len(shown.lines))], [gap] * (panels - 1), [], (_NAMES, 0.12, 0.42, bottom)
    )
    return sheet, 0.84 / marks


def _panels(sheet: style.Sheet, shown: Shown) -> Iterator[tuple[Axes, str]]:
    """Each split's panel with its rows named, the first beside them."""
    first = sheet.panels[0][0]
    if not shown.lines:
        for axes in sheet.all():
            style.note(axes, "no feature is defined")
        return
    for axes, split in zip(sheet.panels[0], shown.splits, strict=True):
        axes.set_title(split.capitalize(), pad=4)
        if axes is not first:
            axes.sharey(first)
            axes.sharex(first)
        yield axes, split
        _named_lines(axes, shown, axes is first)


def _named_lines(axes: Axes, shown: Shown, named: bool = True) -> None:
    """Features from top to bottom, in bands, below the names of their categories."""
    axes.set_ylim(len(shown.lines) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_yticks(range(len(shown.lines)), [feature or category.capitalize() for category, feature in shown.lines])
    axes.tick_params(axis="y", length=0, labelleft=named, pad=2)
    for place, (_, feature) in enumerate(shown.lines):
        if not feature or place % 2:
            colour = _BAND if feature else style.FAINT
            axes.axhspan(place - 0.5, place + 0.5, color=colour, linewidth=0, zorder=0)
    if named:
        for (_, feature), label in zip(shown.lines, axes.get_yticklabels(), strict=True):
            label.set_fontsize(style.TINY)
            if not feature:
                label.set(color=style.GREY, fontstyle="italic")


def _finish(sheet: style.Sheet, shown: Shown, context: FigureContext, text: str) -> None:
    scope = "text features" if context.size is None else f"{context.size} · text features"
    style.heading(sheet.figure, context.scope(scope))
    style.footer(sheet.figure, "\n".join(footer_lines(shown, text, style.PAGE_WIDTH)))
    series = shown.series() if shown.lines else []
    style.top_legend(
        sheet.figure,
        [Line2D([], [], label=step_label(each, context), **look_of(each, shown, context)) for each in series],
    )


def _defined(value: float) -> bool:
    return not math.isnan(value)


def _certainties(shown: Shown) -> Iterator[float]:
    keys: Sequence[tuple[Step | None, str, str]] = list(shown.rows)
    return (_certainty(shown.value(*key, "q")) for key in keys)


def _certainty(q: float) -> float:
    return math.inf if q == 0 else -math.log10(q)


def _said(row: Mapping[str, Any] | None) -> str:
    if row is None or math.isnan(row["pearson"]):
        return "r: not defined"
    lines = [
        f"{name} = {row[of]:.2f}".replace("-", "−")
        + (
            f" [{row[f'{of}_low']:.2f}, {row[f'{of}_high']:.2f}]".replace("-", "−")
            if row[f"{of}_low"] == row[f"{of}_low"]
            else ""
        )
        for name, of in (("r", "pearson"), ("ρ", "spearman"))
    ]
    return "\n".join([*lines, f"{int(row['agreeing'])} of {int(row['features'])} signs agree"])
