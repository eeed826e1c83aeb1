"""Semantic modes: where the outputs of a prompt lie, and how similar and how clustered they are by stage."""

import itertools
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, records
from modecollapse.figures.panel_grid import panel_grid
from modecollapse.measures.semantic import ASKED

_PANELS = {
    "tfidf_similarity": "TF-IDF similarity\n← more diverse",
    "tfidf_sd_outputs": "SD of outputs'\nTF-IDF similarity",
    "sbert_similarity": "SBERT cosine\n← more diverse",
    "clusters": "Clusters",
    "silhouette": "Largest mean silhouette\nof any clustering",
    "stability": "Stability of the clusters\n(adjusted Rand index)",
}
_ROOM = 0.72
"""Share of a prompt set's room over which the stages are spread."""

_PROMPTS = 3
"""Prompts whose outputs are drawn at most."""
_NARROWEST = 1.05
"""Inches that a stage has at least."""
_COLOURS = colormaps["viridis"]
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
"""One for each cluster, the largest first."""


@style.styled
def semantic(tables: Tables, context: FigureContext) -> Figure:
    """Similarities and clusters of one size's outputs (`context.size`), a panel each, stages beside each other.

    Reads `semantic`.
    """
    table, sets = _shown(tables["semantic"], context)
    stages = [stage for stage in context.stages if (table["stage"] == stage).any()]
    drawn = panel_grid(len(_PANELS), 3, 1.35, (0.55, 0.1, 0.5, 0.62), gaps=(0.72, 0.42))
    looks = style.marks(context.stages)
    for axes, (quantity, label) in zip(drawn.axes, _PANELS.items(), strict=True):
        rows = table[table["quantity"] == quantity]
        for (place, name), (order, stage) in itertools.product(enumerate(sets), enumerate(stages)):
            at = place + _ROOM / len(stages) * (order - (len(stages) - 1) / 2)
            for row in records(rows[(rows["prompts"] == name) & (rows["stage"] == stage)]):
                axes.vlines(at, row["low"], row["high"], color=looks[stage].colour)
                axes.plot([at], [row["value"]], color=looks[stage].colour, marker=looks[stage].marker, linestyle="none")
        axes.set_ylabel(label, fontsize=style.TINY)
        if rows.empty:
            style.note(axes, "one cluster\nfor every prompt" if quantity == "stability" and len(table) else "undefined")
        axes.set_xticks(range(len(sets)), [f"{name.capitalize()}\nprompts" for name in sets])
        axes.set_xlim(-0.6, max(1, len(sets)) - 0.4)
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.12)
    temperatures = " and ".join(dict.fromkeys(table["temperature"]))
    style.heading(drawn.figure, context.scope(f"{context.size} · whole outputs · T = {temperatures}"))
    nouns = {"n_prompts": "prompt", "n_outputs": "output", "n_seeds": "training seed"}
    n = ", ".join(style.counted(table[name], noun) for name, noun in nouns.items())
    style.footer(drawn.figure, f"Each point: {n}; mean over prompts. Lines: 95 % bootstrap intervals.")
    style.top_legend(drawn.figure, style.stage_handles(context, set(stages)))
    return drawn.figure


