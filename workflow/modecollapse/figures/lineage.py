"""The study's pipeline as a diagram: every stage with its method and data, and who descends from whom."""

import itertools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, StageInfo, Tables

_BOX = (1.15, 0.5)
"""Width and height of a stage, in inches."""
_COLUMN, _ROW = 1.75, 0.86
"""Distance between the middles of neighbouring boxes, in inches."""
_LANE = 0.24
"""Height in a column of a lane, in which edges pass the boxes of a column."""
_APART = 0.16
"""Distance between the ends of a stage's arrows, in inches."""

Node = str | tuple[str, int]
"""A stage, or the lane (parent, column) in which all edges of a parent that lead further pass through a column."""
Before = Mapping[Node, Sequence[Node]]
"""Node → its neighbours in the column before."""


@style.styled
def lineage(tables: Tables, context: FigureContext) -> Figure:
    """Stages from left to right, each with its method and data; dashed arrows are further parents, e.g. a reward model.

    Reads no table.
    """
    columns = _ordered_columns(context.stages)
    tallest = max(sum(_room(node) for node in column) for column in columns)
    margin = 0.12
    width = _COLUMN * (len(columns) - 1) + _BOX[0] + 2 * margin
    height = tallest - _ROW + _BOX[1] + 0.85
    # A short pipeline keeps its box size on a page-wide sheet; a long one makes the sheet wider.
    page = max(width, 0.6 * style.PAGE_WIDTH)
    left, middle = (page - width) / 2 + margin + _BOX[0] / 2, (height - 0.85) / 2 + 0.42
    figure = Figure(figsize=(page, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, page)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    at = {}
    for place, column in enumerate(columns):
        top = middle + sum(_room(node) for node in column) / 2
        for node in column:
            at[node] = (left + _COLUMN * place, top - _room(node) / 2)
            top -= _room(node)
    for stage, info in context.stages.items():
        routes = [[at[node] for node in _route(parent, stage, columns)] for parent in info.parents]
        ends = sorted(range(len(routes)), key=lambda role: -routes[role][-2][1])
        for role, route in enumerate(routes):
            # The arrows of several parents end apart, in the order in which they come from above.
            x, y = route[-1]
            end = y + _APART * ((len(routes) - 1) / 2 - ends.index(role))
            _arrow(axes, [*route[:-1], (x, end)], dashed=role > 0)
        _box(axes, at[stage], stage, info, context)
    sizes = "size" if len(context.sizes) == 1 else "sizes"
    which = "stages" if any(info.sizes for info in context.stages.values()) else "every stage"
    exception = " where nothing else is said" if which == "stages" else ""
    axes.text(
        page / 2, height - 0.08, f"{context.title} · {which} for {sizes} {', '.join(context.sizes)}{exception}",
        ha="center", va="top", fontsize=style.BODY, color=style.GREY,
    )  # fmt: skip
    return figure


def _room(node: Node) -> float:
    """Height that a node takes in its column."""
    return _ROW if isinstance(node, str) else _LANE


def _box(axes: Axes, at: tuple[float, float], stage: str, info: StageInfo, context: FigureContext) -> None:
    (x, y), (width, height) = at, _BOX
    colour = style.marks(context.stages)[stage].colour
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.06", linewidth=1.4,
            edgecolor=colour, facecolor="white", zorder=2,
        )
    )  # fmt: skip
    fit = width - 0.1
    axes.text(
        x, y + 0.1, style.shortened(info.label, fit, style.BODY * 1.15), ha="center", va="center",
        fontsize=style.BODY, fontweight="bold", zorder=3,
    )  # fmt: skip
    axes.text(
        x, y - 0.1, style.shortened(info.method, fit, style.SMALL), ha="center", va="center", fontsize=style.SMALL,
        zorder=3,
    )  # fmt: skip
    notes = [f"data: {info.data}"] if info.data else []
    notes += [f"only {', '.join(info.sizes)}"] if info.sizes else []
    for place, note in enumerate(notes):
        axes.text(
            x, y - height / 2 - 0.05 - 0.1 * place, style.shortened(note, _COLUMN - 0.1, style.TINY), ha="center",
            va="top", fontsize=style.TINY, color=style.GREY, zorder=3,
        )  # fmt: skip


