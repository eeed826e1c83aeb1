"""Drawing one figure from its tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modecollapse.figures.context import FigureContext
from modecollapse.figures.registry import Drawing
from modecollapse.figures.style import save
from modecollapse.publishing import write_digests
from modecollapse.sealed import read_sealed


def plot(spec: Mapping[str, Any], tables: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    """Publish a figure as SVG and PNG, with the digests of both.

    Where the table `candidates` is among `tables`, stages that fail their guard rails are marked.

    Raises:
        CorruptFile: a table is not what was published.
    """
    frames = {name: _of_size(read_sealed(path), spec["size"]).to_pandas() for name, path in tables.items()}
    context = FigureContext.from_spec(spec["context"], spec["sizes"], spec["size"])
    if "candidates" in frames:
        context = context.marked(frames["candidates"])
    figure = Drawing(spec["kind"], spec["size"]).draw(frames, context)
    save(figure, outputs["svg"].with_suffix(""))
    write_digests(outputs["sha256"], [outputs["svg"], outputs["png"]])


def _of_size(table: pa.Table, size: str | None) -> pa.Table:
    """The rows about `size` and about all sizes, if the figure is about one: the table of a large study has many."""
    if size is None or "size" not in table.column_names:
        return table
    return table.filter(pc.is_in(table["size"], pa.array([size, "", None])))
