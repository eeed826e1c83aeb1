"""Token-level results: the cumulative distribution of the vocabulary, and the table of statistics with intervals."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from modecollapse.analysis.tokens import UNITS
from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, records
from modecollapse.figures.labels import token_label

_SIZES_PER_ROW = 3
_ZOOM = (0.8, 1.0)
_THRESHOLDS = (0.7, 0.9)


@style.styled
def vocabulary_cdf(tables: Tables, context: FigureContext) -> Figure:
    """Cumulative mean predicted probability over the ranked vocabulary, whole and zoomed to 0.8–1; one line per seed.

    Reads the table `vocabulary_cdf`. Sizes side by side, at most three in a row.
    """
    cdf = tables["vocabulary_cdf"]
    sizes = [size for size in context.sizes if (cdf["size"] == size).any()]
    columns = min(_SIZES_PER_ROW, max(1, len(sizes)))
    bands = max(1, -(-len(sizes) // columns))
    left, right, top, bottom, gap = 0.62, 0.12, 0.48, 0.4, 0.26
    width = min(3.4, (style.PAGE_WIDTH - left - right - gap * (columns - 1)) / columns)
    sheet = style.sheet(
        widths=[width] * columns,
        heights=[1.45, 1.1] * bands,
        column_gaps=[gap] * (columns - 1),
        row_gaps=([0.3, 0.68] * bands)[:-1],
        margins=(left, right, top, bottom),
    )
    whole = (min(cdf["rank_share"], default=0.1), 1.0)
    zoomed = (0.9 * min(cdf.loc[cdf["mass"] >= _ZOOM[0], "rank_share"], default=0.1), 1.0)
    for place in range(bands * columns):
        band, column = divmod(place, columns)
        pair = (sheet.panels[2 * band][column], sheet.panels[2 * band + 1][column])
        if place >= len(sizes):
            for axes in pair:
                axes.set_axis_off()
            continue
        of_size = cdf[cdf["size"] == sizes[place]]
        for axes, limits in zip(pair, (whole, zoomed), strict=True):
            _cdf_lines(axes, of_size, context)
            axes.set_xscale("log")
            axes.set_xlim(*limits)
            # Less than two decades on the zoom's axis: label 2 and 5 as well.
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if limits == zoomed else (1.0,), numticks=9))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}"))
            axes.minorticks_off()
            axes.tick_params(labelleft=column == 0)
        pair[0].set_ylim(0.0, 1.02)
        pair[1].set_ylim(*_ZOOM)
        pair[0].set_title(sizes[place])
        pair[1].set_xlabel("Fraction of the vocabulary, by rank", labelpad=2)
        if column == 0:
            pair[0].set_ylabel("Cumulative mean\nprobability")
            pair[1].set_ylabel("the same,\nzoom 0.8–1")
    style.top_legend(sheet.figure, style.stage_handles(context, set(cdf["stage"])))
    return sheet.figure


def _cdf_lines(axes: Axes, cdf: pd.DataFrame, context: FigureContext) -> None:
    marks = style.marks(context.stages)
    for order, stage in enumerate(context.stages):
        for number, (_, line) in enumerate(cdf[cdf["stage"] == stage].groupby("seed", sort=True)):
            # A marker now and then on one line of each stage, out of step so that none hides another.
            axes.plot(
                line["rank_share"], line["mass"], color=marks[stage].colour, linewidth=1.0,
                marker="" if number else marks[stage].marker, markevery=(0.04 + 0.03 * order, 0.2), markersize=2.8,
            )  # fmt: skip
    for threshold in _THRESHOLDS:
        axes.axhline(threshold, color=style.GREY, linewidth=0.6, linestyle="dotted")


@style.styled
def token_table(tables: Tables, context: FigureContext) -> Figure:
    """Every token-level statistic per size and stage: the number, its interval, and both drawn to the column's scale.

    Reads the table `tokens_pooled`.
    """
    tokens = tables["tokens_pooled"]
    tokens = tokens[tokens["definition"] == context.definition]
    metrics = list(UNITS)
    models = [
        (size, stage)
        for size in context.sizes
        for stage in context.stages
        if ((tokens["size"] == size) & (tokens["stage"] == stage)).any()
    ]
    line, names, top, bottom, gap = 0.42, 1.45, 0.5, 0.42, 0.14
    gaps = [gap] * (len(metrics) - 1)
    sheet = style.sheet(
        widths=style.spread(len(metrics), style.PAGE_WIDTH - names - 0.08, gaps),
        heights=[line * max(1, len(models))],
        column_gaps=gaps,
        row_gaps=[],
        margins=(names, 0.08, top, bottom),
    )
    for axes, metric in zip(sheet.panels[0], metrics, strict=True):
        _token_column(axes, tokens[tokens["metric"] == metric], metric, models, context)
    _model_names(sheet.panels[0][0], models, context)
    n = (
        style.counted(tokens["n_documents"], "document"),
        style.counted(tokens["n_tokens"], "token"),
        style.counted(tokens["n_seeds"], "training seed"),
    )
    style.footer(sheet.figure, f"{', '.join(n)}. Below each value its 95 % bootstrap interval.")
    return sheet.figure


def _token_column(
    axes: Axes, tokens: pd.DataFrame, metric: str, models: Sequence[tuple[str, str]], context: FigureContext
) -> None:
    label, marks = token_label(metric), style.marks(context.stages)
    by_model = {(row["size"], row["stage"]): row for row in records(tokens)}
    digits = _digits(tokens)
    for y, model in enumerate(models):
        if y and models[y - 1][0] != model[0]:
            axes.axhline(y - 0.5, color=style.LIGHT_GREY, linewidth=0.6, clip_on=False)
        row = by_model.get(model)
        if row is None:
            continue
        look, value, low, high = marks[model[1]], row["value"], row["low"], row["high"]
        axes.hlines(y + 0.32, low, high, color=look.colour, linewidth=2.0, alpha=0.55)
        axes.plot([value], [y + 0.32], color=look.colour, marker=look.marker, markersize=3.0, linestyle="none")
        interval = f"{low:.{digits}f} to {high:.{digits}f}" if math.isfinite(low) else "no interval"
        for text, height, size, weight, colour in (
            (f"{value:.{digits}f}", -0.3, style.SMALL, "bold", "black"),
            (interval, 0.03, 5.0, "normal", style.GREY),
        ):
            axes.text(
                0.5, y + height, text, transform=axes.get_yaxis_transform(), fontsize=size, fontweight=weight,
                color=colour, ha="center", va="center",
            )  # fmt: skip
    axes.set_ylim(max(1, len(models)) - 0.5, -0.5)
    axes.set_yticks([])
    axes.margins(x=0.12)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=3)
    axes.tick_params(axis="x", labelsize=5.0)
    title = [*textwrap.wrap(label.text, 18), *label.units]
    axes.set_title("\n".join(title), fontsize=style.TINY, pad=6)


def _model_names(axes: Axes, models: Sequence[tuple[str, str]], context: FigureContext) -> None:
    marks = style.marks(context.stages)
    place = axes.get_yaxis_transform()
    width = axes.get_position().width * style.PAGE_WIDTH
    for y, (size, stage) in enumerate(models):
        axes.text(-0.42 / width, y, context.stages[stage].label, transform=place, ha="left", va="center", clip_on=False)
        axes.plot(
            [-0.5 / width], [y], transform=place, marker=marks[stage].marker, color=marks[stage].colour, clip_on=False
        )
        if y == 0 or models[y - 1][0] != size:
            axes.text(-1.37 / width, y, size, transform=place, ha="left", va="center", fontweight="bold", clip_on=False)


def _digits(tokens: pd.DataFrame) -> int:
    """Decimals that show two digits of the widest interval's width, 2 to 4."""
    widths = (tokens["high"] - tokens["low"]).to_numpy(dtype=float)
    width = float(np.nanmax(widths)) if np.isfinite(widths).any() else 0.0
    return 2 if width <= 0 else min(4, max(2, 1 - math.floor(math.log10(width))))
