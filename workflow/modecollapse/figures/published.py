"""Stored results of others against temperature: panels as their files label them, beside the corrected ones."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables
from modecollapse.figures.curves import draw_curves
from modecollapse.figures.labels import axis_lines, output_label

METRICS = ("self_bleu", "cosine")
"""Those of figure 1 of O'Mahony et al. (2024)."""

_PAIR_GAP, _BLOCK_GAP, _ROW_GAP = 0.12, 0.34, 0.17
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.6, 0.08, 0.82, 0.56
_PANEL_HEIGHT = 1.6


@style.styled
def published_panels(tables: Tables, context: FigureContext) -> Figure:
    """Self-BLEU and cosine of one size (`context.size`) as stored: left by key, right by the prompts that it holds.

    Reads the table `published`. Where it is not established what the keys hold, the right-hand panels say so.
    """
    stored = tables["published"]
    stored = stored[(stored["size"] == context.size) & stored["metric"].isin(METRICS)]
    sets = list(context.prompts)
    gaps = [*[_PAIR_GAP] * (len(sets) - 1), _BLOCK_GAP, *[_PAIR_GAP] * (len(sets) - 1)]
    sheet = style.sheet(
        widths=style.spread(2 * len(sets), style.PAGE_WIDTH - _LEFT - _RIGHT, gaps),
        heights=[_PANEL_HEIGHT] * len(METRICS),
        column_gaps=gaps,
        row_gaps=[_ROW_GAP] * (len(METRICS) - 1),
        margins=(_LEFT, _RIGHT, _TOP, _BOTTOM),
    )
    columns = [*(("key", name) for name in sets), *(("prompts", name) for name in sets)]
    for row, metric in enumerate(METRICS):
        of_metric = stored[stored["metric"] == metric]
        parts = [of_metric[of_metric[by] == name] for by, name in columns]
        _row(sheet.panels[row], parts, context, last=row == len(METRICS) - 1)
        sheet.panels[row][0].set_ylabel(axis_lines(output_label(metric)), labelpad=3, fontsize=style.TINY)
    for axes, (_, name) in zip(sheet.panels[0], columns, strict=True):
        axes.set_title(f"{name.capitalize()} prompts", pad=5)
    for start, title in ((0, "As the keys label them"), (len(sets), "As the completions show")):
        _block_title(sheet.figure, sheet.panels[0][start : start + len(sets)], title)
    style.heading(sheet.figure, f"{context.size} · stored results")
    style.footer(sheet.figure, _population(stored))
    style.top_legend(sheet.figure, style.stage_handles(context, set(stored["stage"])))
    return sheet.figure


def _row(panels: Sequence[Axes], parts: Sequence[pd.DataFrame], context: FigureContext, last: bool) -> None:
    """The panels of one metric, which share their vertical range."""
    shown = [axes for axes, part in zip(panels, parts, strict=True) if len(part)]
    for axes, part in zip(panels, parts, strict=True):
        if part.empty:
            style.note(axes, "not established")
            continue
        # Stored results have one format per stage, so that lines need no styles to tell formats apart.
        draw_curves(axes, part.assign(format=""), context)
        axes.sharey(shown[0])
        if axes is not shown[0]:
            axes.tick_params(labelleft=False)
        axes.tick_params(labelbottom=last)
        if last:
            axes.set_xlabel("Temperature", labelpad=2)
    if shown:
        shown[0].margins(y=0.08)
        shown[0].autoscale_view()


def _block_title(figure: Figure, panels: Sequence[Axes], title: str) -> None:
    """A heading over several panels, with a line below it."""
    boxes = [axes.get_position() for axes in panels]
    left, right, top = boxes[0].x0, boxes[-1].x1, boxes[0].y1
    height = figure.get_size_inches()[1]
    middle, y = (left + right) / 2, top + 0.28 / height
    figure.text(middle, y + 0.04 / height, title, ha="center", va="bottom", fontsize=style.BODY)
    figure.add_artist(Line2D([left, right], [y, y], color=style.GREY, linewidth=0.6))


def _population(stored: pd.DataFrame) -> str:
    n = (style.counted(stored["n_prompts"], "prompt"), style.counted(stored["n_seeds"], "training seed"))
    return f"Each point: {', '.join(n)}. Band: 95 % bootstrap interval over prompts. The same values left and right."
