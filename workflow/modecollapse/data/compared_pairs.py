"""The pairs of a data set whose answers are compared: the same ones for all that look at them."""

from pathlib import Path

import pyarrow as pa

from modecollapse.data.transformations.base import drawn
from modecollapse.sealed import read_sealed


def pairs_compared(path: Path, count: int | None, seed: int) -> tuple[list[int], pa.Table]:
    """The rows of a set of pairs that are compared, all or `count` drawn ones, and the set.

    Raises:
        CorruptFile: the file is not what was published.
    """
    table = read_sealed(path)
    rows = list(range(table.num_rows))
    return (rows if count is None else sorted(drawn(rows, count, seed))), table
