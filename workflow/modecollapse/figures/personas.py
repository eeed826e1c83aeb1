"""Invented customers by stage: their names, their fields, their reviews, and where the reviews' sentences lie."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps, font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from wordcloud import WordCloud

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, records
from modecollapse.figures.panel_grid import panel_grid
from modecollapse.figures.semantic import MARKERS

_NARROWEST = 1.15
"""Inches that a stage has at least."""
_WORDS, _LONGEST = 80, 24
"""Names of a cloud at most, and characters of each."""
_TOP = 9
"""Values of a category that have a bar of their own; the others share one."""
_LABEL = 1.3
"""Inches of a value's name at most."""
_BINS = 14
"""Bars of a histogram, about."""
_CLOSEST = 3
"""Clusters whose most central sentence is shown."""
_LINE = 0.1
"""Inches from one line of small text to the next."""


@style.styled
def persona_names(tables: Tables, context: FigureContext) -> Figure:
    """Word clouds of one size (`context.size`): a row per field of names, a column per stage.

    Reads `persona_values` and `personas`.
    """
    table = _of_size(tables["persona_values"], context)
    fields = list(dict.fromkeys(table.loc[table["kind"] == "name", "field"]))
    stages = _stages(table, context)
    sheet = _sheet(stages, max(1, len(fields)), 0.85, 0.1, (0.42, 0.5), 0.36)
    font = font_manager.findfont("DejaVu Sans")
    for (row, name), (column, stage) in itertools.product(enumerate(fields), enumerate(stages)):
        axes, rows = sheet.panels[row][column], _of(table, stage, name)
        colour = style.marks(context.stages)[stage].colour
        if row == 0:
            axes.set_title(context.label(stage), color=colour, pad=6)
        share = rows.groupby("value", sort=False)["n"].sum()
        written = {style.printable(str(value))[:_LONGEST]: int(n) for value, n in share.items() if n}
        if not written:
            style.note(axes, "no values")
            continue
        box = axes.get_position()
        wide, high = sheet.figure.get_size_inches()
        width, height = round(box.width * wide * style.DPI), round(box.height * high * style.DPI)
        cloud = WordCloud(
            font_path=font, width=width, height=height, background_color="white", max_words=_WORDS, random_state=0,
            prefer_horizontal=1.0, min_font_size=7, max_font_size=height // 3, margin=2, normalize_plurals=False,
            color_func=lambda *_, colour=colour, **__: colour,
        )  # fmt: skip
        axes.imshow(cloud.generate_from_frequencies(written).to_array(), interpolation="none", aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(_effective(tables, context, stage, name), fontsize=style.TINY, labelpad=2)
    _label_rows(sheet, fields, stages)
    style.heading(sheet.figure, f"{context.size} · names")
    style.footer(sheet.figure, "The larger, the more frequent. Eff.: effective number of names, with a 95 % interval.")
    return sheet.figure


@style.styled
def persona_fields(tables: Tables, context: FigureContext) -> Figure:
    """Shares of values of one size (`context.size`): a row per field that is no name, a column per stage.

    Reads `persona_values` and `personas`.
    """
    table = _of_size(tables["persona_values"], context)
    kinds = dict(zip(table["field"], table["kind"], strict=True))
    fields = [name for name, kind in kinds.items() if kind != "name"]
    stages = _stages(table, context)
    shown = {name: _shown(table[table["field"] == name]) for name in fields if kinds[name] == "category"}
    wide = max(
        (style.text_width(label, style.TINY) for held in shown.values() for label in _labels(*held)), default=0.3
    )
    heights = [0.11 * len(_labels(*shown[name])) + 0.12 if name in shown else 0.75 for name in fields]
    sheet = _sheet(stages, heights or [1.0], 0.0, 0.18, (0.62, 0.34), 0.62, left=wide + 0.2)
    for (row, name), (column, stage) in itertools.product(enumerate(fields), enumerate(stages)):
        axes, rows = sheet.panels[row][column], _of(table, stage, name)
        colour = style.marks(context.stages)[stage].colour
        of_field = table[table["field"] == name]
        if name in shown:
            _bars(axes, rows, *shown[name], colour)
        else:
            _histogram(axes, rows, of_field, colour)
        n = f"{_effective(tables, context, stage, name, of='missing')}"
        axes.set_title(n, fontsize=style.TINY, pad=2, color=style.GREY, loc="left", linespacing=1.1)
        if column and name in shown:
            axes.set_yticklabels([])
        elif name not in shown:
            axes.tick_params(labelleft=column == 0)
        if row == 0:
            axes.annotate(
                context.label(stage), (0.5, 1), (0, 20), xycoords="axes fraction", textcoords="offset points",
                ha="center", fontsize=style.BODY, color=colour, annotation_clip=False,
            )  # fmt: skip
    for row, name in enumerate(fields):
        panels = [sheet.panels[row][column] for column in range(len(stages))]
        side = "x" if name in shown else "y"
        most = max((getattr(axes, f"get_{side}lim")()[1] for axes in panels), default=1.0)
        for axes in panels:
            getattr(axes, f"set_{side}lim")(0, most)
    _label_rows(sheet, fields, stages, above=True)
    style.heading(sheet.figure, f"{context.size} · shares of values")
    known = " Black dots: true shares." if table["true_share"].notna().any() else ""
    style.footer(sheet.figure, f"Eff.: effective number of values, with a 95 % interval.{known}")
    return sheet.figure


@style.styled
def persona_reviews(tables: Tables, context: FigureContext) -> Figure:
    """Lengths and polarities of the reviews of one size (`context.size`) by stage, and how often parsing failed.

    Reads `persona_reviews` and `personas`.
    """
    table, summary = (_of_size(tables[name], context) for name in ("persona_reviews", "personas"))
    stages = [stage for stage in context.stages if (table["stage"] == stage).any()]
    drawn = panel_grid(3, 3, 1.5, (0.45, 0.1, 0.5, 0.36), gaps=(0.72, 0.3))
    looks = style.marks(context.stages)
    panels = {"words": "Words of a review", "polarity": "Polarity (VADER)\n← negative · positive →"}
    for axes, (quantity, label) in zip(drawn.axes, panels.items(), strict=False):
        values = table[quantity].dropna()
        if values.empty:
            style.note(axes, "no reviews")
            continue
        low, high = (-1.0, 1.0) if quantity == "polarity" else (0.0, max(1.0, float(values.max())))
        edges = np.linspace(low, high, 21)
        for place, stage in enumerate(stages):
            of_stage = table.loc[table["stage"] == stage, quantity].dropna().to_numpy(dtype=np.float64)
            if not len(of_stage):
                continue
            counts, _ = np.histogram(of_stage, edges)
            half = 0.42 * counts / counts.max()
            axes.barh(
                (edges[:-1] + edges[1:]) / 2, 2 * half, height=np.diff(edges), left=place - half,
                color=style.lightened(looks[stage].colour, 0.55), linewidth=0,
            )  # fmt: skip
            axes.vlines(place, *np.quantile(of_stage, [0.25, 0.75]), color=looks[stage].colour)
            axes.plot([place], [of_stage.mean()], color=looks[stage].colour, marker=looks[stage].marker)
        axes.set_ylabel(label, fontsize=style.TINY)
    failures = drawn.axes[2]
    for row in records(summary[summary["quantity"] == "failures"]):
        place, look = stages.index(row["stage"]), looks[row["stage"]]
        failures.vlines(place, row["low"], row["high"], color=look.colour)
        failures.plot([place], [row["value"]], color=look.colour, marker=look.marker)
    failures.set_ylim(-0.03, 1.03)
    failures.set_ylabel("Outputs without a persona", fontsize=style.TINY)
    for axes in drawn.axes:
        axes.set_xticks([])
        axes.set_xlim(-0.6, max(1, len(stages)) - 0.4)
    style.heading(drawn.figure, f"{context.size} · reviews")
    sizes = table.groupby("stage", sort=False).size()
    reviews = table[table["words"].notna()].groupby("stage", sort=False).size()
    n = f"{style.counted(sizes, 'output')} and {style.counted(reviews, 'review')} per stage"
    style.footer(drawn.figure, f"{n}. Points: means; lines: quartiles of reviews, 95 % intervals of failures.")
    style.top_legend(drawn.figure, style.stage_handles(context, set(stages)))
    return drawn.figure


@style.styled
def persona_map(tables: Tables, context: FigureContext) -> Figure:
    """Sentences of the reviews of one size (`context.size`) and its first seed, where t-SNE puts them.

    Reads `persona_sentences` and `persona_clusters`.
    """
    table, clusters = (_of_size(tables[name], context) for name in ("persona_sentences", "persona_clusters"))
    table, clusters = (frame[frame["seed"] == table["seed"].min()] for frame in (table, clusters))
    stages = [stage for stage in context.stages if (table["stage"] == stage).any()]
    per_row = min(5, max(3, math.ceil(len(stages) / 2)))
    told = (_CLOSEST * 2 + 1) * _LINE
    drawn = panel_grid(len(stages), per_row, 1.3, (0.1, 0.1, 0.42, 0.25 + told), gaps=(0.12, told + 0.32))
    for axes, stage in zip(drawn.axes, stages, strict=False):
        rows = table[table["stage"] == stage]
        for cluster in sorted(set(rows["cluster"])):
            part = rows[rows["cluster"] == cluster]
            axes.scatter(
                part["x"], part["y"], color=_colour(cluster), marker=_marker(cluster),
                s=style.marker_size(len(rows)) ** 2, linewidths=0,
            )  # fmt: skip
        axes.set_title(context.label(stage), color=style.marks(context.stages)[stage].colour, pad=4)
        axes.text(
            0.02, 0.98, f"k = {rows['cluster'].nunique()}, n = {len(rows):,}", transform=axes.transAxes, ha="left",
            va="top", fontsize=style.TINY, color=style.GREY,
        )  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.margins(0.12)
        found = records(clusters[clusters["stage"] == stage].sort_values("cluster").head(_CLOSEST))
        for place, row in enumerate(found):
            lines = style.wrapped(style.printable(f"{row['share']:.0%}: {row['text']}"), drawn.width, style.TINY)
            text = (
                lines[0]
                if len(lines) == 1
                else f"{lines[0]}\n{style.shortened(' '.join(lines[1:]), drawn.width, style.TINY)}"
            )
            axes.annotate(
                text, (0, 0), (0, -4 - place * 2 * _LINE * 72), xycoords="axes fraction", textcoords="offset points",
                va="top", fontsize=style.TINY, color=_colour(row["cluster"]), annotation_clip=False, linespacing=1.05,
            )  # fmt: skip
    if not stages:
        style.note(drawn.axes[0], "no reviews")
    style.heading(drawn.figure, f"{context.size} · sentences of the reviews")
    style.footer(
        drawn.figure, "t-SNE, each panel by itself. Below: the sentence closest to the centre of the largest clusters."
    )
    return drawn.figure


def _of_size(table: pd.DataFrame, context: FigureContext) -> pd.DataFrame:
    return table[table["size"] == context.size]


def _of(table: pd.DataFrame, stage: str, field: str) -> pd.DataFrame:
    return table[(table["stage"] == stage) & (table["field"] == field)]


def _stages(table: pd.DataFrame, context: FigureContext) -> list[str]:
    return [stage for stage in context.stages if (table["stage"] == stage).any()]


def _sheet(
    stages: Sequence[str],
    rows: int | Sequence[float],
    height: float,
    gap: float,
    ends: tuple[float, float],
    row_gap: float,
    left: float = 0.22,
) -> style.Sheet:
    """Panels of all stages side by side; `ends` are the margins at the top and at the bottom."""
    columns, right = max(1, len(stages)), 0.1
    page = max(style.PAGE_WIDTH, columns * _NARROWEST + left + right)
    widths = [min(2.2, width) for width in style.spread(columns, page - left - right, [gap] * (columns - 1))]
    right = max(right, style.PAGE_WIDTH - left - sum(widths) - gap * (columns - 1))
    heights = [height] * rows if isinstance(rows, int) else list(rows)
    margins = (left, right, *ends)
    return style.sheet(widths, heights, [gap] * (columns - 1), [row_gap] * (len(heights) - 1), margins)


def _label_rows(sheet: style.Sheet, fields: Sequence[str], stages: Sequence[str], above: bool = False) -> None:
    """The name of each field at its row: beside it, or above the first panel's axis labels."""
    if not fields or not stages:
        style.note(sheet.panels[0][0], "no values")
    for row, name in enumerate(fields):
        label = style.printable(name.replace("_", " ").capitalize())
        if not stages:
            continue
        axes = sheet.panels[row][0]
        box, (width, height) = axes.get_position(), sheet.figure.get_size_inches()
        if above:
            sheet.figure.text(
                0.06 / width, box.y1 + 0.05 / height, label, fontsize=style.SMALL, fontweight="bold", va="bottom"
            )
        else:
            sheet.figure.text(
                0.06 / width, (box.y0 + box.y1) / 2, label, rotation=90, va="center", fontsize=style.SMALL
            )


def _effective(tables: Tables, context: FigureContext, stage: str, field: str, of: str = "") -> str:
    """ "n = 99, eff. 3.2 [2.8, 3.6]", and with `of` the share that lacks the field."""
    rows = {row["quantity"]: row for row in records(_of(_of_size(tables["personas"], context), stage, field))}
    if "effective" not in rows:
        return ""
    row, n = rows["effective"], int(rows["effective"]["n"])
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    effective = "" if math.isnan(value) else f"eff. {value:.1f}"
    effective += "" if math.isnan(low) else f" [{low:.1f}, {high:.1f}]"
    missing = float(rows[of]["value"]) if of in rows else math.nan
    lacking = "" if math.isnan(missing) else f", {missing:.0%} missing"
    return "\n".join(filter(None, [f"n = {n:,}{lacking}", effective]))


def _shares(rows: pd.DataFrame, column: str) -> pd.Series:
    """Value → its share, the mean over seeds, of which those without the value have 0."""
    seeds = max(1, rows.loc[rows[column].notna(), "seed"].nunique())
    return rows.groupby("value", sort=False)[column].sum(min_count=1) / seeds


def _shown(rows: pd.DataFrame) -> tuple[list[str], int]:
    """The values with a bar of their own, the largest share of any stage first, and the number of others."""
    largest: dict[str, float] = {}
    for _, of_stage in rows.groupby("stage", sort=False):
        for column in ("share", "true_share"):
            for value, share in _shares(of_stage, column).dropna().items():
                largest[str(value)] = max(largest.get(str(value), 0.0), float(share))
    ranked = sorted(largest, key=lambda value: (-largest[value], value))
    top = ranked if len(ranked) <= _TOP + 1 else ranked[:_TOP]
    return top, len(ranked) - len(top)


def _labels(top: Sequence[str], others: int) -> list[str]:
    labels = [style.shortened(value, _LABEL, style.TINY) for value in top]
    return [*labels, f"{others} others"] if others else labels


def _bars(axes: Axes, rows: pd.DataFrame, top: Sequence[str], others: int, colour: str) -> None:
    labels = _labels(top, others)
    for column in ("share", "true_share"):
        shares = _shares(rows, column)
        values = [float(shares.get(value, 0.0)) for value in top]
        values += [float(shares[~shares.index.isin(top)].sum())] if others else []
        if column == "share":
            axes.barh(range(len(labels)), np.nan_to_num(values), color=style.lightened(colour, 0.25), height=0.78)
        elif shares.notna().any():
            axes.plot(values, range(len(labels)), color="black", marker=".", markersize=3.5, linestyle="none")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, pad=1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.locator_params(axis="x", nbins=3)


def _histogram(axes: Axes, rows: pd.DataFrame, of_field: pd.DataFrame, colour: str) -> None:
    everything = of_field["value"].astype(np.float64)
    if everything.empty:
        style.note(axes, "no values")
        return
    low, high = float(everything.min()), float(everything.max())
    step = next(each for each in _steps() if (high - low) / each <= _BINS)
    edges = np.arange(math.floor(low / step) * step, high + step * 1.001, step)
    for column in ("share", "true_share"):
        shares = _shares(rows, column).dropna()
        sums, _ = np.histogram(shares.index.astype(np.float64), edges, weights=shares.to_numpy())
        if column == "share":
            axes.bar(
                edges[:-1], sums, width=step * 0.94, align="edge", color=style.lightened(colour, 0.25), linewidth=0
            )
        elif len(shares):
            axes.plot(edges[:-1] + step / 2, sums, color="black", marker=".", markersize=3.5, linestyle="none")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.locator_params(axis="y", nbins=3)
    axes.locator_params(axis="x", nbins=4)


def _steps() -> "itertools.chain[float]":
    """1, 2, 5, 10, 20, 50, … without end."""
    return itertools.chain.from_iterable((1 * 10.0**n, 2 * 10.0**n, 5 * 10.0**n) for n in itertools.count())


def _marker(cluster: int) -> str:
    """One on in each further turn through the colours: no two of the first 100 clusters look the same."""
    return MARKERS[(int(cluster) + int(cluster) // 10) % len(MARKERS)]


def _colour(cluster: int) -> tuple[float, float, float, float]:
    return colormaps["tab10"](int(cluster) % 10)
