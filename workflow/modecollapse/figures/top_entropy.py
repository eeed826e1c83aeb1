"""Entropy along sampled outputs: by stage, and token by token of one output of each."""

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables
from modecollapse.figures.panel_grid import panel_grid

_PANELS = {
    "top_entropy": "Entropy of the most\nprobable tokens (bits)",
    "top_entropy_renormalised": "The same, probabilities\ndivided by their sum",
    "entropy": "Entropy of all tokens\n(bits)",
    "entropy_per_output": "The same, summed\nalong the output",
}
_TOKEN_WIDTH = 0.19
"""Inches that a token has at least."""
_LABEL = 0.62
"""Inches of room for the text of a token at most."""
_COLOURS = colormaps["viridis"]


@style.styled
def top_entropy(tables: Tables, context: FigureContext) -> Figure:
    """Entropies of one size's outputs (`context.size`) to one prompt, a panel each, a box for each stage.

    Reads `top_entropy_outputs`, and of `top_entropy` the true entropy.
    """
    read = (tables["top_entropy_outputs"], tables["top_entropy"])
    outputs, found = (frame[frame["size"] == context.size] for frame in read)
    stages = [stage for stage in context.stages if (outputs["stage"] == stage).any()]
    drawn = panel_grid(len(_PANELS), 4, 1.6, (0.5, 0.1, 0.36, 0.3), gaps=(0.58, 0.5))
    looks = style.marks(context.stages)
    for axes, (quantity, label) in zip(drawn.axes, _PANELS.items(), strict=True):
        axes.set_ylabel(label, fontsize=style.TINY)
        for place, stage in enumerate(stages):
            values = outputs.loc[outputs["stage"] == stage, quantity].dropna()
            _box(axes, place, values, looks[stage].colour)
        for truth in set(found.loc[found["quantity"] == quantity, "truth"].dropna()):
            axes.axhline(truth, color="black", linewidth=0.8, linestyle="dashed")
        axes.set_xticks([])
        axes.set_xlim(-0.7, max(1, len(stages)) - 0.3)
        axes.set_ylim(bottom=0.0)
        if not stages:
            style.note(axes, "no outputs")
    style.heading(drawn.figure, _heading(context))
    per_model = outputs.groupby(["stage", "seed"], sort=False).size()
    seeds = style.counted([outputs["seed"].nunique()], "training seed")
    n = f"{style.counted(per_model, 'output')} of each model, {seeds}"
    style.footer(drawn.figure, f"{n}. Boxes: quartiles; diamonds: means.")
    handles = style.stage_handles(context, set(stages))
    handles += (
        [Line2D([], [], color="black", linestyle="dashed", label="truth")] if found["truth"].notna().any() else []
    )
    style.top_legend(drawn.figure, handles)
    return drawn.figure


def _heading(context: FigureContext) -> str:
    question = context.questions.get("top_entropy", {}).get("top_entropy")
    asked = style.shortened(f" · “{question}”", style.PAGE_WIDTH / 2.4, style.SMALL) if question else ""
    return f"{context.size}{asked}"


def _box(axes: Axes, place: int, values: pd.Series, colour: str) -> None:
    if not len(values):
        return
    line = {"color": colour, "linewidth": 0.8}
    axes.boxplot(
        [values.to_numpy()], positions=[place], widths=0.6, patch_artist=True, showmeans=True, manage_ticks=False,
        boxprops={"facecolor": style.lightened(colour, 0.75), "edgecolor": colour, "linewidth": 0.8},
        medianprops={**line, "linewidth": 1.4}, whiskerprops=line, capprops=line,
        meanprops={"marker": "D", "markersize": 2.4, "markerfacecolor": "white", "markeredgecolor": colour},
        flierprops={"marker": "o", "markersize": 1.6, "markerfacecolor": colour, "markeredgewidth": 0},
    )  # fmt: skip


