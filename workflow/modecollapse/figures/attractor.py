"""Attractors: how many continuations come back to the mode that they were pushed off, and one of each in colours."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.coloured_text import CUT, Block, Passage, coloured_sheet
from modecollapse.figures.context import FigureContext, Tables, records
from modecollapse.figures.panel_grid import panel_grid

_PANELS = {
    "returned": "Share that returns\nto its mode",
    "first_probability": "Mean probability\nof the first 5 tokens",
}
_ARMS = ("perturbed", "unperturbed")
_BESIDE = 0.13
"""How far an arm stands from the middle of its stage."""
_APART = 0.8
"""Space between the stages and those at another temperature."""
_BLOCKS = 8
"""Stages and temperatures whose continuations are drawn at most, those at another temperature among them."""


@style.styled
def attractor(tables: Tables, context: FigureContext) -> Figure:
    """Shares of one size's continuations (`context.size`) that return, by stage, perturbed beside unperturbed.

    What was sampled at another temperature than most stages stands apart. Reads `attractor`.
    """
    table = tables["attractor"]
    table = table[table["size"] == context.size]
    columns = _columns(table, context)
    drawn = panel_grid(len(_PANELS), 1, 1.45, (0.62, 0.1, 0.36, 0.68), gaps=(0.2, 0.2), widest=style.PAGE_WIDTH)
    looks = style.marks(context.stages)
    common = columns[0][1] if columns else ""
    places = [place + _APART * (temperature != common) for place, (_, temperature) in enumerate(columns)]
    for axes, (quantity, label) in zip(drawn.axes, _PANELS.items(), strict=True):
        rows = table[table["quantity"] == quantity]
        for place, (stage, temperature) in zip(places, columns, strict=True):
            own = rows[(rows["stage"] == stage) & (rows["temperature"] == temperature)]
            _column(axes, own, place, looks[stage])
        axes.set_ylabel(label)
        axes.set_ylim(-0.04, 1.04)
        axes.set_xlim(-0.6, (places[-1] if places else 0) + 0.6)
        axes.set_xticks(places, [""] * len(places))
        axes.grid(axis="x", visible=False)
        if places and places[-1] != len(places) - 1:
            apart = next(place for place, (_, other) in zip(places, columns, strict=True) if other != common)
            axes.axvline(apart - 0.5 - _APART / 2, color=style.LIGHT_GREY, linewidth=0.6, linestyle=(0, (2, 2)))
    if not columns:
        style.note(drawn.axes[0], "no modes")
    room = drawn.width / (places[-1] + 1.2) - 0.04 if places else 1.0
    names = [_name(context, stage, temperature, common, room) for stage, temperature in columns]
    drawn.axes[-1].set_xticks(places, names)
    style.heading(drawn.figure, f"{context.size} · T = {common}")
    style.footer(drawn.figure, _population(table))
    handles = [
        Line2D([], [], color=style.GREY, marker="o", linestyle="none", label=arm, **_look(arm, style.GREY))
        for arm in _ARMS
    ]
    style.top_legend(drawn.figure, handles)
    return drawn.figure


def _population(table: pd.DataFrame) -> str:
    arms = table[table["arm"].isin(_ARMS)]
    known = arms[arms["n_continuations"] > 0]
    nouns = {"n_modes": "mode", "n_continuations": "continuation", "n_seeds": "training seed"}
    n = ", ".join(style.counted(known[name], noun) for name, noun in nouns.items())
    without = int(arms["n_modes_without_verb"].max()) if len(arms) else 0
    covered = f"{100 * arms['covered'].min():.0f}" if len(arms) else ""
    left_out = (
        f" Up to {without} have nothing to negate; the others hold at least {covered} % of outputs." if without else ""
    )
    interval = "Lines: central 95 % of a bootstrap over seeds, modes and continuations; modes weigh as their shares."
    return f"Each point: {n}.{left_out}\n{interval}"


def _columns(table: pd.DataFrame, context: FigureContext) -> list[tuple[str, str]]:
    """(stage, temperature), in the order of the lineage, first those of the temperature that most stages have."""
    found = table[["stage", "temperature"]].drop_duplicates()
    temperatures = list(found["temperature"].value_counts(sort=False).sort_values(ascending=False, kind="stable").index)
    pairs = set(found.itertuples(index=False, name=None))
    return [(stage, each) for each in temperatures for stage in context.stages if (stage, each) in pairs]


def _look(arm: str, colour: str) -> dict[str, Any]:
    return {"markerfacecolor": colour if arm == _ARMS[0] else "white", "markeredgecolor": colour, "markersize": 4.5}


def _column(axes: Axes, rows: pd.DataFrame, place: float, mark: style.Mark) -> None:
    for side, arm in zip((-1, 1), _ARMS, strict=True):
        for row in records(rows[rows["arm"] == arm]):
            at = place + side * _BESIDE
            axes.vlines(at, row["low"], row["high"], color=mark.colour)
            axes.plot([at], [row["value"]], marker=mark.marker, linestyle="none", **_look(arm, mark.colour))
    if len(rows) and rows["value"].isna().all():
        axes.annotate("nothing\nto negate", (place, 0.5), ha="center", va="center", fontsize=5, color=style.GREY)


def _name(context: FigureContext, stage: str, temperature: str, common: str, inches: float) -> str:
    label = style.shortened(context.label(stage), inches, style.TINY)
    return label if temperature == common else f"{label}\nT = {temperature}"


@style.styled
def attractor_tokens(tables: Tables, context: FigureContext) -> Figure:
    """Continuations of each stage's largest mode of one size (`context.size`) and its first seed, as coloured text.

    Reads `attractor_tokens`.
    """
    table = tables["attractor_tokens"]
    table = table[table["size"] == context.size]
    columns = _columns(table, context)
    looks = style.marks(context.stages)
    apart = [each for each in columns if each[1] != columns[0][1]][: _BLOCKS // 2]
    shown = [each for each in columns if each not in apart][: _BLOCKS - len(apart)] + apart
    blocks = []
    for stage, temperature in shown:
        rows = table[(table["stage"] == stage) & (table["temperature"] == temperature)]
        own = {arm: rows[rows["arm"] == arm].sort_values("position") for arm in _ARMS}
        passages = [
            Passage(arm, str(part["before"].iloc[0]), list(part["token"]), list(part["probability"]))
            for arm, part in own.items()
            if len(part)
        ]
        blocks.append(Block(f"{context.label(stage)} · T = {temperature}", looks[stage].colour, passages))
    beyond = len(columns) - len(blocks)
    more = (
        f" Not drawn, but on the page of coloured continuations: {style.counted([beyond], 'stage')}." if beyond else ""
    )
    footer = f"Grey: the largest mode's most central output up to its verb, negated if perturbed. {CUT}{more}"
    return coloured_sheet(blocks, f"{context.size} · largest mode of each stage", footer, "no continuations")
