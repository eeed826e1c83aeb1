"""What is said below a figure whatever it shows."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from modecollapse.figures import style

_LINE = 0.105
"""Height in inches of a line."""


def append_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Lines below a finished figure, which is made taller for them; everything else keeps its size and its place."""
    width, height = figure.get_size_inches()
    lines = [line for note in notes for line in style.wrapped(note, width - 0.2, style.TINY)]
    room = 0.03 + _LINE * len(lines)

    def lifted(y: float) -> float:
        return float((y * height + room) / (height + room))

    for legend in figure.legends:
        place = legend.get_bbox_to_anchor().transformed(figure.transFigure.inverted())
        legend.set_bbox_to_anchor((place.x0, lifted(place.y0)), transform=figure.transFigure)
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((box.x0, lifted(box.y0), box.width, box.height * height / (height + room)))
    for line in figure.lines:
        line.set_ydata([lifted(float(y)) for y in np.asarray(line.get_ydata(orig=True), dtype=float)])
    for text in figure.texts:
        text.set_y(lifted(text.get_position()[1]))
    figure.set_size_inches(width, height + room)
    style.footer(figure, "\n".join(lines))
