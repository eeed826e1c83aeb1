"""Quality against diversity: one line per stage through the sampling temperatures, intervals in both directions."""

import itertools

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, longest_cut, records
from modecollapse.figures.labels import Label, output_label
from modecollapse.metrics.registry import QUALITIES

_DIVERSITY = ("self_bleu", "cosine", "ncd")
"""The first of these that was measured is the vertical axis; one minus it where it falls as diversity rises."""

_KEYS = ["stage", "format", "prompts", "temperature"]

_FEW = 4
"""Up to so many lines each has the names of its temperatures; of more, one, and the others begin hollow."""


@style.styled
def quality_diversity(tables: Tables, context: FigureContext) -> Figure:
    """Quality of whole completions and diversity of cut ones of one size (`context.size`), by stage and temperature.

    Reads `curves`. One row of panels per quality score, one column per prompt set.
    """
    curves = tables["curves"]
    words = longest_cut(curves)
    curves = context.in_view(curves)
    curves = curves[(curves["size"] == context.size) & (curves["definition"] == context.definition)]
    measured = set(curves.loc[curves["words"] == words, "metric"])
    diversity = next((name for name in _DIVERSITY if name in measured), _DIVERSITY[0])
    vertical = _diverse(curves[(curves["words"] == words) & (curves["metric"] == diversity)], diversity)
    whole = curves[(curves["words"] == 0) & curves["prompts"].isin(context.prompts)]
    qualities = [name for name in QUALITIES if (whole["metric"] == name).any()]
    sets = list(context.prompts)
    rows, columns = max(1, len(qualities)), max(1, len(sets))
    crowded = len(whole[["stage", "format"]].drop_duplicates()) > _FEW
    left, right, top, bottom, gap = 0.62, 0.1, 0.48, 0.54, 0.5
    sheet = style.sheet(
        widths=style.spread(columns, style.PAGE_WIDTH - left - right, [gap] * (columns - 1)),
        heights=[2.6 if crowded else 1.9] * rows,
        column_gaps=[gap] * (columns - 1),
        row_gaps=[0.45] * (rows - 1),
        margins=(left, right, top, bottom),
    )
    shown: list[pd.DataFrame] = []
    for row, column in itertools.product(range(rows), range(columns)):
        axes = sheet.panels[row][column]
        name, prompts = next(iter(qualities[row : row + 1]), None), next(iter(sets[column : column + 1]), None)
        if row == 0 and prompts is not None:
            axes.set_title(f"{prompts.capitalize()} prompts", pad=5)
        points = whole[(whole["metric"] == name) & (whole["prompts"] == prompts)].dropna(subset=["value"])
        points = points.merge(vertical, on=_KEYS, suffixes=("", "_diversity")).dropna(subset=["value_diversity"])
        if name is None or points.empty:
            what = "no quality score" if name is None else output_label(name).text
            style.note(axes, f"{what}: not defined for\n{prompts} prompts")
            continue
        shown.append(points)
        _panel(axes, points, context, crowded)
        axes.set_xlabel(f"{output_label(name).axis} → better", labelpad=2)
        if column == 0:
            axes.set_ylabel(_axis(output_label(diversity)))
    every = pd.concat(shown) if shown else whole.iloc[:0]
    style.heading(sheet.figure, context.scope(f"{context.size} · first {words} words"))
    n = style.counted(every["n_prompts"], "prompt"), style.counted(every["n_seeds"], "training seed")
    notes = f"Each point: one temperature, {', '.join(n)}. Crosses: 95 % bootstrap intervals."
    style.footer(sheet.figure, notes + (" Hollow: the lowest temperature of a line." if crowded else ""))
    style.top_legend(sheet.figure, _handles(every, context))
    return sheet.figure


def _panel(axes: Axes, points: pd.DataFrame, context: FigureContext, crowded: bool) -> None:
    opacity, named = (0.2, _longest(points)) if crowded else (0.45, None)
    marks, lines = style.marks(context.stages), style.line_styles(list(dict.fromkeys(points["format"])))
    for stage, form in itertools.product(context.stages, lines):
        line = points[(points["stage"] == stage) & (points["format"] == form)]
        line = line.assign(at=line["temperature"].astype(float)).sort_values("at")
        if line.empty:
            continue
        look = marks[stage]
        # Stages meet at the ends of their lines; the names of their temperatures lie on different sides of them.
        odd = list(context.stages).index(stage) % 2
        offset, side = ((-3, -8), "right") if odd else ((3, 3), "left")
        x, y = line["value"], line["value_diversity"]
        axes.hlines(y, line["low"], line["high"], color=look.colour, alpha=opacity, linewidth=0.7)
        axes.vlines(x, line["low_diversity"], line["high_diversity"], color=look.colour, alpha=opacity, linewidth=0.7)
        axes.plot(x, y, color=look.colour, marker=look.marker, linestyle=lines[form], markersize=3.2, zorder=3)
        if crowded:
            axes.plot(
                x.iloc[:1], y.iloc[:1], color=look.colour, marker=look.marker, linestyle="none", markersize=4.4,
                markeredgewidth=0.7, markerfacecolor="white", zorder=3,
            )  # fmt: skip
        for end in {0, len(line) - 1} if named in (None, (stage, form)) else set():
            if crowded:
                # Beyond the end, where the line's neighbours are least likely to be.
                offset, side = (0, 4 if y.iloc[end] == y.max() else -9), "center"
            axes.annotate(
                f"T {line['temperature'].iloc[end]}", (x.iloc[end], y.iloc[end]), xytext=offset, ha=side,
                textcoords="offset points", fontsize=style.TINY, color=look.colour, zorder=4,
            )  # fmt: skip
    axes.margins(0.08)


def _longest(points: pd.DataFrame) -> tuple[str, str]:
    """The stage and format whose line goes through most diversity, where the names of its temperatures stand apart."""
    diversity = points.groupby(["stage", "format"], sort=False)["value_diversity"].agg(["min", "max"]).reset_index()
    longest = max(records(diversity), key=lambda line: float(line["max"] - line["min"]))
    return str(longest["stage"]), str(longest["format"])


def _diverse(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows such that higher is more diverse: one minus value and interval where it is the other way."""
    rows = rows[[*_KEYS, "value", "low", "high"]]
    if output_label(name).diversity >= 0:
        return rows
    return rows.assign(value=1 - rows["value"], low=1 - rows["high"], high=1 - rows["low"])


def _axis(label: Label) -> str:
    return f"{label.axis if label.diversity >= 0 else f'1 − {label.text}'}\n↑ more diverse"


def _handles(points: pd.DataFrame, context: FigureContext) -> list[Line2D]:
    handles = style.stage_handles(context, set(points["stage"]))
    lines = style.line_styles(list(dict.fromkeys(points["format"])))
    if len(lines) > 1:
        handles += [Line2D([], [], color=style.GREY, linestyle=lines[name], label=f"format: {name}") for name in lines]
    return handles
