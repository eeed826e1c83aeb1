"""What was logged while training: one panel per stage and quantity, one line per size and seed."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables

_COLUMNS = 3
_NOT_DRAWN = ("learning_rate", "epoch", "grad_norm", "num_tokens", "tokens", "seconds")
"""Settings and bookkeeping."""


@style.styled
def training_curves(tables: Tables, context: FigureContext) -> Figure:
    """Everything that training logged about the models. Reads the table `training`."""
    training = tables["training"]
    training = training[~training["quantity"].isin(_NOT_DRAWN)]
    panels = [
        (stage, quantity, of_quantity)
        for stage in context.stages
        for quantity, of_quantity in training[training["stage"] == stage].groupby("quantity", sort=False)
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
    lines, marks = style.line_styles(context.sizes), style.marks(list(context.stages))
    for place, axes in enumerate(sheet.all()):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        stage, quantity, of_quantity = panels[place]
        for (size, _), line in of_quantity.groupby(["size", "seed"], sort=False):
            line = line.sort_values("step")
            axes.plot(line["step"], line["value"], color=marks[stage].colour, linestyle=lines[str(size)], linewidth=0.9)
        axes.set_title(f"{context.stages[stage].label}: {quantity}", fontsize=style.SMALL)
        axes.set_xlabel("Step", labelpad=1)
    handles = [Line2D([], [], color=style.GREY, linestyle=lines[size], label=size) for size in context.sizes]
    style.top_legend(sheet.figure, handles)
    return sheet.figure
