"""Names beside the outermost points of a scatter, none over another or over a point."""

import itertools
from collections.abc import Sequence

from matplotlib.axes import Axes

from modecollapse.figures import style

_HIGH = 0.1
"""Inches of a line of text."""
_APART = 0.03
"""Inches between a point and its name."""
_POINT = 0.025
"""Inches from the middle of a point to its edge."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in inches."""


def label_points(axes: Axes, points: Sequence[tuple[str, float, float]], said: str, most: int) -> None:
    """Write `said` into the emptiest corner, and the names of up to `most` points that are farthest from zero.

    Args:
        points: (name, x, y).
    """
    box = axes.get_window_extent()
    width, height = box.width / style.DPI, box.height / style.DPI
    axes.autoscale_view()
    (left, right), (low, top) = axes.get_xlim(), axes.get_ylim()
    axes.set_xlim(left, right)
    axes.set_ylim(low, top)
    places = [((x - left) / (right - left) * width, (y - low) / (top - low) * height) for _, x, y in points]
    taken: list[Box] = [(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y in places]
    lines = said.split("\n")
    across, along = max(style.text_width(line, style.TINY) for line in lines) + 0.05, _HIGH * len(lines) + 0.03
    corners = {
        (x, y): (0.02 if x == "left" else width - across, 0.02 if y == "bottom" else height - along)
        for y, x in itertools.product(("top", "bottom"), ("left", "right"))
    }
    (side, end), (x, y) = min(
        corners.items(),
        key=lambda each: sum(_over((*each[1], each[1][0] + across, each[1][1] + along), one) for one in taken),
    )
    axes.annotate(
        said, (0 if side == "left" else 1, 0 if end == "bottom" else 1),
        xytext=(3 if side == "left" else -3, 3 if end == "bottom" else -3), xycoords="axes fraction",
        textcoords="offset points", ha=side, va=end, fontsize=style.TINY, color=style.GREY,
    )  # fmt: skip
    taken.append((x, y, x + across, y + along))
    widest = max((abs(x) for _, x, _ in points), default=0.0) or 1.0
    highest = max((abs(y) for _, _, y in points), default=0.0) or 1.0
    far = sorted(range(len(points)), key=lambda n: -(abs(points[n][1]) / widest + abs(points[n][2]) / highest))
    written = 0
    for place in far:
        if written == most:
            break
        name, (px, py) = points[place][0], places[place]
        long = style.text_width(name, style.TINY)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            x = px + (_POINT + _APART if dx > 0 else -long - _POINT - _APART if dx < 0 else -long / 2)
            y = py - _HIGH / 2 + dy * (_HIGH / 2 + _POINT + 0.01)
            name_box = (x, y, x + long, y + _HIGH)
            inside = x >= 0 and y >= 0 and x + long <= width and y + _HIGH <= height
            if inside and not any(_over(name_box, other) for other in taken):
                axes.annotate(
                    name, points[place][1:], xytext=(72 * (x - px), 72 * (y + _HIGH / 2 - py)),
                    textcoords="offset points", ha="left", va="center", fontsize=style.TINY,
                )  # fmt: skip
                taken.append(name_box)
                written += 1
                break


def _over(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
