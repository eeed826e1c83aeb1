"""Repetition: the share of repetitive completions by temperature, and by kind with each stage beside the others."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modecollapse.analysis.attribution import MEAN_TEMPERATURE
from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, records
from modecollapse.figures.curves import draw_curves
from modecollapse.measures.repetition import KINDS

_ANY = KINDS[0]
_ROOM = 0.72
"""Share of a kind's room over which the stages are spread."""


@style.styled
def repetition(tables: Tables, context: FigureContext) -> Figure:
    """Rates of one size (`context.size`). One column of panels per prompt set: any repetition against temperature, and
    the means over temperatures of every kind. Reads `repetition`.
    """
    table = context.in_view(tables["repetition"])
    table = table[(table["size"] == context.size) & table["prompts"].isin(context.prompts)]
    sets = list(context.prompts)
    left, right, top, bottom, gap = 0.7, 0.08, 0.48, 0.5, 0.15
    widths = style.spread(len(sets), style.PAGE_WIDTH - left - right, [gap] * (len(sets) - 1))
    sheet = style.sheet(
        widths=widths,
        heights=[1.6, 1.3],
        column_gaps=[gap] * (len(sets) - 1),
        row_gaps=[0.5],
        margins=(left, right, top, bottom),
    )
    for column, prompts in enumerate(sets):
        upper, lower = (row[column] for row in sheet.panels)
        upper.set_title(f"{prompts.capitalize()} prompts", pad=5)
        of_set = table[table["prompts"] == prompts]
        for axes in (upper, lower):
            axes.set_ylim(0, max(0.02, 1.05 * min(1.0, float(table["high"].max()) if len(table) else 1.0)))
            axes.tick_params(labelleft=column == 0)
        if of_set.empty:
            style.note(upper, f"not measured for\n{prompts} prompts")
            lower.set_axis_off()
            continue
        mean = of_set["temperature"] == MEAN_TEMPERATURE
        draw_curves(upper, of_set[~mean & (of_set["kind"] == _ANY)], context)
        upper.set_xlabel("Temperature", labelpad=2)
        _kinds(lower, of_set[mean], context)
    if sets:
        sheet.panels[0][0].set_ylabel("Repetitive completions\n(share)", fontsize=style.TINY)
        sheet.panels[1][0].set_ylabel("Share, mean over\ntemperatures", fontsize=style.TINY)
    style.heading(sheet.figure, context.scope(f"{context.size} · whole completions"))
    shown = table[table["temperature"] != MEAN_TEMPERATURE]
    nouns = {"n_prompts": "prompt", "n_completions": "completion", "n_seeds": "training seed"}
    n = ", ".join(style.counted(shown[name], noun) for name, noun in nouns.items())
    style.footer(sheet.figure, f"Each point of the upper row: {n}. Bands and lines: 95 % intervals.")
    style.top_legend(sheet.figure, style.stage_handles(context, set(table["stage"])))
    return sheet.figure


def _kinds(axes: Axes, means: pd.DataFrame, context: FigureContext) -> None:
    looks = style.marks(context.stages)
    stages = [stage for stage in context.stages if (means["stage"] == stage).any()]
    for order, stage in enumerate(stages):
        shift = _ROOM / len(stages) * (order - (len(stages) - 1) / 2)
        for row in records(means[means["stage"] == stage]):
            at = KINDS.index(row["kind"]) + shift
            axes.vlines(at, row["low"], row["high"], color=looks[stage].colour)
            axes.plot([at], [row["value"]], color=looks[stage].colour, marker=looks[stage].marker, linestyle="none")
    axes.set_xticks(range(len(KINDS)), KINDS)
    axes.set_xlim(-0.6, len(KINDS) - 0.4)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)
