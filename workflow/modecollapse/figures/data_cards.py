"""Data cards: how often the better answer is longer, and by how much answers differ in length."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, records

_ALL = "all"
_TASKS = 12
"""So many tasks are shown at most, the most frequent ones."""
_LINE = 0.17
_SPREAD = 0.5
"""Share of a line's height over which training seeds are spread."""


@style.styled
def data_cards(tables: Tables, context: FigureContext) -> Figure:
    """Left, shares of pairs whose better answer is longer; right, length ratios: a line for each task and set.

    Reads `data_cards`: sets of the size (`context.size`), and those that are the same for all.
    """
    table = tables["data_cards"]
    table = table[table["size"].isin(("", context.size))]
    counts = table[table["quantity"] == "pairs"].groupby("task")["value"].sum().sort_values(ascending=False)
    present = [task for task in counts.index if task != _ALL]
    tasks = [_ALL, *sorted(present[:_TASKS])]
    pairs = table[table["quantity"] == "pairs"]
    lines = [(task, data) for task in tasks for data in pairs[pairs["task"] == task]["data"].unique()]
    height = _LINE * max(6, len(lines))
    sheet = style.sheet(
        widths=[2.0, 2.0],
        heights=[height],
        column_gaps=[0.2],
        row_gaps=[],
        margins=(1.6, 0.12, 0.42, 0.6),
    )
    left, right = sheet.panels[0]
    _shares(left, table[table["quantity"] == "better_longer_of_unequal_characters"], lines)
    _ratios(right, table[table["quantity"] == "length_ratio_characters"], lines)
    for axes in (left, right):
        axes.set_ylim(max(6, len(lines)) - 0.5, -0.5)
        axes.set_yticks(range(len(lines)), [""] * len(lines))
        axes.grid(axis="y", visible=False)
        for place in range(1, len(lines)):
            if lines[place][0] != lines[place - 1][0]:
                axes.axhline(place - 0.5, color=style.GREY, linewidth=0.5)
    left.set_yticks(
        range(len(lines)),
        [style.shortened(f"{task}: {data}", 1.5, style.TINY) for task, data in lines],
        fontsize=style.TINY,
    )
    left.set_xlabel("Better answer is longer (share)", fontsize=style.TINY)
    right.set_xlabel("Characters of chosen per rejected", fontsize=style.TINY)
    if not lines:
        style.note(left, "no pairs")
    style.heading(sheet.figure, f"{context.size} \u00b7 preference pairs")
    more = f" {len(present) - _TASKS} less frequent tasks are not shown." if len(present) > _TASKS else ""
    n = style.counted(pairs[pairs["task"] == _ALL]["value"].astype(int), "pair")
    style.footer(sheet.figure, f"Each set: {n}. A mark for each training seed; 95 % intervals of shares.{more}")
    return sheet.figure


def _places(of_line: pd.DataFrame, place: int) -> dict[str, float]:
    """Seed \u2192 the height of its mark."""
    seeds = list(of_line["seed"].unique())
    return {seed: place + _SPREAD * (number - (len(seeds) - 1) / 2) / len(seeds) for number, seed in enumerate(seeds)}


def _shares(axes: Axes, shares: pd.DataFrame, lines: list[tuple[str, str]]) -> None:
    axes.axvline(0.5, color=style.GREY, linestyle="dotted", linewidth=1.0)
    axes.set_xlim(0, 1)
    for place, (task, data) in enumerate(lines):
        of_line = shares[(shares["task"] == task) & (shares["data"] == data)]
        heights = _places(of_line, place)
        for row in records(of_line):
            axes.hlines(heights[row["seed"]], row["low"], row["high"], color="#0072B2")
            axes.plot([row["value"]], [heights[row["seed"]]], marker="o", markersize=3, color="#0072B2")


def _ratios(axes: Axes, ratios: pd.DataFrame, lines: list[tuple[str, str]]) -> None:
    axes.axvline(1.0, color=style.GREY, linestyle="dotted", linewidth=1.0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    for place, (task, data) in enumerate(lines):
        of_line = ratios[(ratios["task"] == task) & (ratios["data"] == data)]
        heights = _places(of_line, place)
        for seed, of_seed in of_line.groupby("seed", sort=False):
            low, first, middle, third, high = of_seed.sort_values("level")["value"]
            axes.hlines(heights[str(seed)], low, high, color="#D55E00", linewidth=0.7)
            axes.hlines(heights[str(seed)], first, third, color="#D55E00", linewidth=2.2)
            axes.plot([middle], [heights[str(seed)]], marker="o", markersize=3, color="#D55E00")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.5), max(high, 2.0))
