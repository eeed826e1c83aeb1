"""What was logged while training: one panel per training run and quantity, one line per size and seed."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables, families

_COLUMNS = 3
_NOT_DRAWN = ("learning_rate", "epoch", "grad_norm", "num_tokens", "tokens", "seconds")
"""Settings and bookkeeping."""


@style.styled
def training_curves(tables: Tables, context: FigureContext) -> Figure:
    """Everything that training logged about the models. Reads the table `training`."""
    training = tables["training"]
    training = training[~training["quantity"].isin(_NOT_DRAWN)]
    panels = [
        (stages, str(quantity), of_quantity)
        for stages in families(context.stages)
        for quantity, of_quantity in training[training["stage"].isin(stages)].groupby("quantity", sort=False)
    ]
    rows = max(1, -(-len(panels) // _COLUMNS))
    gaps = [0.5] * (_COLUMNS - 1)
    left, right, top, bottom = 0.5, 0.1, 0.46, 0.4
    sheet = style.sheet(
        widths=style.spread(_COLUMNS, style.PAGE_WIDTH - left - right, gaps),
        heights=[1.15] * rows,
        column_gaps=gaps,
        row_gaps=[0.6] * (rows - 1),
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
                    part["step"], part["value"], color=marks[stage].colour, linestyle=lines[str(size)], linewidth=0.9
                )
        axes.set_title(f"{context.stages[stages[0]].run_label}: {quantity}", fontsize=style.SMALL)
        axes.set_xlabel("Step", labelpad=1)
    handles = [Line2D([], [], color=style.GREY, linestyle=lines[size], label=size) for size in context.sizes]
    style.top_legend(sheet.figure, handles)
    return sheet.figure
