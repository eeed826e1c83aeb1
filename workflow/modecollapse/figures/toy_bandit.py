"""The toy bandit: the CR paper's worked example, and where its update leads with and without a KL penalty."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables
from modecollapse.measures.toy_bandit import EXAMPLE, SIMULATION

_COLOURS = ("#000000", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_ROUNDED = 0.005
"""What rounding to two decimals changes at most: the paper's numbers differ where they are further off."""


@style.styled
def toy_bandit(tables: Tables, context: FigureContext) -> Figure:
    """Probability of the answer that the worked example favours, update by update (left), and over many runs (right).

    Reads `toy_bandit`.
    """
    table = tables["toy_bandit"]
    example = table[table["part"] == EXAMPLE]
    last = example[example["update"] == example["update"].max()]
    answer = next(iter(last.sort_values("value", ascending=False)["answer"]), "–")
    shown = table[table["answer"] == answer]
    left, gap = 0.6, 0.7
    widths = [2.6, style.PAGE_WIDTH - left - gap - 2.6 - 0.15]
    sheet = style.sheet(widths, [2.0], [gap], [], (left, 0.15, 0.62, 0.62))
    worked, simulated = sheet.panels[0]
    _worked(worked, shown[shown["part"] == EXAMPLE])
    weights = sorted(shown.loc[shown["part"] == SIMULATION, "kl_weight"].unique())
    handles = [
        _simulated(simulated, shown[(shown["part"] == SIMULATION) & (shown["kl_weight"] == weight)], colour)
        for weight, colour in zip(weights, _COLOURS * len(weights), strict=False)
    ]
    worked.set_ylabel(f"Probability of “{style.printable(answer)}”")
    for axes in (worked, simulated):
        axes.set_ylim(0, 1.03)
    style.footer(sheet.figure, _note(shown))
    style.top_legend(sheet.figure, [*handles, Line2D([], [], color="black", linestyle="dashed", label="limit")])
    return sheet.figure


def _worked(axes: Axes, rows: pd.DataFrame) -> None:
    axes.plot(rows["update"], rows["value"], color="black", marker="o")
    for row in rows.itertuples():
        axes.annotate(f"{row.value:.2f}", (row.update, row.value), (3, -9), textcoords="offset points")
    others = rows[(rows["printed"] - rows["value"]).abs() > _ROUNDED]
    axes.plot(others["update"], others["printed"], color="#D55E00", marker="x", linestyle="none", markersize=5)
    names = [style.shortened(style.printable(name), 0.55, style.TINY) for name in rows["sampled"]]
    axes.set_xticks(rows["update"], [f"{update}\n{name}" for update, name in zip(rows["update"], names, strict=True)])
    axes.margins(x=0.12)
    axes.set_xlabel("Update, and the answer that was sampled", labelpad=2)
    axes.set_title("Worked example", pad=5)


def _simulated(axes: Axes, rows: pd.DataFrame, colour: str) -> Line2D:
    weight = float(rows["kl_weight"].iloc[0])
    # Updates from one on, since zero has no place on a logarithmic axis.
    rows = rows[rows["update"] > 0]
    axes.fill_between(rows["update"], rows["low"], rows["high"], color=colour, alpha=style.BAND_OPACITY, linewidth=0)
    [line] = axes.plot(rows["update"], rows["value"], color=colour)
    axes.axhline(rows["limit"].iloc[0], color=colour, linestyle="dashed", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda update, _: f"{update:g}"))
    axes.set_xlabel("Update", labelpad=2)
    axes.set_title("Sampled answers", pad=5)
    line.set_label(f"KL weight {weight:g}" if weight else "no penalty")
    return line


def _note(rows: pd.DataFrame) -> str:
    runs = f"Right: {rows['n_runs'].max():,} runs each; line: mean, band: central 90 %."
    others = rows[(rows["printed"] - rows["value"]).abs() > _ROUNDED]
    printed = (f"Cross: the paper prints {row.printed:.2f} after update {row.update}." for row in others.itertuples())
    return " ".join([runs, *printed])
