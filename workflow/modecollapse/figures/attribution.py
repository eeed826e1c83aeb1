"""Attribution as stacked bars: what each step adds to the change of every metric, with intervals."""

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from modecollapse.analysis.attribution import MEAN_TEMPERATURE
from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, longest_cut, records
from modecollapse.figures.labels import Label, axis_lines, drawn, output_label, token_label

Bar = TypeVar("Bar", bound=Hashable)

PAIRS_PER_ROW = 2
BAR = 0.8
"""Share of a size's room that its bars fill together."""


_CROWDED = 12
"""With more bars than this in a panel, panels are as wide as the page allows."""
HATCHES = ("", "////", "....", "xxxx")

_DRAWN = ["size", "prompts", "format", "metric", "path", "step", "delta", "low", "high", "n_prompts", "n_seeds"]
_DRAWN += ["format_before", "format_after"]
"""What bars are drawn from."""

TOTAL: Mapping[str, Any] = {
    "marker": "D",
    "markersize": 2.4,
    "markeredgewidth": 0.7,
    "color": "white",
    "markeredgecolor": "black",
    "linestyle": "none",
}
"""How a total looks."""


@style.styled
def attribution(tables: Tables, context: FigureContext, mean: bool = True) -> Figure:
    """Change of every output metric of cut completions per step of each path, for every size.

    Reads rows of level "output" of the table `attribution`: means over temperatures, or those of `context.temperature`.
    """
    temperature = MEAN_TEMPERATURE if mean else context.temperature
    changes = tables["attribution"]
    changes = context.compared(changes[changes["level"] == "output"])
    words = longest_cut(changes)
    changes = changes[
        (changes["temperature"] == temperature)
        & (changes["words"] == words)
        & (changes["definition"] == context.definition)
    ]
    sets = list(context.prompts)
    per_row = max(1, 2 * PAIRS_PER_ROW // len(sets))
    panels = [
        (output_label(metric), changes[(changes["metric"] == metric) & (changes["prompts"] == name)])
        for metric in drawn(changes["metric"])
        for name in sets
    ]
    titles = [f"{name.capitalize()} prompts" for name in sets] * per_row
    scope = context.scope(f"first {words} words · {'mean over T' if mean else f'T = {temperature}'}")
    return _bars(panels, len(sets), per_row, titles, scope, "prompt", context)


@style.styled
def matched_attribution(tables: Tables, context: FigureContext) -> Figure:
    """Change of every output metric of cut completions: mean over temperatures beside matched token entropy.

    Reads rows of level "output" of `attribution` averaged over temperatures, and `matched_attribution`.
    """
    matched, changes = context.compared(tables["matched_attribution"]), tables["attribution"]
    changes = context.compared(changes[(changes["level"] == "output") & (changes["temperature"] == MEAN_TEMPERATURE)])
    words = longest_cut(changes)
    parts = []
    for name, frame in (("mean over T", changes), ("matched entropy", matched)):
        frame = frame[(frame["words"] == words) & (frame["definition"] == context.definition)]
        parts.append(frame.assign(format=name))
    every = pd.concat([part[_DRAWN] for part in parts])
    panels = [
        (output_label(metric), every[(every["metric"] == metric) & (every["prompts"] == name)])
        for metric in drawn(every["metric"])
        for name in context.prompts
    ]
    sets = len(context.prompts)
    per_row = max(1, 2 * PAIRS_PER_ROW // sets)
    titles = [f"{name.capitalize()} prompts" for name in context.prompts] * per_row
    return _bars(panels, sets, per_row, titles, context.scope(f"first {words} words"), "prompt", context, "")


@style.styled
def token_attribution(tables: Tables, context: FigureContext) -> Figure:
    """Change of every token-level metric per step of each path. Reads rows of level "token" of `attribution`."""
    changes = tables["attribution"]
    changes = changes[(changes["level"] == "token") & (changes["definition"] == context.definition)]
    metrics = list(dict.fromkeys(changes["metric"]))
    panels = [(token_label(metric), changes[changes["metric"] == metric]) for metric in metrics]
    return _bars(panels, 1, 3, [], "held-out text", "document", context)


def _bars(
    panels: Sequence[tuple[Label, pd.DataFrame]],
    group: int,
    groups_per_row: int,
    titles: Sequence[str],
    scope: str,
    unit: str,
    context: FigureContext,
    kind: str = "format: ",
) -> Figure:
    """Panels in groups of `group` that share a vertical axis, `groups_per_row` groups in a row.

    `kind` is what legends write before the names of hatched bars, which stand in the column `format`.
    """
    every = pd.concat([frame for _, frame in panels]) if panels else pd.DataFrame(columns=_DRAWN)
    bars = list(dict.fromkeys(zip(every["path"], every["format"], strict=True)))
    of_sizes = bars_of_sizes(bars, zip(every["size"], zip(every["path"], every["format"], strict=True), strict=True))
    if len(bars) * len(context.sizes) > _CROWDED:
        groups_per_row, titles = 1, titles[:group]
    n = (style.counted(every["n_prompts"], unit), style.counted(every["n_seeds"], "training seed"))
    notes = [f"Each bar: {', '.join(n)}. Lines: 95 % bootstrap intervals of each step and the total."]
    changed = _changed_words(every)
    notes += _sentence(changed, context)
    sheet = panel_grid(
        panels, group, groups_per_row, titles, lambda axes, frame: _panel(axes, frame, of_sizes, context), notes
    )
    style.heading(sheet.figure, scope)
    style.top_legend(sheet.figure, _handles(bars, context, kind, changed))
    return sheet.figure


def panel_grid(
    panels: Sequence[tuple[Label, pd.DataFrame]],
    group: int,
    groups_per_row: int,
    titles: Sequence[str],
    draw: Callable[[Axes, pd.DataFrame], None],
    notes: Sequence[str],
) -> style.Sheet:
    """A page of bar panels: those of a group share a vertical axis, `draw` fills each, `notes` are lines below."""
    per_row = group * groups_per_row
    rows = max(1, -(-len(panels) // per_row))
    gaps = (([0.12] * (group - 1) + [0.92]) * groups_per_row)[:-1]
    left, right, top, bottom = 0.92, 0.06, 0.48 if titles else 0.34, 0.36 + 0.1 * (len(notes) - 1)
    sheet = style.sheet(
        widths=style.spread(per_row, style.PAGE_WIDTH - left - right, gaps),
        heights=[1.0] * rows,
        column_gaps=gaps,
        row_gaps=[0.3] * (rows - 1),
        margins=(left, right, top, bottom),
    )
    for place, axes in enumerate(sheet.all()):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        label, frame = panels[place]
        leader = sheet.panels[place // per_row][place % per_row // group * group]
        if axes is not leader:
            axes.sharey(leader)
            axes.tick_params(labelleft=False)
        if frame.empty:
            style.note(axes, "not defined")
        else:
            draw(axes, frame)
        if axes is leader:
            axes.set_ylabel(axis_lines(label, "Δ "), fontsize=style.TINY)
        if (place + 1) % group == 0:
            style.show_constant(sheet.panels[place // per_row][place % per_row + 1 - group : place % per_row + 1])
        if titles and place < per_row:
            axes.set_title(titles[place], pad=5)
    style.footer(sheet.figure, "\n".join(notes))
    return sheet


def _changed_words(changes: pd.DataFrame) -> dict[tuple[str, ...], str]:
    """(stage before, stage after) → "okay → human", for the steps that change the prompt format as well."""
    steps = changes[(changes["step"] != "total") & (changes["format_before"] != changes["format_after"])]
    sides = steps["format_before"].astype(str) + " → " + steps["format_after"].astype(str)
    return {tuple(step.split(">")): side for step, side in zip(steps["step"], sides, strict=True)}


def _sentence(changed: Mapping[tuple[str, ...], str], context: FigureContext) -> list[str]:
    """What a reader has to know where stages were asked in different words, in lines; none where they were not."""
    if not changed:
        return []
    named = [
        f"{' → '.join(context.stages[stage].label for stage in step)} ({sides})" for step, sides in changed.items()
    ]
    beginning = "This step also changes" if len(named) == 1 else "These steps also change"
    text = f"{beginning} the words around the prompt: {', '.join(named)}."
    return style.wrapped(text, style.PAGE_WIDTH - 0.15, style.TINY)


def bars_of_sizes(bars: Sequence[Bar], drawn: Iterable[tuple[str, Bar]]) -> dict[str, list[Bar]]:
    """Size → its bars in the order of `bars`: those of them that are `drawn` for it. Some sizes lack stages."""
    known = set(drawn)
    return {size: [bar for bar in bars if (size, bar) in known] for size in dict.fromkeys(size for size, _ in known)}


def places(of_sizes: Mapping[str, Sequence[Bar]], sizes: Sequence[str]) -> Iterator[tuple[str, Bar, float, float]]:
    """(size, bar, middle, room) for every bar: equally wide for all sizes, and in the middle of its size's place."""
    room = BAR / max((len(bars) for bars in of_sizes.values()), default=1)
    for place, size in enumerate(sizes):
        bars = of_sizes.get(size, ())
        for order, bar in enumerate(bars):
            yield size, bar, place + (order - (len(bars) - 1) / 2) * room, room


def _panel(
    axes: Axes, changes: pd.DataFrame, of_sizes: Mapping[str, Sequence[tuple[str, str]]], context: FigureContext
) -> None:
    """Per size one bar for each (path, format): steps stacked from zero by sign, the total as a diamond."""
    marks = style.marks(context.stages)
    formats = dict.fromkeys(form for bars in of_sizes.values() for _, form in bars)
    hatches = dict(zip(formats, HATCHES, strict=False))
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in records(changes):
        rows.setdefault((row["size"], row["path"], row["format"]), []).append(row)
    for size, (path, form), middle, room in places(of_sizes, context.sizes):
        bar = rows.get((size, path, form), [])
        steps = [row for row in bar if row["step"] != "total"]
        tops = {True: 0.0, False: 0.0}
        offsets = across_bar(len(steps) + 1, room)
        for offset, step in zip(offsets, steps, strict=False):
            delta, rising = step["delta"], step["delta"] >= 0
            base = tops[rising]
            look = marks[step["step"].split(">")[1]]
            axes.bar(
                middle, delta, width=0.92 * room, bottom=base, color=look.colour, edgecolor="white", alpha=0.75,
                hatch=hatches.get(form, ""),
            )  # fmt: skip
            # Each step's interval stands at the end of its own part of the bar.
            axes.vlines(middle + offset, base + step["low"], base + step["high"], color="black", linewidth=0.9)
            tops[rising] = base + delta
        for total in (row for row in bar if row["step"] == "total"):
            at = middle + offsets[-1]
            axes.vlines(at, total["low"], total["high"], color="black", linewidth=0.9, zorder=3)
            axes.plot([at], [total["delta"]], **TOTAL)
    size_axis(axes, context)


def size_axis(axes: Axes, context: FigureContext) -> None:
    """A horizontal axis of sizes under bars that stand on zero."""
    axes.axhline(0, color=style.GREY, linewidth=0.7)
    axes.set_xticks(range(len(context.sizes)), context.sizes)
    axes.set_xlim(-0.6, len(context.sizes) - 0.4)
    axes.grid(axis="x", visible=False)
    crowded = sum(len(size) for size in context.sizes) > 12
    axes.tick_params(axis="x", length=0, labelsize=4.8 if crowded else style.TINY)


def across_bar(count: int, room: float) -> list[float]:
    """Places across a bar for `count` intervals, so that none hides another."""
    return [room * 0.7 * ((place + 0.5) / count - 0.5) for place in range(count)]


def _formats(bars: Sequence[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(form for _, form in bars))


def _handles(
    bars: Sequence[tuple[str, str]], context: FigureContext, kind: str, changed: Mapping[tuple[str, ...], str]
) -> list[Artist]:
    marks = style.marks(context.stages)
    steps = dict.fromkeys(step for path, _ in bars for step in itertools.pairwise(path.split(">")))
    handles: list[Artist] = [
        Patch(
            facecolor=marks[after].colour,
            alpha=0.75,
            label=f"{context.stages[before].label} → {context.stages[after].label}"
            + (f" ({changed[before, after]})" if (before, after) in changed else ""),
        )
        for before, after in steps
    ]
    handles.append(Line2D([], [], label="total", **TOTAL))
    formats = _formats(bars)
    if len(formats) > 1:
        for name, hatch in zip(formats, HATCHES, strict=False):
            handles.append(Patch(facecolor="white", edgecolor=style.GREY, hatch=hatch, label=f"{kind}{name}"))
    return handles
