"""What each stage's gain in quality costs in diversity, beside what its divergence alone would cost."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.analysis.costs import BOUND
from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, longest_cut, records
from modecollapse.figures.labels import Label, output_label

_TEMPERATURE = "1.0"
"""Only here is a model's own distribution sampled, which its divergence is about."""
_TRUE_METRIC, _TRUE_QUALITY = "self_bleu", "utility"
"""What is known of true answers."""
_MARGIN = 0.06


@style.styled
def costs(tables: Tables, context: FigureContext, metric: str = _TRUE_METRIC) -> Figure:
    """Diversity lost against quality gained, and against divergence, of every stage below the reference, at T = 1.0.

    Reads `costs` (longest cut) and `divergence`, and, of a world, `truth`: what its true answers lose when they are
    tilted by exp(λ · utility), which is what the best optimiser of utility loses at each utility and divergence. One
    row of panels per size; two columns per prompt set, which share their vertical axis.
    """
    rows = tables["costs"]
    words = longest_cut(rows[rows["metric"] == metric])
    rows = context.in_view(rows)
    rows = rows[
        (rows["metric"] == metric)
        & (rows["words"] == words)
        & (rows["temperature"] == _TEMPERATURE)
        & (rows["definition"] == context.definition)
        & rows["prompts"].isin(context.prompts)
    ].dropna(subset=["loss"])
    quality = next(iter(rows["quality"]), _TRUE_QUALITY)
    gained = rows.assign(x=rows["gain"], x_low=rows["gain_low"], x_high=rows["gain_high"], bound=False)
    distances = tables["divergence"].rename(columns={"value": "x", "low": "x_low", "high": "x_high"})
    distances = distances[["size", "stage", "prompts", "format", "x", "x_low", "x_high", "source"]]
    if context.view is not None:  # the rows' format is then the view's name
        measured = distances["format"] == distances["stage"].map(context.view.formats)
        distances = distances[measured].assign(format=context.view.name)
    far = rows.merge(distances, on=["size", "stage", "prompts", "format"])
    far = far.assign(bound=far["source"] == BOUND)
    reference = next((context.stages[name].label for name in rows["reference"] if name in context.stages), "–")
    known = _tilted(tables.get("truth"), quality) if metric == _TRUE_METRIC else {}
    planes = [
        (name, *plane)
        for name in context.prompts
        for plane in (
            (gained[gained["prompts"] == name], f"{output_label(quality).text} gained → better", "gain"),
            (far[far["prompts"] == name], f"KL from {reference} (nats/answer)", "kl"),
        )
    ]
    sizes = [size for size in context.sizes if (rows["size"] == size).any()] or list(context.sizes[:1])
    sheet = _sheet(len(planes), len(sizes))
    for (row, size), (column, (name, points, below, kind)) in itertools.product(enumerate(sizes), enumerate(planes)):
        axes, curve = sheet.panels[row][column], known.get(name)
        of_pair = pd.concat([points for _, points, *_ in planes[column // 2 * 2 :][:2]])
        _panel(axes, points[points["size"] == size], context)
        if curve is not None and kind in curve:
            axes.plot(curve[kind], curve["loss"], color="black", marker=".", linewidth=1.0, zorder=1.5)
        axes.set_xlim(_limits(points, "x"))
        axes.set_ylim(_limits(of_pair, "loss"))
        axes.tick_params(labelleft=column % 2 == 0, labelbottom=row == len(sizes) - 1)
        if row == 0 and column % 2 == 0:
            axes.set_title(f"{name.capitalize()} prompts", pad=5, loc="left")
        if row == len(sizes) - 1:
            axes.set_xlabel(below, labelpad=2, fontsize=style.TINY)
        if column == 0:
            axes.set_ylabel("\n".join([*([size] if len(sizes) > 1 else []), *_lost(output_label(metric))]))
    of = [
        *([sizes[0]] if len(sizes) == 1 else []),
        f"first {words} words",
        f"T = {_TEMPERATURE}",
        f"against {reference}",
    ]
    style.heading(sheet.figure, context.scope(" · ".join(of)))
    style.footer(sheet.figure, "\n".join(_notes(rows, far)))
    style.top_legend(sheet.figure, list(_handles(rows, known, context)))
    return sheet.figure


def _sheet(columns: int, rows: int) -> style.Sheet:
    left, right, top, bottom = 0.66 if rows == 1 else 0.78, 0.1, 0.5, 0.62
    gaps = ([0.14, 0.42] * columns)[: max(0, columns - 1)]
    return style.sheet(
        widths=style.spread(max(1, columns), style.PAGE_WIDTH - left - right, gaps),
        heights=[2.0 if rows == 1 else 1.5] * rows,
        column_gaps=gaps,
        row_gaps=[0.2] * (rows - 1),
        margins=(left, right, top, bottom),
    )


def _panel(axes: Axes, points: pd.DataFrame, context: FigureContext) -> None:
    """A point with a cross of intervals per stage, hollow where its place is a bound."""
    marks = style.marks(context.stages)
    for along in (axes.axhline, axes.axvline):
        along(0, color=style.GREY, linewidth=0.6)
    for stage in context.stages:
        for point in records(points[points["stage"] == stage].dropna(subset=["x"])):
            look = marks[stage]
            faint: dict[str, Any] = {"color": look.colour, "alpha": 0.5, "linewidth": 0.8}
            axes.hlines(point["loss"], point["x_low"], point["x_high"], **faint)
            axes.vlines(point["x"], point["loss_low"], point["loss_high"], **faint)
            axes.plot(
                [point["x"]], [point["loss"]], color=look.colour, marker=look.marker, linestyle="none", markersize=4.2,
                markerfacecolor="white" if point["bound"] else look.colour, zorder=3,
            )  # fmt: skip


def _limits(points: pd.DataFrame, of: str) -> tuple[float, float]:
    """A range for zero and all that was measured, whatever else is drawn."""
    values = points[[of, f"{of}_low", f"{of}_high"]].to_numpy(dtype=float).ravel()
    values = values[pd.notna(values)]
    low, high = min([*values, 0.0]), max([*values, 0.0])
    room = _MARGIN * (high - low) or 0.1
    return low - room, high + room


def _tilted(truth: pd.DataFrame | None, quality: str) -> Mapping[str, pd.DataFrame]:
    """Prompt set → loss, divergence and, if it is the quality, utility of true answers tilted more and more."""
    if truth is None:
        return {}
    found = {}
    for task, of_task in truth.dropna(subset=["lambda"]).groupby("task"):
        by_tilt = of_task.pivot(index="lambda", columns="quantity", values="value").sort_index()
        by_tilt -= by_tilt.iloc[0]
        if _TRUE_METRIC in by_tilt:
            names = {_TRUE_METRIC: "loss", "kl": "kl", **({_TRUE_QUALITY: "gain"} if quality == _TRUE_QUALITY else {})}
            found[str(task)] = by_tilt.rename(columns=names)
    return found


def _lost(label: Label) -> list[str]:
    """The vertical axis: loss is change towards less diverse."""
    return [f"{'Δ' if label.diversity < 0 else '−Δ'} {label.axis}", "↑ more diversity lost"]


def _notes(rows: pd.DataFrame, far: pd.DataFrame) -> Iterator[str]:
    n = style.counted(rows["n_prompts"], "prompt"), style.counted(rows["n_seeds"], "training seed")
    yield f"Each point: {', '.join(n)}. Crosses: 95 % bootstrap intervals, paired over prompts and seeds."
    if far["bound"].any():
        yield "Hollow: the divergence is not measured, but the bound of best-of-n, log n − (n − 1)/n."


def _handles(rows: pd.DataFrame, known: Mapping[str, pd.DataFrame], context: FigureContext) -> Iterator[Line2D]:
    for handle in style.stage_handles(context, set(rows["stage"])):
        handle.set_linestyle("none")
        yield handle
    if any(name in known for name in context.prompts):
        yield Line2D([], [], color="black", marker=".", linewidth=1.0, label="true answers, tilted")
