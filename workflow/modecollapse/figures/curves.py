"""Output metrics against temperature: one line per stage, band = interval, prompt sets side by side."""

import itertools
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, longest_cut
from modecollapse.figures.labels import Label, axis_lines, drawn, output_label

_PAIR_GAP, _METRIC_GAP = 0.12, 0.74
"""Inches between panels of one metric, and between metrics (room for the next axis label)."""
_PANELS_PER_ROW = 4


@style.styled
def output_metrics(tables: Tables, context: FigureContext, words: int | None = None) -> Figure:
    """Every output metric of one size (`context.size`) over the first `words` words (0: whole texts).

    Reads the table `curves`. Without `words`, the longest cut that was measured.
    """
    words = longest_cut(tables["curves"]) if words is None else words
    curves = _selected(tables["curves"], context, words)
    return _grid(curves, drawn(curves["metric"]), context, _scope(context, words), panel_height=0.92)


@style.styled
def quality(tables: Tables, context: FigureContext) -> Figure:
    """Correct answers and utility of one size (`context.size`) against temperature. Reads `curves` (whole texts)."""
    curves = _selected(tables["curves"], context, words=0)
    metrics = [metric for metric in ("correct", "utility") if metric in set(curves["metric"])]
    return _grid(curves, metrics, context, _scope(context, 0), panel_height=1.5, panels_per_row=len(context.prompts))


@style.styled
def self_bleu_cosine(tables: Tables, context: FigureContext) -> Figure:
    """Self-BLEU and mean pairwise cosine of one size (`context.size`) of cut completions. Reads `curves`."""
    words = longest_cut(tables["curves"])
    curves = _selected(tables["curves"], context, words)
    metrics = [metric for metric in ("self_bleu", "cosine") if metric in set(curves["metric"])]
    return _grid(
        curves, metrics, context, _scope(context, words), panel_height=1.75, panels_per_row=len(context.prompts)
    )


def draw_curves(axes: Axes, curves: pd.DataFrame, context: FigureContext) -> None:
    """One line with band per stage and prompt format into `axes`; `curves` holds one metric and one prompt set."""
    marks, lines = style.marks(context.stages), style.line_styles(list(dict.fromkeys(curves["format"])))
    opacity = style.band_opacity(curves["stage"].nunique())
    for stage, form in itertools.product(context.stages, lines):
        line = curves[(curves["stage"] == stage) & (curves["format"] == form)]
        line = line.assign(at=line["temperature"].astype(float)).sort_values("at")
        if line.empty:
            continue
        axes.plot(
            line["at"], line["value"], color=marks[stage].colour, marker=marks[stage].marker, linestyle=lines[form],
            markersize=style.marker_size(len(line)),
        )  # fmt: skip
        if len(line) > 1:
            axes.fill_between(
                line["at"], line["low"], line["high"], color=marks[stage].colour, alpha=opacity, linewidth=0
            )
        else:
            axes.vlines(line["at"], line["low"], line["high"], color=marks[stage].colour)


def _selected(curves: pd.DataFrame, context: FigureContext, words: int) -> pd.DataFrame:
    curves = context.in_view(curves)
    return curves[
        (curves["size"] == context.size)
        & (curves["words"] == words)
        & (curves["definition"] == context.definition)
        & curves["prompts"].isin(context.prompts)
    ]


def _grid(
    curves: pd.DataFrame,
    metrics: Sequence[str],
    context: FigureContext,
    scope: str,
    panel_height: float,
    panels_per_row: int = _PANELS_PER_ROW,
) -> Figure:
    sets = list(context.prompts)
    per_row = max(1, panels_per_row // len(sets))
    rows = max(1, -(-len(metrics) // per_row))
    gaps = ([_PAIR_GAP] * (len(sets) - 1) + [_METRIC_GAP]) * per_row
    gaps = gaps[:-1]
    left, right, top, bottom = 0.7, 0.08, 0.48, 0.54
    columns = per_row * len(sets)
    sheet = style.sheet(
        widths=style.spread(columns, style.PAGE_WIDTH - left - right, gaps),
        heights=[panel_height] * rows,
        column_gaps=gaps,
        row_gaps=[0.17] * (rows - 1),
        margins=(left, right, top, bottom),
    )
    temperatures = sorted({float(value) for value in curves["temperature"]})
    for place, metric in itertools.zip_longest(range(rows * per_row), metrics):
        row, block = divmod(place, per_row)
        panels = sheet.panels[row][block * len(sets) : (block + 1) * len(sets)]
        if metric is None:
            for axes in panels:
                axes.set_axis_off()
            continue
        last = place + per_row >= len(metrics)
        _metric_panels(panels, curves[curves["metric"] == metric], output_label(metric), context, last)
        for axes, name in zip(panels, sets, strict=True):
            if row == 0:
                axes.set_title(f"{name.capitalize()} prompts", pad=5)
            axes.set_xlim(*_limits(temperatures))
    style.heading(sheet.figure, scope)
    style.footer(sheet.figure, _population(curves))
    style.top_legend(sheet.figure, _handles(curves, context))
    return sheet.figure


def _metric_panels(
    panels: Sequence[Axes], curves: pd.DataFrame, label: Label, context: FigureContext, last: bool
) -> None:
    """The panels of one metric: a common vertical range, the vertical axis labelled once."""
    shown = [axes for axes, name in zip(panels, context.prompts, strict=True) if (curves["prompts"] == name).any()]
    for axes, name in zip(panels, context.prompts, strict=True):
        of_set = curves[curves["prompts"] == name]
        if of_set.empty:
            style.note(axes, f"not defined for\n{name} prompts")
            continue
        draw_curves(axes, of_set, context)
        axes.sharey(shown[0])
        if axes is not shown[0]:
            axes.tick_params(labelleft=False)
        if last:
            axes.set_xlabel("Temperature", labelpad=2)
        else:
            axes.tick_params(labelbottom=False)
    if shown:
        shown[0].margins(y=0.08)
        shown[0].autoscale_view()
        style.show_constant(shown)
        shown[0].set_ylabel(axis_lines(label), labelpad=3, fontsize=style.TINY)


def _scope(context: FigureContext, words: int) -> str:
    return context.scope(f"{context.size} · {f'first {words} words' if words else 'whole completions'}")


def _population(curves: pd.DataFrame) -> str:
    points = curves[curves["n_prompts"] > 0]
    n = (
        style.counted(points["n_prompts"], "prompt"),
        style.counted(points["n_completions"], "completion"),
        style.counted(points["n_seeds"], "training seed"),
    )
    return f"Each point: {', '.join(n)}. Band: 95 % bootstrap interval."


def _limits(temperatures: Sequence[float]) -> tuple[float, float]:
    if not temperatures:
        return 0.0, 1.0
    margin = 0.05 * (temperatures[-1] - temperatures[0]) or 0.1
    return temperatures[0] - margin, temperatures[-1] + margin


def _handles(curves: pd.DataFrame, context: FigureContext) -> list[Line2D]:
    handles = style.stage_handles(context, set(curves["stage"]))
    lines = style.line_styles(list(dict.fromkeys(curves["format"])))
    if len(lines) > 1:
        handles += [Line2D([], [], color=style.GREY, linestyle=lines[name], label=f"format: {name}") for name in lines]
    return handles
