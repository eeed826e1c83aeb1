"""Guard rails: how far every candidate is from the reference on each task, and how far it may fall."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import DAGGER, FigureContext, Tables, records
from modecollapse.figures.panel_grid import panel_grid

_PANELS_PER_ROW = 4
_ROW = 0.17
"""Inches between two candidates."""
_SAID = {
    "passes": ("o", True, "passes: the lower bound is above the line"),
    "undecided": ("o", False, "undecided"),
    "fails": ("X", True, "fails: the upper bound is below the line"),
}
"""Verdict → marker, whether it is filled, and what the legend says."""


@style.styled
def candidates(tables: Tables, context: FigureContext) -> Figure:
    """One panel per task; a dot and its two one-sided bounds for every size and stage, and a line at the margin.

    Reads the table `candidates`.
    """
    rows = tables["candidates"]
    rows = rows[rows["level"] == "task"]
    places = [
        (size, stage)
        for size in context.sizes
        for stage in context.stages
        if ((rows["size"] == size) & (rows["stage"] == stage)).any()
    ]
    panels = list(rows.groupby(["task", "shots", "metric"], sort=False))
    several = len({size for size, _ in places}) > 1
    names = [_name(size, stage, rows, context) + (f", {size}" if several else "") for size, stage in places]
    left = 0.2 + min(2.2, max((style.text_width(name, style.TINY) for name in names), default=0.3))
    margins = (left, 0.12, 0.5, 0.72)
    height = _ROW * (len(places) + 0.6)
    grid = panel_grid(len(panels), _PANELS_PER_ROW, height, margins, gaps=(0.22, 0.6), widest=2.6, least=5.2)
    for number, (axes, ((task, *_), frame)) in enumerate(zip(grid.axes, panels, strict=False)):
        _panel(axes, frame, places, context)
        axes.set_title(
            style.shortened(f"{task}, {int(frame['shots'].iloc[0])}-shot", grid.width + grid.gap, style.BODY), pad=4
        )
        axes.set_xlabel(_axis(frame), fontsize=style.TINY, labelpad=2)
        axes.set_yticks(range(len(places)), names if number % grid.columns == 0 else [""] * len(places))
    _heading(grid.figure, rows, context)
    n = (style.counted(rows["n"], "document"), style.counted(rows["n_seeds"], "training seed"))
    style.footer(grid.figure, "\n".join(_notes(rows, n)))
    style.top_legend(grid.figure, _handles(rows))
    return grid.figure


def _name(size: str, stage: str, rows: pd.DataFrame, context: FigureContext) -> str:
    """Its label, with a dagger where it fails in this very size."""
    own = rows[(rows["size"] == size) & (rows["stage"] == stage)]
    return context.label(stage).removesuffix(DAGGER) + (DAGGER if (own["verdict"] == "fails").any() else "")


def _panel(axes: Axes, frame: pd.DataFrame, places: list[tuple[str, str]], context: FigureContext) -> None:
    marks = style.marks(context.stages)
    axes.axvline(0, color=style.GREY, linewidth=0.6)
    for margin in frame["margin"].unique():
        axes.axvline(-float(margin), color=style.GREY, linestyle="dashed", linewidth=1.0, zorder=1)
    for row in records(frame):
        if (row["size"], row["stage"]) not in places or math.isnan(row["value"]):
            continue
        at, look = places.index((row["size"], row["stage"])), marks[row["stage"]]
        axes.hlines(at, row["low"], row["high"], color=look.colour, linewidth=1.0)
        marker, filled, _ = _SAID[row["verdict"]]
        face = look.colour if filled else "white"
        axes.plot(
            [row["value"]], [at], color=look.colour, marker=marker, markerfacecolor=face, markersize=4.2,
            linestyle="none", zorder=3,
        )  # fmt: skip
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.08)


def _axis(frame: pd.DataFrame) -> str:
    metric = str(frame["metric"].iloc[0])
    name = {"acc": "accuracy", "log_likelihood": "log-likelihood (nats)"}.get(metric, metric.replace("_", " "))
    return f"difference of {name} → better"


def _heading(figure: Figure, rows: pd.DataFrame, context: FigureContext) -> None:
    against = [context.stages[name].label for name in rows["reference"].unique() if name in context.stages]
    style.heading(figure, f"against {', '.join(against)}")


def _notes(rows: pd.DataFrame, n: tuple[str, ...]) -> list[str]:
    low, high = (f"{100 * rows[name].max():.4g} %" for name in ("low_confidence", "high_confidence"))
    shared = "" if low == high else " (shared over tasks)"
    return [
        f"Each point: {', '.join(n)}; paired over documents and seeds.",
        f"Lines end at one-sided bounds: the lower one at {low}, the upper one at {high}{shared}.",
    ]


def _handles(rows: pd.DataFrame) -> list[Line2D]:
    found = set(rows["verdict"])
    handles = [
        Line2D(
            [],
            [],
            color=style.GREY,
            marker=marker,
            markerfacecolor=style.GREY if filled else "white",
            linestyle="none",
            label=label,
        )
        for name, (marker, filled, label) in _SAID.items()
        if name in found
    ]
    return [*handles, Line2D([], [], color=style.GREY, linestyle="dashed", linewidth=1.0, label="the margin")]
