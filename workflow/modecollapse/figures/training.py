"""What was logged while training: one panel per training run and quantity, one line per size and seed."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, families
from modecollapse.figures.logged import LIKELIHOODS_OF_PAIRS, REWARDS, SCORES_OF_PAIRS

_NOT_DRAWN = (
    *("learning_rate", "epoch", "grad_norm", "num_tokens", "tokens", "seconds"),
    *("updates", "stopped", "ratio_first"),
)
"""Settings and bookkeeping."""
_OF_REWARDS = ("score", "score_minus_kl", "baseline_score", "kl", "response_length", "entropy")
"""What the figure `reward_curves` shows of stages that learn from rewards."""
_OF_PAIRS = (
    *("loss", *SCORES_OF_PAIRS, *LIKELIHOODS_OF_PAIRS),
    *(f"{quantity}/{answer}" for quantity in ("score", "rewards", "logps") for answer in ("chosen", "rejected")),
)
"""What the figure `preference_curves` shows of stages that learn from pairs."""
_FEW_RUNS, _FEW_COLUMNS, _MANY_COLUMNS = 5, 3, 5
"""Up to so many runs a page has few columns and all that preference tuning logged."""


@style.styled
def training_curves(tables: Tables, context: FigureContext) -> Figure:
    """What training logged about the models, but for what `reward_curves` shows, and of reward models and of studies
    of many runs what `preference_curves` shows. Reads the table `training`.
    """
    training = tables["training"]
    training = training[~training["quantity"].isin(_NOT_DRAWN)]
    logged = [(stages, training[training["stage"].isin(stages)]) for stages in families(context.stages)]
    crowded = sum(len(of_run) > 0 for _, of_run in logged) > _FEW_RUNS
    panels = [
        (stages, str(quantity), of_quantity)
        for stages, of_run in logged
        for quantity, of_quantity in _shown(of_run, crowded).groupby("quantity", sort=False)
    ]
    columns = _MANY_COLUMNS if crowded else _FEW_COLUMNS
    rows = max(1, -(-len(panels) // columns))
    gaps = [0.5 if not crowded else 0.44] * (columns - 1)
    left, right, top, bottom = 0.5, 0.1, 0.46, 0.4
    sheet = style.sheet(
        widths=style.spread(columns, style.PAGE_WIDTH - left - right, gaps),
        heights=[1.15 if not crowded else 0.8] * rows,
        column_gaps=gaps,
        row_gaps=[0.6 if not crowded else 0.5] * (rows - 1),
        margins=(left, right, top, bottom),
    )
    lines, marks = style.line_styles(context.sizes), style.marks(context.stages)
    for place, axes in enumerate(sheet.all()):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        stages, quantity, of_quantity = panels[place]
        for (size, _), line in of_quantity.groupby(["size", "seed"], sort=False):
            before = line.iloc[:0]
            for stage in stages:
                part = line[line["stage"] == stage].sort_values("step")
                # Each epoch's line begins where that of the epoch before ended.
                part = pd.concat([before, part])
                before = part.iloc[-1:]
                axes.plot(
                    part["step"], part["value"], color=marks[stage].colour, linestyle=lines[str(size)], linewidth=0.9,
                    marker="o" if len(part) == 1 else None, markersize=2.5,
                )  # fmt: skip
        title = f"{context.stages[stages[0]].run_label}: {quantity}"
        axes.set_title(title, fontsize=style.TINY if crowded else style.SMALL)
        axes.set_xlabel("Step", labelpad=1)
    handles = [Line2D([], [], color=style.GREY, linestyle=lines[size], label=size) for size in context.sizes]
    style.top_legend(sheet.figure, handles)
    return sheet.figure


def _shown(logged: pd.DataFrame, crowded: bool) -> pd.DataFrame:
    """The rows of a run that no other figure shows; where there is room, those of preference tuning all the same."""
    quantities = set(logged["quantity"])
    if set(REWARDS) <= quantities:
        return logged[~logged["quantity"].isin(_OF_REWARDS)]
    if set(SCORES_OF_PAIRS) <= quantities or (crowded and LIKELIHOODS_OF_PAIRS[1] in quantities):
        return logged[~logged["quantity"].isin(_OF_PAIRS)]
    return logged
