"""Benchmarks: what every size and stage scores on each task, with intervals and the accuracy of guessing."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, records
from modecollapse.figures.panel_grid import panel_grid

_PANELS_PER_ROW = 4
_ACCURACY = "acc"
_ROOM = 0.64
"""Share of a size's room over which its stages are spread."""


@style.styled
def benchmarks(tables: Tables, context: FigureContext) -> Figure:
    """One panel per task and number of shots; tasks keep their vertical axis over their numbers of shots.

    Reads the table `benchmarks_pooled`: each task's accuracy, or its first metric and answer filter.
    """
    pooled = _one_metric(tables["benchmarks_pooled"])
    panels = list(pooled.groupby(["task", "shots"], sort=False))
    grid = panel_grid(
        len(panels), _PANELS_PER_ROW, 1.25, margins=(0.52, 0.08, 0.46, 0.42), gaps=(0.42, 0.5), widest=2.4
    )
    leaders: dict[str, Axes] = {}
    guessing = False
    for place, (axes, ((task, shots), frame)) in enumerate(zip(grid.axes, panels, strict=False)):
        leader = leaders.setdefault(str(task), axes)
        if leader is not axes:
            axes.sharey(leader)
        guessing |= _panel(axes, frame, context)
        axes.set_title(style.shortened(f"{task}, {shots}-shot", grid.width + 0.8 * grid.gap, style.BODY), pad=4)
        if leader is axes or place % grid.columns == 0:
            axes.set_ylabel(_label(frame), fontsize=style.TINY, labelpad=2)
    handles: list[Line2D] = style.stage_handles(context, set(pooled["stage"]))
    if guessing:
        handles.append(Line2D([], [], color=style.GREY, linestyle="dashed", linewidth=1.0, label="guessing"))
    n = (style.counted(pooled["n"], "document"), style.counted(pooled["n_seeds"], "training seed"))
    style.footer(grid.figure, f"Each point: {', '.join(n)}. Lines: 95 % intervals.")
    style.top_legend(grid.figure, handles)
    return grid.figure


def _one_metric(pooled: pd.DataFrame) -> pd.DataFrame:
    """The rows of one metric and filter of each task: its accuracy if it has one."""
    chosen = {}
    for task, rows in pooled.groupby("task", sort=False):
        accuracy = rows[rows["metric"] == _ACCURACY]
        first = (accuracy if len(accuracy) else rows).iloc[0]
        chosen[task] = (first["metric"], first["filter"])
    keys = zip(pooled["task"], pooled["metric"], pooled["filter"], strict=True)
    return pooled.loc[[chosen[task] == (metric, filtered) for task, metric, filtered in keys]]


def _panel(axes: Axes, frame: pd.DataFrame, context: FigureContext) -> bool:
    """Draw the points of one task; returns whether guessing has a line."""
    marks = style.marks(context.stages)
    stages = [stage for stage in context.stages if (frame["stage"] == stage).any()]
    shifts = style.shifts(frame, stages, _ROOM / len(stages))
    for stage in stages:
        look = marks[stage]
        for row in records(frame[frame["stage"] == stage]):
            at = context.sizes.index(row["size"]) + shifts[row["size"], stage]
            axes.vlines(at, row["low"], row["high"], color=look.colour)
            axes.plot([at], [row["value"]], color=look.colour, marker=look.marker, linestyle="none")
    chance = float(frame["chance"].mean())
    if math.isfinite(chance):
        axes.axhline(chance, color=style.GREY, linestyle="dashed", linewidth=1.0, zorder=1)
    axes.set_xticks(range(len(context.sizes)), context.sizes)
    axes.set_xlim(-0.6, len(context.sizes) - 0.4)
    axes.grid(axis="x", visible=False)
    crowded = sum(len(size) for size in context.sizes) > 14
    axes.tick_params(axis="x", length=0, labelsize=4.4 if crowded else style.TINY)
    axes.margins(y=0.08)
    return math.isfinite(chance)


def _label(frame: pd.DataFrame) -> str:
    """The metric, and which way is better where higher is not."""
    metric = str(frame["metric"].iloc[0])
    name = "Accuracy" if metric == _ACCURACY else metric.replace("_", " ").capitalize()
    higher = frame["higher_is_better"].iloc[0]
    return name if pd.isna(higher) or higher else f"{name}\n↓ better"