@style.styled
def top_entropy_sample(tables: Tables, context: FigureContext) -> Figure:
    """The tokens of one output of each stage of one size (`context.size`): entropies, and the most probable tokens.

    Reads `top_entropy_tokens`.
    """
    table = tables["top_entropy_tokens"]
    table = table[table["size"] == context.size]
    stages = [stage for stage in context.stages if (table["stage"] == stage).any()]
    tokens = 1 + (int(table["position"].max()) if len(table) else 0)
    ranks = int(table["rank"].max()) if len(table) else 1
    texts = [style.shortened(style.visible(token), _LABEL, style.TINY) for token in dict.fromkeys(table["token"])]
    below = max((style.text_width(text, style.TINY) for text in texts), default=0.0)
    left, right, top, bottom, gap = 0.5, 0.1, 0.5, 0.14 + below, 0.42
    width = max((style.PAGE_WIDTH - left - right - gap) / 2, tokens * _TOKEN_WIDTH)
    rows = max(1, len(stages))
    sheet = style.sheet(
        [width] * 2, [0.62] * rows, [gap], [0.26 + below] * (rows - 1), (left, right, top, bottom)
    )  # fmt: skip
    highest = max(0.1, float(table[["entropy", "top_entropy"]].max().max())) if len(table) else 1.0
    looks = style.marks(context.stages)
    for (bars, stacks), stage in zip(sheet.panels, stages, strict=len(stages) > 0):
        of_stage = table[table["stage"] == stage].sort_values(["position", "rank"], kind="stable")
        first = of_stage[of_stage["rank"] == 1]
        bars.bar(first["position"], first["top_entropy"], color=looks[stage].colour, width=0.8)
        bars.plot(first["position"], first["entropy"], color=style.GREY, marker="o", markersize=1.8, linestyle="none")
        bars.set_ylim(0.0, highest * 1.06)
        _stacked(stacks, of_stage, ranks)
        for axes in (bars, stacks):
            labels = [style.shortened(style.visible(token), _LABEL, style.TINY) for token in first["token"]]
            axes.set_xticks(first["position"], labels, rotation=90, fontsize=style.TINY)
            axes.set_xlim(-0.6, tokens - 0.4)
            axes.grid(axis="x", visible=False)
        bars.set_title(context.label(stage), color=looks[stage].colour, loc="left", pad=3)
        bars.set_ylabel("bits", fontsize=style.TINY)
    if stages:
        for axes, title in zip(
            sheet.panels[0],
            ("Entropy over the most probable tokens", "Probabilities of the most probable tokens"),
            strict=True,
        ):
            axes.set_title(title, fontsize=style.SMALL, pad=3, loc="right")
    else:
        style.note(sheet.panels[0][0], "no outputs")
        sheet.panels[0][1].set_axis_off()
    style.heading(sheet.figure, _heading(context))
    handles = [
        Line2D([], [], color=style.GREY, marker="o", markersize=2.4, linestyle="none", label="over all tokens"),
        *(Patch(facecolor=_of_rank(rank, ranks), label=f"rank {rank}") for rank in range(1, ranks + 1)),
        Patch(facecolor="white", edgecolor="black", label="drawn"),
    ]
    style.top_legend(sheet.figure, handles)
    return sheet.figure


def _of_rank(rank: int, ranks: int) -> tuple[float, float, float, float]:
    return _COLOURS(0.15 + 0.8 * (rank - 1) / max(1, ranks - 1))


def _stacked(axes: Axes, rows: pd.DataFrame, ranks: int) -> None:
    below = rows.groupby("position", sort=False)["top_probability"].cumsum() - rows["top_probability"]
    rows = rows.assign(below=below, drawn=rows["top_token"] == rows["token"])
    for _, part in rows.groupby(["rank", "drawn"], sort=True):
        rank, drawn = int(part["rank"].iloc[0]), bool(part["drawn"].iloc[0])
        axes.bar(
            part["position"], part["top_probability"], bottom=part["below"], width=0.8, color=_of_rank(rank, ranks),
            edgecolor="black" if drawn else "none", linewidth=0.9 if drawn else 0, zorder=3 if drawn else 2,
        )  # fmt: skip
    axes.set_ylim(0.0, 1.03)