@style.styled
def semantic_map(tables: Tables, context: FigureContext) -> Figure:
    """Outputs of single prompts of one size (`context.size`) and its first seed, where t-SNE puts their vectors.

    A row per prompt, a column per stage; colours are TF-IDF similarities to the prompt's other outputs, markers
    clusters. Reads `semantic_outputs`.
    """
    table, sets = _shown(tables["semantic_outputs"], context)
    table = table[table["seed"] == table["seed"].min()]
    stages = [stage for stage in context.stages if (table["stage"] == stage).any()]
    prompts = _prompts(table, sets)
    left, right, top, bottom, gap = 0.1, 0.62, 0.42, 0.4, 0.08
    page = max(style.PAGE_WIDTH, len(stages) * _NARROWEST + left + right)
    columns, rows = max(1, len(stages)), max(1, len(prompts))
    widths = style.spread(columns, page - left - right, [gap] * (columns - 1))
    widths = [min(width, 2.1) for width in widths]
    right = max(right, style.PAGE_WIDTH - left - sum(widths) - gap * (columns - 1))
    sheet = style.sheet(
        widths, [widths[0]] * rows, [gap] * (columns - 1), [0.3] * (rows - 1), (left, right, top, bottom)
    )
    similarity = table["similarity"].dropna()
    scale = Normalize(0.0, max(0.01, float(similarity.max())) if len(similarity) else 1.0)
    for (row, (name, prompt)), (column, stage) in itertools.product(enumerate(prompts), enumerate(stages)):
        axes = sheet.panels[row][column]
        of_prompt = table[(table["prompts"] == name) & (table["prompt"] == prompt) & (table["stage"] == stage)]
        _outputs(axes, of_prompt, scale)
        if row == 0:
            axes.set_title(context.label(stage), color=style.marks(context.stages)[stage].colour, pad=16)
        if column == 0:
            question = sets[name].get(prompt, prompt)
            wide = sum(widths) + gap * (columns - 1)
            axes.annotate(
                style.shortened(style.printable(f"{name}: {question}"), wide, style.TINY), (0, 1), (0, 4),
                xycoords="axes fraction", textcoords="offset points", fontsize=style.TINY, fontstyle="italic",
                color=style.GREY, annotation_clip=False,
            )  # fmt: skip
    if prompts and stages:
        last = sheet.panels[0][-1].get_position()
        width = sheet.figure.get_size_inches()[0]
        bar = sheet.figure.add_axes((last.x1 + 0.1 / width, last.y0, 0.09 / width, last.height))
        sheet.figure.colorbar(ScalarMappable(scale, _COLOURS), cax=bar)
        bar.set_ylabel("Mean TF-IDF similarity to the others", fontsize=style.TINY)
        bar.tick_params(labelsize=style.TINY)
    else:
        style.note(sheet.panels[0][0], "no outputs")
    temperatures = " and ".join(dict.fromkeys(table["temperature"]))
    style.heading(sheet.figure, context.scope(f"{context.size} · T = {temperatures}"))
    note = "t-SNE of sentence vectors, each panel by itself; markers: clusters, k of them. Grey: no words."
    style.footer(sheet.figure, note)
    return sheet.figure


def _shown(table: pd.DataFrame, context: FigureContext) -> tuple[pd.DataFrame, dict[str, Mapping[str, str]]]:
    """The rows of this figure, and the prompt sets that they are of with their wording.

    Prompts that were asked for this measure alone are the same in every view: all stages have one format for them.
    """
    table = table[table["size"] == context.size]
    own = table["prompts"] == ASKED
    table = pd.concat([context.in_view(table[~own]), table[own]])
    sets = {ASKED: context.questions.get("semantic", {}), **context.prompts}
    found = {name: wording for name, wording in sets.items() if (table["prompts"] == name).any()}
    return table[table["prompts"].isin(list(found))], found


def _prompts(table: pd.DataFrame, sets: Iterable[str]) -> list[tuple[str, str]]:
    """The prompts that are drawn: of each set in turn the first, then the second."""
    of_sets = [
        [(name, prompt) for prompt in dict.fromkeys(table.loc[table["prompts"] == name, "prompt"])] for name in sets
    ]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*of_sets))
    return [asked for asked in in_turn if asked is not None][:_PROMPTS]


def _outputs(axes: Axes, rows: pd.DataFrame, scale: Normalize) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.margins(0.1)
    for cluster in sorted(set(rows["cluster"])):
        part = rows[rows["cluster"] == cluster]
        known = part["similarity"].notna().to_numpy()
        colours = np.where(known[:, None], _COLOURS(scale(part["similarity"].fillna(0.0))), (0.7, 0.7, 0.7, 1.0))
        axes.scatter(
            part["x"], part["y"], color=colours, marker=MARKERS[int(cluster) % len(MARKERS)],
            s=style.marker_size(len(rows)) ** 2, linewidths=0,
        )  # fmt: skip
    if len(rows):
        axes.text(
            0.03, 0.97, f"k = {rows['cluster'].nunique()}", transform=axes.transAxes, ha="left", va="top",
            fontsize=style.TINY, color=style.GREY,
        )  # fmt: skip
