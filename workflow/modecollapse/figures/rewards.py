"""Reward models: accuracy per task where the better answer is longer, and where it is shorter."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, records
from modecollapse.figures.panel_grid import panel_grid

_PANELS_PER_ROW = 3
_ALL = "all"
_KINDS = {"longer": ("better is longer", "o", "full", -0.18), "shorter": ("better is shorter", "s", "none", 0.18)}
"""Which pairs: their name, marker, how it is filled, and how far beside their task's line it is drawn."""


@style.styled
def reward_accuracy(tables: Tables, context: FigureContext) -> Figure:
    """One panel for each size, reward stage and data set; one line for each task.

    Reads the table `rewards`.
    """
    table = tables["rewards"]
    shown = table[(table["quantity"] == "accuracy") & table["better"].isin(list(_KINDS))]
    panels = list(shown.groupby(["size", "stage", "data"], sort=False))
    tasks = [_ALL, *sorted(set(shown["task"]) - {_ALL})]
    grid = panel_grid(len(panels), _PANELS_PER_ROW, 0.3 + 0.24 * len(tasks), margins=(0.95, 0.1, 0.5, 0.62))
    for place, (axes, ((size, stage, data), frame)) in enumerate(zip(grid.axes, panels, strict=False)):
        _panel(axes, frame, tasks, style.marks(context.stages)[str(stage)].colour, named=place % grid.columns == 0)
        title = f"{context.stages[str(stage)].label}, {size}: {data}"
        axes.set_title(style.shortened(title, grid.width + 0.8 * grid.gap, style.BODY), pad=4)
        axes.set_xlabel("Accuracy", fontsize=style.TINY, labelpad=2)
    handles = [
        Line2D([], [], color=style.GREY, marker=marker, fillstyle=filled, linestyle="none", label=name)
        for name, marker, filled, _ in _KINDS.values()
    ]
    handles.append(Line2D([], [], color=style.GREY, linestyle="dashed", linewidth=1.0, label="guessing"))
    n = (style.counted(shown["n_pairs"], "pair"), style.counted(shown["n_seeds"], "training seed"))
    style.footer(grid.figure, f"Each point: {', '.join(n)}. Lines: 95 % intervals.")
    style.top_legend(grid.figure, handles)
    return grid.figure


def _panel(axes: Axes, frame: pd.DataFrame, tasks: list[str], colour: str, named: bool) -> None:
    for better, (_, marker, filled, shift) in _KINDS.items():
        for row in records(frame[frame["better"] == better]):
            at = tasks.index(row["task"]) + shift
            axes.hlines(at, row["low"], row["high"], color=colour)
            axes.plot([row["value"]], [at], color=colour, marker=marker, fillstyle=filled, linestyle="none")
    axes.axvline(0.5, color=style.GREY, linestyle="dashed", linewidth=1.0, zorder=1)
    names = ["all tasks" if task == _ALL else task for task in tasks]
    axes.set_yticks(range(len(tasks)), [style.shortened(name, 0.85, style.TINY) for name in names] if named else [])
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="both", length=0, labelsize=style.TINY)
