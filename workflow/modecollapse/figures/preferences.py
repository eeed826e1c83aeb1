"""Stages that learn from pairs of answers: accuracy, margin, log-probabilities of answers and loss against updates."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables
from modecollapse.figures.logged import (
    LIKELIHOODS_OF_PAIRS,
    SCORES_OF_PAIRS,
    Run,
    change,
    draw_seeds,
    population,
    runs_with,
    size_handles,
)

_TITLES = ("Accuracy", "Margin", "Δ log-probability (nats/answer)", "Loss")
_REJECTED = 0.55
"""How much of white is mixed into the colour of rejected answers."""


@style.styled
def preference_curves(tables: Tables, context: FigureContext) -> Figure:
    """Accuracy, margin, log-probabilities or scores of chosen and rejected answers, and loss of every such run.

    Reads `training`: stages that logged margins of pairs, among them reward models. One row of panels per run; those
    that learn from single answers (KTO) have no accuracy. Log-probabilities are shown as their difference from the
    reference's where `context.log_ratio_scales` tells it, else as the change since the first update.
    """
    runs = runs_with(tables["training"], context, LIKELIHOODS_OF_PAIRS[1:], SCORES_OF_PAIRS)
    rows = max(1, len(runs))
    left, right, top, bottom, gap = 0.62, 0.1, 0.5, 0.5, 0.42
    sheet = style.sheet(
        widths=style.spread(len(_TITLES), style.PAGE_WIDTH - left - right, [gap] * (len(_TITLES) - 1)),
        heights=[0.95] * rows,
        column_gaps=[gap] * (len(_TITLES) - 1),
        row_gaps=[0.26] * (rows - 1),
        margins=(left, right, top, bottom),
    )
    since_first = False
    for run, panels in zip(runs, sheet.panels, strict=False):
        scores = run.has("accuracy")
        for axes, quantity in zip((*panels[:2], panels[3]), _quantities(scores), strict=True):
            draw_seeds(axes, run.values(quantity), context)
        if not run.has(_quantities(scores)[0]):
            style.note(panels[0], "learns from single answers")
        panels[0].axhline(0.5, color=style.GREY, linewidth=0.6, linestyle="dotted")
        panels[1].axhline(0, color=style.GREY, linewidth=0.6, linestyle="dotted")
        if scores:
            shown = {answer: run.values(f"score/{answer}") for answer in ("chosen", "rejected")}
            panels[2].set_ylabel("Score", fontsize=style.TINY, labelpad=1)
        else:
            shown, measured = _log_probabilities(run, context)
            since_first |= not measured
        _answers(panels[2], shown, style.marks(context.stages)[run.stages[-1]].colour, context)
        panels[0].set_ylabel(
            run.label(context) + ("" if scores or measured else " *"), fontsize=style.SMALL, labelpad=3
        )
        for axes, title in zip(panels, _TITLES, strict=True):
            if run is runs[0]:
                axes.set_title(title, fontsize=style.SMALL, pad=4)
            if run is runs[-1]:
                axes.set_xlabel("Update", labelpad=2)
    if not runs:
        for axes in sheet.panels[0][1:]:
            axes.set_axis_off()
        style.note(sheet.panels[0][0], "nothing logged")
    handles = [
        Line2D([], [], color=style.GREY, label="chosen answers"),
        Line2D([], [], color=style.lightened(style.GREY, _REJECTED), label="rejected answers"),
    ]
    starred = " * Without a reference: log-probabilities since the first logged update." if since_first else ""
    style.footer(sheet.figure, population(runs) + starred)
    sizes = size_handles(context, {size for run in runs for size in run.logged["size"]})
    style.top_legend(sheet.figure, [*handles, *sizes] if runs else [])
    return sheet.figure


def _quantities(scores: bool) -> tuple[str, str, str]:
    """Accuracy, margin and loss, as a reward model or a stage that is tuned calls them."""
    return (*(SCORES_OF_PAIRS if scores else LIKELIHOODS_OF_PAIRS), "loss")


def _log_probabilities(run: Run, context: FigureContext) -> tuple[dict[str, pd.DataFrame], bool]:
    """By kind of answer the difference of log-probabilities from the reference, and whether it is that."""
    scales = [context.log_ratio_scales.get(str(size), {}).get(run.stages[0]) for size in set(run.logged["size"])]
    found = {}
    for answer in ("chosen", "rejected"):
        if None in scales:
            found[answer] = change(run.values(f"logps/{answer}"))
            continue
        rewards = run.values(f"rewards/{answer}")
        by_size = {
            size: of_size[run.stages[0]]
            for size, of_size in context.log_ratio_scales.items()
            if run.stages[0] in of_size
        }
        found[answer] = rewards.assign(value=rewards["value"] / rewards["size"].map(by_size))
    return found, None not in scales


def _answers(axes: Axes, shown: dict[str, pd.DataFrame], colour: str, context: FigureContext) -> None:
    if all(frame.empty for frame in shown.values()):
        style.note(axes, "not logged")
        return
    axes.axhline(0, color=style.GREY, linewidth=0.6, linestyle="dotted")
    draw_seeds(axes, shown["rejected"], context, style.lightened(colour, _REJECTED))
    draw_seeds(axes, shown["chosen"], context)
