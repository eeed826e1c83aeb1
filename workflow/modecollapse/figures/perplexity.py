"""Perplexity filters: the distributions of perplexity that a set was filtered by, with the bound of each task."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables
from modecollapse.figures.panel_grid import panel_grid

_PANELS_PER_ROW = 4
_TEXTS = {
    "own": ("the scorer's own responses", style.GREY, "solid"),
    "chosen": ("chosen", "#0072B2", "solid"),
    "rejected": ("rejected", "#D55E00", "dashed"),
}
"""What is drawn: its name, colour and line."""
_LONGEST = 40.0
"""The axis of perplexities ends at so many times the largest bound, or where they do."""


@style.styled
def perplexity_filter(tables: Tables, context: FigureContext) -> Figure:
    """One panel for each filtered set and task: the share of responses below a perplexity, and the bound.

    Reads `perplexities` and `filters` of one size; one line for each training seed.
    """
    table = tables["perplexities"]
    table = table[table["size"] == context.size]
    outcomes = tables["filters"]
    outcomes = outcomes[outcomes["size"] == context.size]
    panels = list(table.groupby(["data", "task"], sort=False))
    grid = panel_grid(len(panels), _PANELS_PER_ROW, 1.25, margins=(0.48, 0.12, 0.62, 0.56), gaps=(0.2, 0.66), least=5.4)
    for place, (axes, ((data, task), frame)) in enumerate(zip(grid.axes, panels, strict=False)):
        of_task = outcomes[(outcomes["data"] == data) & (outcomes["task"] == task)]
        _panel(axes, frame, named=place % grid.columns == 0)
        axes.set_title(style.shortened(f"{data}: {task}", grid.width + 0.8 * grid.gap, style.BODY), pad=11)
        axes.text(
            0.5, 1.02, _kept(of_task), transform=axes.transAxes, ha="center", va="bottom", fontsize=style.TINY,
            color=style.GREY,
        )  # fmt: skip
        axes.set_xlabel("Perplexity", fontsize=style.TINY, labelpad=2)
    if not panels:
        style.note(grid.axes[0], "no set of this size is filtered")
    handles = [Line2D([], [], color=colour, linestyle=line, label=name) for name, colour, line in _TEXTS.values()]
    handles.append(Line2D([], [], color="black", linestyle="dotted", label="bound"))
    n = [style.counted(table[table["text"] == text]["n"], name) for text, name in _COUNTED.items()]
    style.footer(grid.figure, f"Each panel: {', '.join(n)}, before the filter. One line for each training seed.")
    style.top_legend(grid.figure, handles if panels else [])
    return grid.figure


_COUNTED = {"own": "own response", "chosen": "pair"}


def _panel(axes: Axes, frame: pd.DataFrame, named: bool) -> None:
    for text, (_, colour, line) in _TEXTS.items():
        for _, of_seed in frame[frame["text"] == text].groupby("seed", sort=False):
            axes.plot(of_seed["perplexity"], of_seed["quantile"], color=colour, linestyle=line)
    bounds = frame["bound"].dropna().unique()
    for bound in bounds:
        axes.axvline(bound, color="black", linestyle="dotted", linewidth=1.0)
    axes.set_xscale("log")
    if len(bounds):
        axes.set_xlim(right=min(_LONGEST * bounds.max(), 1.05 * max(frame["perplexity"].max(), bounds.max())))
    axes.xaxis.set_major_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    axes.set_ylim(0, 1.02)
    axes.tick_params(axis="both", which="both", labelsize=style.TINY)
    if named:
        axes.set_ylabel("Share below", fontsize=style.SMALL, labelpad=3)
    else:
        axes.set_yticklabels([])


def _kept(outcomes: pd.DataFrame) -> str:
    """How many pairs of the task are kept, over seeds."""
    if outcomes["bound"].isna().all():
        return "no own responses: all dropped"
    kept = outcomes.assign(n=outcomes["n"].where(outcomes["kept"], 0)).groupby("seed")["n"].sum()
    return style.counted(kept, "pair") + " kept"
