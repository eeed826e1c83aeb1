"""Stages that learn from the scores of their own answers: how scores, divergence, length and entropy go with updates.

After figures 1 and 2 of the paper on reinforcement learning from a preference model that this project follows; and,
where the true utility is known, over-optimisation of the reward model (Gao et al., 2023).
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables
from modecollapse.figures.logged import REWARDS, Run, change, draw_seeds, population, runs_with, size_handles

_COLUMNS = (
    (("score", "score_minus_kl", "baseline_score"), "Score"),
    (("kl",), "KL (nats/answer)"),
    (("response_length",), "Answer length (tokens)"),
    (("entropy",), "Entropy (nats/token)"),
)
_PENALISED, _BASELINE = 0.5, "black"
"""How much of white is mixed into the colour of the score less its penalty; colour of the score before training."""

_TRUE_COLOUR = "black"
_GROUPS = 8
"""Groups of updates whose means are joined where divergence is the horizontal axis."""


@style.styled
def reward_curves(tables: Tables, context: FigureContext) -> Figure:
    """Mean score with and without its KL penalty beside that before training, KL, answer length and entropy.

    Reads `training`: stages that logged `score` and `kl`. One row of panels per run.
    """
    runs = runs_with(tables["training"], context, REWARDS)
    sheet = _grid(len(runs), len(_COLUMNS), 0.42)
    for run, panels in zip(runs, sheet.panels, strict=False):
        colour = style.marks(context.stages)[run.stages[0]].colour
        for axes, (quantities, title) in zip(panels, _COLUMNS, strict=True):
            if not any(run.has(quantity) for quantity in quantities):
                style.note(axes, "not logged")
            for quantity in quantities:
                shown = {"score_minus_kl": style.lightened(colour, _PENALISED), "baseline_score": _BASELINE}
                draw_seeds(axes, run.values(quantity), context, shown.get(quantity))
            _dress(axes, title if run is runs[0] else "", "Update" if run is runs[-1] else "")
        panels[0].set_ylabel(_named(run, context), fontsize=style.TINY)
    if not runs:
        _nothing(sheet)
    handles = [
        Line2D([], [], color=style.GREY, label="score"),
        Line2D([], [], color=style.lightened(style.GREY, _PENALISED), label="score − KL penalty"),
        Line2D([], [], color=_BASELINE, label="score before training"),
    ]
    style.footer(sheet.figure, population(runs))
    style.top_legend(sheet.figure, [*handles, *_sizes(runs, context)] if runs else [])
    return sheet.figure


@style.styled
def over_optimisation(tables: Tables, context: FigureContext) -> Figure:
    """Change of the reward model's score beside that of the true utility, against updates and against divergence.

    Reads `training`: stages that logged `score`, `kl` and `utility` and learn from a reward model. Both in log-odds of
    being preferred to the answers of the first update: as the reward model has it, and as annotators have it, which
    prefer by `context.sharpness` times the difference of utilities. One row of panels per run.
    """
    runs = [
        run
        for run in runs_with(tables["training"], context, (*REWARDS, "utility"))
        if context.rewards.get(run.stages[0]) in context.stages
    ]
    sheet = _grid(len(runs), 2, 0.5)
    marks = style.marks(context.stages)
    for run, panels in zip(runs, sheet.panels, strict=False):
        proxy, true = change(run.values("score")), change(run.values("utility"))
        true = true.assign(value=true["value"] * context.sharpness)
        kl = run.values("kl")[["size", "seed", "stage", "step", "value"]]
        for values, colour in ((proxy, marks[run.stages[0]].colour), (true, _TRUE_COLOUR)):
            draw_seeds(panels[0], values, context, colour)
            _against(panels[1], values, kl, context, colour)
        panels[1].sharey(panels[0])
        panels[1].tick_params(labelleft=False)
        for axes, title in zip(panels, ("Against updates", "Against divergence"), strict=True):
            axes.axhline(0, color=style.GREY, linewidth=0.6)
            _dress(axes, title if run is runs[0] else "", "")
        panels[0].set_ylabel(f"{_named(run, context)}\nΔ log-odds of preference", fontsize=style.TINY)
        if run is runs[-1]:
            panels[0].set_xlabel("Update", labelpad=2)
            panels[1].set_xlabel("KL from the model before training (nats/answer)", labelpad=2)
    if not runs:
        _nothing(sheet)
    handles = [
        Line2D(
            [],
            [],
            color=marks[run.stages[0]].colour,
            label=f"score of {_reward(run, context)}, in {run.label(context)}",
        )
        for run in runs
    ]
    handles.append(Line2D([], [], color=_TRUE_COLOUR, label="true utility"))
    right = f"Right: each update, and means of {_GROUPS} groups of neighbouring divergence."
    style.footer(sheet.figure, f"Change since the first update. {population(runs)}\n{right}")
    style.top_legend(sheet.figure, [*handles, *_sizes(runs, context)] if runs else [])
    return sheet.figure


def _against(axes: Axes, values: pd.DataFrame, kl: pd.DataFrame, context: FigureContext, colour: str) -> None:
    """Means over seeds of each update as points in the plane of divergence and value, and a line through the means of
    groups of updates of neighbouring divergence, which goes up and down from update to update.
    """
    keys = ["size", "seed", "stage", "step"]
    both = values.merge(kl, on=keys, suffixes=("", "_kl"))
    lines = style.line_styles(context.sizes)
    for size, of_size in both.groupby("size", sort=False):
        found = of_size.groupby("step")[["value_kl", "value"]].mean().sort_values("value_kl")
        axes.plot(
            found["value_kl"], found["value"], color=colour, marker=".", markersize=2.5, linestyle="none", alpha=0.5
        )
        group = np.arange(len(found)) * min(_GROUPS, len(found)) // len(found)
        means = found.groupby(group).mean()
        axes.plot(means["value_kl"], means["value"], color=colour, linestyle=lines[str(size)])


def _grid(rows: int, columns: int, gap: float) -> style.Sheet:
    left, right, top, bottom = 0.62, 0.1, 0.5, 0.56
    gaps = [gap] * (columns - 1)
    return style.sheet(
        widths=style.spread(columns, style.PAGE_WIDTH - left - right, gaps),
        heights=[1.2] * max(1, rows),
        column_gaps=gaps,
        row_gaps=[0.3] * (max(1, rows) - 1),
        margins=(left, right, top, bottom),
    )


def _dress(axes: Axes, title: str, below: str) -> None:
    if title:
        axes.set_title(title, fontsize=style.SMALL, pad=4)
    if below:
        axes.set_xlabel(below, labelpad=2)


def _named(run: Run, context: FigureContext) -> str:
    reward = _reward(run, context)
    return f"{run.label(context)}\n(reward: {reward})" if reward else run.label(context)


def _reward(run: Run, context: FigureContext) -> str:
    """What scores its answers, as figures call it."""
    name = context.rewards.get(run.stages[0], "")
    return context.stages[name].label if name in context.stages else name


def _nothing(sheet: style.Sheet) -> None:
    for axes in itertools.islice(sheet.all(), 1, None):
        axes.set_axis_off()
    style.note(sheet.panels[0][0], "nothing logged")


def _sizes(runs: Sequence[Run], context: FigureContext) -> list[Line2D]:
    return size_handles(context, {size for run in runs for size in run.logged["size"]})
