"""The study's pipeline as a diagram: every stage with its method and data, and who descends from whom."""

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

Node = str | tuple[str, str, int]
"""A stage, or the point (parent, child, column) at which a long edge passes through a column."""


@style.styled
def lineage(tables: Tables, context: FigureContext) -> Figure:
    """Stages from left to right, each with its method and data; dashed arrows are further parents, e.g. a reward model.

    Reads no table.
    """
    columns = _ordered_columns(context.stages)
    tallest = max(len(column) for column in columns)
    margin = 0.12
    width = _COLUMN * (len(columns) - 1) + _BOX[0] + 2 * margin
    height = _ROW * (tallest - 1) + _BOX[1] + 0.85
    # A short pipeline keeps its box size on a page-wide sheet; a long one makes the sheet wider.
    page = max(width, 0.6 * style.PAGE_WIDTH)
    left, middle = (page - width) / 2 + margin + _BOX[0] / 2, (height - 0.85) / 2 + 0.42
    figure = Figure(figsize=(page, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, page)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    at = {
        node: (left + _COLUMN * place, middle + _ROW * ((len(column) - 1) / 2 - rank))
        for place, column in enumerate(columns)
        for rank, node in enumerate(column)
    }
    for stage, info in context.stages.items():
        for role, parent in enumerate(info.parents):
            _arrow(axes, [at[node] for node in _route(parent, stage, columns)], dashed=role > 0)
        _box(axes, at[stage], stage, info, context)
    sizes = "size" if len(context.sizes) == 1 else "sizes"
    axes.text(
        page / 2, height - 0.08, f"{context.title} · every stage for {sizes} {', '.join(context.sizes)}", ha="center",
        va="top", fontsize=style.BODY, color=style.GREY,
    )  # fmt: skip
    return figure


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
    if info.data:
        axes.text(
            x, y - height / 2 - 0.05, style.shortened(f"data: {info.data}", _COLUMN - 0.1, style.TINY), ha="center",
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
    """Stages by their distance from the roots, with the points of long edges, ordered so that few edges cross."""
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
                point: Node = (parent, stage, column)
                columns[column].append(point)
                before[point] = [previous]
                previous = point
            before[stage].append(previous)
    for place in range(1, len(columns)):
        rank = {node: order / max(1, len(columns[place - 1]) - 1) for order, node in enumerate(columns[place - 1])}
        columns[place].sort(key=lambda node: _mean([rank[parent] for parent in before[node] if parent in rank]))
    return columns


def _route(parent: str, stage: str, columns: Sequence[Sequence[Node]]) -> list[Node]:
    points = [node for column in columns for node in column if isinstance(node, tuple) and node[:2] == (parent, stage)]
    return [parent, *points, stage]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.5
