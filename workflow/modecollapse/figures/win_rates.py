"""Judged comparisons: win, tie and loss per task type as one judge sees them, and how far judges agree."""

import itertools
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, records
from modecollapse.figures.panel_grid import PanelGrid, panel_grid

_PANELS_PER_ROW = 3
_STAGES_PER_ROW = 4
"""Up to so many stages, each judge has a row of its own."""
_ALL = "all"
_TIE, _NONE = "#D9D9D9", "white"
_BAR = 0.62
_LIGHTER = 0.45
"""How much of white is mixed into the colours of bars, so that marks on them stay visible."""
_EVERY = {_ALL: ("all verdicts", "o", "full", -0.14), "won or lost": ("neither a tie", "s", "none", 0.14)}
"""Which pairs agreement counts: their name, marker, how it is filled, and how far beside their line it is drawn."""


@style.styled
def win_rates(tables: Tables, context: FigureContext) -> Figure:
    """One panel for each stage and judge; one bar for each task type, as in Kutalev and Markoff (2024), figures 3 to 6.

    Reads the table `win_rates`; shows one size (`context.size`) and one temperature: that of figures, or else the first
    that is judged.
    """
    table = tables["win_rates"]
    table = table[table["size"] == context.size]
    temperatures = list(table["temperature"])
    at = context.temperature if context.temperature in temperatures else next(iter(temperatures), "")
    table = table[table["temperature"] == at]
    stages, judges = (list(dict.fromkeys(table[name])) for name in ("stage", "judge"))
    judged = dict(list(table.groupby(["judge", "stage"])))
    panels = [judged[key] for key in itertools.product(judges, stages) if key in judged]
    tasks = [_ALL, *dict.fromkeys(task for task in table["task"] if task != _ALL)]
    per_row = len(stages) if 1 < len(stages) <= _STAGES_PER_ROW else _PANELS_PER_ROW
    grid = _grid(len(panels), 0.3 + 0.24 * len(tasks), per_row)
    looks = style.marks(context.stages)
    reference = str(table["reference"].iloc[0]) if len(table) else ""
    for place, (axes, frame) in enumerate(zip(grid.axes, panels, strict=False)):
        stage, judge = (str(frame[name].iloc[0]) for name in ("stage", "judge"))
        _bars(axes, frame, tasks, looks[stage].colour, looks[reference].colour)
        _names(axes, ["all tasks" if task == _ALL else task for task in tasks], named=place % grid.columns == 0)
        title = f"{context.stages[stage].label}, by {judge}"
        axes.set_title(style.shortened(title, grid.width + 0.15, style.BODY), pad=4)
        axes.axvline(0.5, color=style.GREY, linestyle="dashed", linewidth=1.0)
        axes.set_xlim(0, 1)
        axes.set_xlabel("Share of pairs", fontsize=style.TINY, labelpad=2)
    if not panels:
        style.note(grid.axes[0], "nothing judged")
        return grid.figure
    handles: list[Patch | Line2D] = [
        *_winners(list(dict.fromkeys(table["stage"])), context),
        Patch(color=_TIE, label="tie"),
        Patch(
            color=style.lightened(looks[reference].colour, _LIGHTER), label=f"{context.stages[reference].label} wins"
        ),
        Patch(facecolor=_NONE, edgecolor=style.GREY, hatch="////", linewidth=0.0, label="no verdict"),
        Line2D([], [], color="black", marker="o", markersize=3, label="win rate, ties half"),
    ]
    n = [style.counted(table[name], noun) for name, noun in _POPULATION]
    style.footer(grid.figure, f"{context.size}, T = {at}. Each bar: {', '.join(n)}. Lines: 95 % intervals.")
    style.top_legend(grid.figure, handles)
    return grid.figure


_FEW = 3
"""So many stages are named in the legend; of more it says that each has its own colour."""


