"""The nano world against its truth: how far each stage's diversity is from distributions known in closed form."""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, longest_cut, records

_TEMPERATURE = "1.0"
"""Only here is a model's own distribution sampled, and only that can be compared with a true one."""


@style.styled
def truth(tables: Tables, context: FigureContext) -> Figure:
    """Self-BLEU of the true answer distribution tilted by exp(λ · utility), and what each stage measured at T = 1.0.

    Reads `truth` (rows with quantity "self_bleu": `task`, `lambda`, `value`) and `curves` (longest cut). One row of
    panels per size; the curve is the same in all, because the world is.
    """
    tilted = tables["truth"]
    tilted = tilted[tilted["quantity"] == "self_bleu"].dropna(subset=["lambda"])
    curves = context.in_view(tables["curves"])
    words = longest_cut(curves)
    curves = curves[
        (curves["metric"] == "self_bleu")
        & (curves["words"] == words)
        & (curves["temperature"] == _TEMPERATURE)
        & (curves["definition"] == context.definition)
    ]
    rows, columns = len(context.sizes), len(context.prompts)
    left, right, top, bottom, gap = 0.7, 0.5, 0.5, 0.54, 0.55
    sheet = style.sheet(
        widths=style.spread(columns, style.PAGE_WIDTH - left - right, [gap] * (columns - 1)),
        heights=[1.35] * rows,
        column_gaps=[gap] * (columns - 1),
        row_gaps=[0.16] * (rows - 1),
        margins=(left, right, top, bottom),
    )
    for row, size in enumerate(context.sizes):
        for column, name in enumerate(context.prompts):
            axes = sheet.panels[row][column]
            axes.sharey(sheet.panels[0][column])
            _panel(
                axes,
                tilted[tilted["task"] == name],
                curves[(curves["size"] == size) & (curves["prompts"] == name)],
                context,
            )
            axes.tick_params(labelbottom=row == rows - 1)
            if row == 0:
                axes.set_title(f"{name.capitalize()} prompts", pad=5)
            if row == rows - 1:
                axes.set_xlabel("λ: tilt of the true SFT distribution by exp(λ · utility)", labelpad=2)
            if column == 0:
                axes.set_ylabel(f"{size}\nSelf-BLEU at T = {_TEMPERATURE}")
    handles = style.stage_handles(context, set(curves["stage"]))
    n = (style.counted(curves["n_prompts"], "prompt"), style.counted(curves["n_seeds"], "training seed"))
    scope = context.scope(f"First {words} words")
    style.footer(sheet.figure, f"Each stage: {', '.join(n)}. Band: 95 % bootstrap interval. {scope}.")
    handles.append(Line2D([], [], color="black", marker=".", label="true answers, tilted"))
    style.top_legend(sheet.figure, handles)
    return sheet.figure


def _panel(axes: Axes, tilted: pd.DataFrame, curves: pd.DataFrame, context: FigureContext) -> None:
    marks = style.marks(context.stages)
    tilted = tilted.sort_values("lambda")
    axes.plot(tilted["lambda"], tilted["value"], color="black", marker=".", zorder=3)
    for stage in context.stages:
        for line in records(curves[curves["stage"] == stage]):
            axes.axhspan(line["low"], line["high"], color=marks[stage].colour, alpha=style.BAND_OPACITY, linewidth=0)
            axes.axhline(line["value"], color=marks[stage].colour)
            # The marker stands on the right edge, outside the range of λ: a stage has no λ of its own.
            axes.plot(
                [1.0], [line["value"]], transform=axes.get_yaxis_transform(), color=marks[stage].colour,
                marker=marks[stage].marker, clip_on=False,
            )  # fmt: skip
    axes.set_xticks([strength for strength in tilted["lambda"].unique() if strength.is_integer()])
    axes.margins(y=0.1)


@style.styled
def entropy_floor(tables: Tables, context: FigureContext) -> Figure:
    """Cross-entropy on held-out text beside the world's own entropy per token, which no model can go below on average.

    Reads `truth` (quantity "entropy_floor") and `tokens_pooled` (perplexity; its logarithm is the cross-entropy).
    """
    known = tables["truth"]
    floor = known.loc[known["quantity"] == "entropy_floor", "value"]
    tokens = tables["tokens_pooled"]
    tokens = tokens[(tokens["metric"] == "perplexity") & (tokens["definition"] == context.definition)]
    room = 0.8 / max(5, len(context.stages))
    width = min(max(3.2, 0.1 * len(context.stages) * len(context.sizes)), style.PAGE_WIDTH - 0.8)
    sheet = style.sheet([width], [1.9], [], [], (0.6, 0.2, 0.4, 0.46))
    axes = sheet.panels[0][0]
    marks = style.marks(context.stages)
    shifts = style.shifts(tokens, list(context.stages), room)
    for stage in context.stages:
        for place, size in enumerate(context.sizes):
            at = place + shifts.get((size, stage), 0.0)
            for model in records(tokens[(tokens["stage"] == stage) & (tokens["size"] == size)]):
                look = marks[stage]
                # No perplexity is below 1, but the interval of two seeds may reach there.
                axes.vlines(at, math.log(max(model["low"], 1.0)), math.log(model["high"]), color=look.colour)
                axes.plot([at], [math.log(model["value"])], color=look.colour, marker=look.marker, linestyle="none")
    handles: list[Line2D] = style.stage_handles(context, set(tokens["stage"]))
    for value in floor:
        axes.axhline(value, color="black", linestyle="dashed", linewidth=1.0)
        handles.append(Line2D([], [], color="black", linestyle="dashed", label="entropy of the world"))
    axes.set_xticks(range(len(context.sizes)), context.sizes)
    axes.set_xlim(-0.6, len(context.sizes) - 0.4)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("Cross-entropy (nats/token)")
    n = style.counted(tokens["n_documents"], "document"), style.counted(tokens["n_seeds"], "training seed")
    style.footer(sheet.figure, f"{', '.join(n)}. Lines: 95 % bootstrap intervals.")
    style.top_legend(sheet.figure, handles)
    return sheet.figure