def _arrow(axes: Axes, points: Sequence[tuple[float, float]], dashed: bool) -> None:
    """A curve from the right side of the first point's box to the left side of the last one's."""
    half = _BOX[0] / 2
    start = (points[0][0] + half, points[0][1])
    vertices, codes = [start], [Path.MOVETO]
    for place, (x, y) in enumerate(points[1:], start=1):
        last = place == len(points) - 1
        end = (x - half, y)
        bend = (start[0] + end[0]) / 2
        vertices += [(bend, start[1]), (bend, y), end]
        codes += [Path.CURVE4] * 3
        if not last:
            # Through a column in a straight line, beside its boxes.
            start = (x + half, y)
            vertices.append(start)
            codes.append(Path.LINETO)
    axes.add_patch(
        FancyArrowPatch(
            path=Path(vertices, codes), arrowstyle="-|>", mutation_scale=8, linewidth=1.0, color=style.GREY,
            linestyle="dashed" if dashed else "solid", shrinkA=0, shrinkB=0, zorder=1,
        )
    )  # fmt: skip


def _ordered_columns(stages: Mapping[str, StageInfo]) -> list[list[Node]]:
    """Stages by their distance from the roots, with the lanes of long edges, ordered so that few edges cross."""
    depth: dict[str, int] = {}
    for stage, info in stages.items():
        depth[stage] = 1 + max((depth[parent] for parent in info.parents), default=-1)
    columns: list[list[Node]] = [[] for _ in range(1 + max(depth.values()))]
    before: dict[Node, list[Node]] = {}
    for stage, info in stages.items():
        columns[depth[stage]].append(stage)
        before.setdefault(stage, [])
        for parent in info.parents:
            previous: Node = parent
            for column in range(depth[parent] + 1, depth[stage]):
                lane: Node = (parent, column)
                if lane not in before:
                    columns[column].append(lane)
                    before[lane] = [previous]
                previous = lane
            before[stage].append(previous)
    after: dict[Node, list[Node]] = {}
    for node, parents in before.items():
        for parent_node in parents:
            after.setdefault(parent_node, []).append(node)
    for place in range(1, len(columns)):
        columns[place] = _sorted(columns[place], columns[place - 1], before)
    # Once back from the leaves and forth again, where that leaves fewer crossings.
    other = list(columns)
    for place in range(len(columns) - 2, -1, -1):
        other[place] = _sorted(other[place], other[place + 1], after)
    for place in range(1, len(columns)):
        other[place] = _sorted(other[place], other[place - 1], before)
    return min(columns, other, key=lambda each: _crossings(each, before))


def _sorted(column: Sequence[Node], beside: Sequence[Node], neighbours: Before) -> list[Node]:
    """A column by the mean place of each node's neighbours in the one beside it; nodes without any keep their place."""
    rank = {node: order / max(1, len(beside) - 1) for order, node in enumerate(beside)}
    own = {node: order / max(1, len(column) - 1) for order, node in enumerate(column)}
    places = {node: [rank[each] for each in neighbours.get(node, ()) if each in rank] or [own[node]] for node in column}
    return sorted(column, key=lambda node: sum(places[node]) / len(places[node]))


def _crossings(columns: Sequence[Sequence[Node]], before: Before) -> int:
    """How many pairs of edges between neighbouring columns cross."""
    count = 0
    for left, right in itertools.pairwise(columns):
        rank = {node: order for order, node in enumerate(left)}
        edges = [(rank[each], order) for order, node in enumerate(right) for each in before[node] if each in rank]
        count += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(edges, 2))
    return count


def _route(parent: str, stage: str, columns: Sequence[Sequence[Node]]) -> list[Node]:
    """The nodes that an edge goes through."""
    own = next(place for place, column in enumerate(columns) if stage in column)
    lanes = [(parent, place) for place, column in enumerate(columns[:own]) if (parent, place) in column]
    return [parent, *lanes, stage]
