"""Panels alike in size, row after row."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modecollapse.figures import style


@dataclass(frozen=True)
class PanelGrid:
    """A figure of equal panels; `width` and `gap` (between columns) are in inches."""

    figure: Figure
    axes: list[Axes]
    columns: int
    width: float
    gap: float


def panel_grid(
    panels: int,
    per_row: int,
    height: float,
    margins: tuple[float, float, float, float],
    gaps: tuple[float, float] = (0.2, 0.55),
    widest: float = 2.0,
    least: float = 4.2,
) -> PanelGrid:
    """As many axes as there are panels, up to `per_row` side by side; without panels an empty place for a note.

    All lengths are in inches: `height` and `widest` of a panel, `margins` (left, right, top, bottom), `gaps` of columns
    and of rows, and `least`, how wide even a lone panel's figure is, for its legend and footer.
    """
    left, right, top, bottom = margins
    gap, row_gap = gaps
    columns = max(1, min(per_row, panels))
    rows = max(1, -(-panels // columns))
    width = min(widest, (style.PAGE_WIDTH - left - right - gap * (columns - 1)) / columns)
    right = max(right, least - left - width * columns - gap * (columns - 1))
    sheet = style.sheet(
        widths=[width] * columns,
        heights=[height] * rows,
        column_gaps=[gap] * (columns - 1),
        row_gaps=[row_gap] * (rows - 1),
        margins=(left, right, top, bottom),
    )
    axes = list(sheet.all())
    for beyond in axes[panels:]:
        beyond.set_axis_off()
    return PanelGrid(sheet.figure, axes[: max(1, panels)], columns, width, gap)