def _winners(stages: Sequence[str], context: FigureContext) -> list[Patch]:
    if len(stages) > _FEW:
        return [Patch(color=style.LIGHT_GREY, label="the stage wins (its colour)")]
    looks = style.marks(context.stages)
    return [
        Patch(color=style.lightened(looks[stage].colour, _LIGHTER), label=f"{context.stages[stage].label} wins")
        for stage in stages
    ]


_POPULATION = (("n", "pair"), ("n_prompts", "prompt"), ("n_seeds", "training seed"))


def _bars(axes: Axes, frame: pd.DataFrame, tasks: Sequence[str], ours: str, other: str) -> None:
    for row in records(frame):
        at = tasks.index(row["task"])
        counts = [row["wins"], row["ties"], row["losses"], row["refusals"] + row["unreadable"]]
        looks = (style.lightened(ours, _LIGHTER), _TIE, style.lightened(other, _LIGHTER), _NONE)
        left, total = 0.0, max(1, sum(counts))
        for number, (count, colour) in enumerate(zip(counts, looks, strict=True)):
            (bar,) = axes.barh(at, count / total, _BAR, left=left, color=colour)
            if number == 3:
                bar.set(hatch="////", edgecolor=style.GREY, linewidth=0.0)
            left += count / total
        if row["n"]:
            axes.hlines(at, row["low"], row["high"], color="black", linewidth=1.0)
            axes.plot([row["value"]], [at], color="black", marker="o", markersize=3, linestyle="none")


@style.styled
def judge_agreement(tables: Tables, context: FigureContext) -> Figure:
    """Cohen's κ of every two judges over all task types, one panel for each size.

    Reads the table `judge_agreement`.
    """
    table = tables["judge_agreement"]
    table = table[table["task"] == _ALL]
    sizes = [size for size in context.sizes if (table["size"] == size).any()]
    names = list(dict.fromkeys(f"{row['judge']} – {row['other']}" for row in records(table)))
    grid = _grid(len(sizes), 0.3 + 0.24 * len(names), _PANELS_PER_ROW, left=1.6)
    for place, (axes, size) in enumerate(zip(grid.axes, sizes, strict=False)):
        for row in records(table[table["size"] == size]):
            _, marker, filled, shift = _EVERY[row["counted"]]
            at = names.index(f"{row['judge']} – {row['other']}") + shift
            axes.hlines(at, row["kappa_low"], row["kappa_high"], color=style.GREY)
            axes.plot([row["kappa"]], [at], color="black", marker=marker, fillstyle=filled, linestyle="none")
        _names(axes, names, named=place % grid.columns == 0, room=1.5)
        axes.axvline(0.0, color=style.GREY, linestyle="dashed", linewidth=1.0)
        axes.set_xlim(min(-0.5, axes.get_xlim()[0]), 1.05)
        axes.set_title(size, pad=4)
        axes.set_xlabel("Cohen's κ", fontsize=style.TINY, labelpad=2)
    if not sizes:
        style.note(grid.axes[0], "no two judges decided the same pairs")
        return grid.figure
    handles = [
        Line2D([], [], color="black", marker=marker, fillstyle=filled, linestyle="none", label=name)
        for name, marker, filled, _ in _EVERY.values()
    ]
    handles.append(Line2D([], [], color=style.GREY, linestyle="dashed", linewidth=1.0, label="chance"))
    n = [style.counted(table[name], noun) for name, noun in _POPULATION]
    style.footer(grid.figure, f"Each point: {', '.join(n)}. Lines: 95 % intervals.")
    style.top_legend(grid.figure, handles)
    return grid.figure


def _grid(panels: int, height: float, per_row: int, left: float = 0.95) -> PanelGrid:
    return panel_grid(panels, per_row, height, margins=(left, 0.15, 0.5, 0.62), widest=2.6, least=5.6)


def _names(axes: Axes, names: Sequence[str], named: bool, room: float = 0.85) -> None:
    shown = [style.shortened(name, room, style.TINY) for name in names] if named else []
    axes.set_yticks(range(len(names)), shown)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="both", length=0, labelsize=style.TINY)
