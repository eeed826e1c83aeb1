"""How models choose and answer: next tokens, distributions over choices, and responses side by side."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, records
from modecollapse.figures.side_by_side import side_by_side

_QUESTIONS = 3
"""Questions that are drawn at most."""
_TOKENS = 10
_PER_ROW = 3
_TOKEN = 0.5
"""Inches of room for the text of a token."""
_LABELLED = 24
"""Choices that have their names below; of more every so many."""


def _asked(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table["question"]))[:_QUESTIONS]


def _of_first_seed(table: pd.DataFrame, context: FigureContext) -> pd.DataFrame:
    table = table[table["size"] == context.size]
    return table[table["seed"] == table["seed"].min()]


def _empty(context: FigureContext, note: str) -> Figure:
    sheet = style.sheet([style.PAGE_WIDTH - 0.4], [0.8], [], [], (0.2, 0.2, 0.3, 0.2))
    style.heading(sheet.figure, str(context.size))
    style.note(sheet.panels[0][0], note)
    return sheet.figure


def _title(figure: Figure, text: str, y: float) -> None:
    """A question above its panels, `y` inches from the bottom."""
    width, height = figure.get_size_inches()
    text = style.shortened(text, width - 0.2, style.TINY * 1.1)
    figure.text(0.01, y / height, text, fontsize=style.TINY, fontstyle="italic", va="center", color=style.GREY)


@style.styled
def next_tokens(tables: Tables, context: FigureContext) -> Figure:
    """The most probable next tokens of each stage of one size (`context.size`), and all of them by rank.

    Reads `next_tokens`: at most three questions, under each other.
    """
    table = _of_first_seed(tables["next_tokens"], context)
    stages = [stage for stage in context.stages if (table["stage"] == stage).any()]
    questions = _asked(table)
    if not questions:
        return _empty(context, "no next tokens")
    columns, rows = min(_PER_ROW, len(stages)), -(-len(stages) // _PER_ROW)
    curve, right, line, gap, top = 2.1, 0.12, 1.0, 0.42, 0.4
    bars = (style.PAGE_WIDTH - curve - right - 0.6 - columns * (_TOKEN + 0.12)) / columns
    band = rows * line + (rows - 1) * gap
    page, height = style.PAGE_WIDTH, top + len(questions) * (band + 0.78)
    figure = Figure(figsize=(page, height))
    looks = style.marks(context.stages)
    for place, question in enumerate(questions):
        above = height - top - place * (band + 0.78)
        _title(figure, f"{question}: {context.question('choices', question)}", above - 0.06)
        of_question = table[table["question"] == question]
        for order, stage in enumerate(stages):
            row, column = divmod(order, columns)
            x, y = (column + 1) * (_TOKEN + 0.12) + column * bars, above - 0.36 - line - row * (line + gap)
            axes = figure.add_axes((x / page, y / height, bars / page, line / height))
            best = of_question[of_question["stage"] == stage].nsmallest(_TOKENS, "rank")
            names = [style.shortened(style.visible(token), _TOKEN, style.TINY) for token in best["token"]]
            axes.barh(range(len(best)), best["probability"], color=looks[stage].colour, height=0.75)
            axes.set_yticks(range(len(best)), names, fontsize=style.TINY - 0.5)
            axes.set_ylim(_TOKENS - 0.4, -0.6)
            axes.set_xlim(left=0.0)
            axes.locator_params(axis="x", nbins=3)
            axes.grid(axis="y", visible=False)
            axes.set_title(context.label(stage), color=looks[stage].colour, fontsize=style.SMALL, pad=2)
        tall = min(band, 2.2)
        axes = figure.add_axes(
            ((page - right - curve) / page, (above - 0.36 - tall) / height, curve / page, tall / height)
        )
        for order, stage in enumerate(stages):
            by_rank = of_question[(of_question["stage"] == stage) & (of_question["probability"] > 0)].sort_values(
                "rank"
            )
            axes.plot(
                by_rank["rank"], by_rank["probability"], color=looks[stage].colour, linewidth=1.0,
                marker=looks[stage].marker, markersize=2.6, markevery=(0.05 + 0.02 * order, 0.25),
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.minorticks_off()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("Rank", fontsize=style.TINY, labelpad=1)
        axes.set_ylabel("Probability", fontsize=style.TINY, labelpad=1)
    style.heading(figure, f"{context.size} · next tokens")
    style.top_legend(figure, style.stage_handles(context, set(stages)))
    return figure


@style.styled
def choices(tables: Tables, context: FigureContext) -> Figure:
    """The distribution of each stage of one size (`context.size`) over the choices of each question.

    Reads `choices` and `choice_summary`: at most three questions, under each other, a panel for each stage.
    """
    table, summary = (frame[frame["size"] == context.size] for frame in (tables["choices"], tables["choice_summary"]))
    stages = [stage for stage in context.stages if (table["stage"] == stage).any()]
    questions = _asked(table)
    if not questions:
        return _empty(context, "no choices")
    of_questions = [table[table["question"] == question] for question in questions]
    names = [list(dict.fromkeys(rows["choice"])) for rows in of_questions]
    line, gap, top, left, right = 0.42, 0.2, 0.36, 0.45, 0.1
    below = [0.3 if _is_numeric(choices) else 0.75 for choices in names]
    heights = [0.3 + len(stages) * (line + gap) - gap + room for room in below]
    page, height = style.PAGE_WIDTH, top + sum(heights) + 0.14
    figure = Figure(figsize=(page, height))
    above = height - top
    for question, rows, choice, tall in zip(questions, of_questions, names, heights, strict=True):
        _title(figure, f"{question}: {context.question('choices', question)}", above - 0.06)
        for order, stage in enumerate(stages):
            y = above - 0.3 - line - order * (line + gap)
            axes = figure.add_axes((left / page, y / height, (page - left - right) / page, line / height))
            of_stage = rows[rows["stage"] == stage]
            said = summary[(summary["question"] == question) & (summary["stage"] == stage)]
            _distribution(axes, of_stage, choice, style.marks(context.stages)[stage].colour)
            axes.text(
                1.0, 1.02, _numbers(said, len(choice)), transform=axes.transAxes, ha="right", va="bottom",
                fontsize=style.TINY, color=style.GREY,
            )  # fmt: skip
            axes.set_title(
                context.label(stage), color=style.marks(context.stages)[stage].colour, loc="left", pad=2,
                fontsize=style.SMALL,
            )  # fmt: skip
            _name(axes, choice, labelled=order == len(stages) - 1)
        above -= tall
    style.heading(figure, f"{context.size} · share of each choice")
    handles = [Line2D([], [], color=style.GREY, linestyle="dashed", linewidth=0.8, label="uniform")]
    if table["true_probability"].notna().any():
        handles += [Line2D([], [], color="black", marker="_", markersize=5, linestyle="none", label="truth")]
    style.top_legend(figure, handles)
    seeds = style.counted([table["seed"].nunique()], "training seed")
    style.footer(
        figure, f"Shares of the probability of all choices together (mass), square-root scales; mean over {seeds}."
    )
    return figure


def _is_numeric(choices: list[str]) -> bool:
    return all(choice.isdigit() for choice in choices)


def _distribution(axes: Axes, rows: pd.DataFrame, choices: list[str], colour: str) -> None:
    mass = rows.groupby("seed")["probability"].transform("sum")
    share = (rows["probability"] / mass.where(mass > 0)).groupby(rows["choice"]).mean().reindex(choices)
    places = np.arange(len(choices))
    if share.notna().any():
        axes.bar(places, share.fillna(0.0), width=0.86, color=colour)
        axes.axhline(1 / len(choices), color=style.GREY, linewidth=0.8, linestyle="dashed")
    true = rows.groupby("choice")["true_probability"].first().reindex(choices)
    axes.plot(
        places, true, color="black", linestyle="none", marker="_",
        markersize=min(9.0, 250 / len(choices)), markeredgewidth=1.0,
    )  # fmt: skip
    highest = max([float(each.max()) for each in (share, true) if each.notna().any()], default=1.0)
    # Beside a share of a half, one of a hundredth is still to be seen.
    axes.set_yscale("function", functions=(lambda share: np.sqrt(np.maximum(share, 0.0)), np.square))
    axes.set_ylim(0.0, highest * 1.12)
    axes.set_yticks([0.0, highest], ["0", f"{highest:.2g}"])
    axes.set_xlim(-0.8, len(choices) - 0.2)
    axes.grid(axis="x", visible=False)


def _name(axes: Axes, choices: list[str], *, labelled: bool) -> None:
    """Ticks at the choices: all of them, or every so many; numbers at round ones."""
    if _is_numeric(choices):
        step = max(1, round(len(choices) / 10))
        places, turned = list(range(0, len(choices), step)), 0
    else:
        places, turned = list(range(0, len(choices), -(-len(choices) // _LABELLED))), 45
    shown = [style.shortened(choices[place], 0.75, style.TINY) for place in places]
    axes.set_xticks(places, shown if labelled else [""] * len(shown), rotation=turned, fontsize=style.TINY)
    if turned:
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")


def _numbers(summary: pd.DataFrame, count: int) -> str:
    found = {row["quantity"]: row for row in records(summary)}
    if not found:
        return ""
    if np.isnan(found["entropy"]["value"]):
        return "no probability on any choice"
    entropy, most = found["entropy"], np.log2(count)
    truth = "" if pd.isna(entropy["truth"]) else f"; truth {entropy['truth']:.2f}"
    return f"mass {found['mass']['value']:.2f} · entropy {entropy['value']:.2f} of {most:.2f} bits{truth}"


@style.styled
def responses(tables: Tables, context: FigureContext) -> Figure:
    """Sample responses of one size (`context.size`) and its first seed to single prompts, stages side by side.

    Reads `responses`: two of each prompt.
    """
    table = _of_first_seed(tables["responses"], context)
    stages = [stage for stage in context.stages if (table["stage"] == stage).any()]
    formats = {stage: str(table.loc[table["stage"] == stage, "format"].iloc[0]) for stage in stages}
    several = len(set(formats.values())) > 1
    labels = {stage: context.label(stage) + (f" ({formats[stage]})" if several else "") for stage in stages}
    rows = [
        (f"{question}: {context.question('responses', question)}", table[table["question"] == question])
        for question in dict.fromkeys(table["question"])
    ]
    return side_by_side(context, f"{context.size} · responses" + ("" if rows else " · none"), labels, rows)
