"""Rows of a cell as a table, and what is kept of a cell that is not finished."""

import logging
from collections.abc import Mapping, Sequence

import pyarrow as pa

from modecollapse.cell_tables import CELL_SCHEMA, cell_record
from modecollapse.generation.completions import Completion

logger = logging.getLogger(__name__)


def completion_rows(
    names: Sequence[tuple[str, int]], completions: Sequence[Completion], log_probs: Sequence[Sequence[float]]
) -> pa.Table:
    """A table of `CELL_SCHEMA`; `names` are pairs (prompt id, sample number), `log_probs` one list for each row."""
    columns = [
        [prompt for prompt, _ in names],
        [sample for _, sample in names],
        [completion.text for completion in completions],
        [completion.finish_reason for completion in completions],
        [completion.n_tokens for completion in completions],
        log_probs,
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, CELL_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=CELL_SCHEMA)


def joined_rows(parts: Sequence[pa.Table], record: Mapping[str, str]) -> pa.Table:
    """One table as if it had been made in one piece."""
    return pa.concat_tables(parts).combine_chunks().replace_schema_metadata(record)


def same_rows(
    kept: pa.Table | None,
    names: Sequence[tuple[str, int]],
    record: Mapping[str, str],
    ends: Sequence[int] | None = None,
) -> pa.Table | None:
    """The first rows of a cell that an earlier run has finished, if this one would make the same ones; without record.

    Args:
        names: those of all rows of the cell.
        record: what this run makes rows with.
        ends: numbers of rows after which an earlier run may have stopped; None for any.
    """
    if kept is None:
        return None
    made_with = cell_record(kept)
    same = {key: made_with.get(key) for key in record} == record
    whole = ends is None or kept.num_rows in ends
    found = list(zip(*(kept.column(i).to_pylist() for i in (0, 1)), strict=True))
    if not same or not whole or list(names[: kept.num_rows]) != found:
        logger.warning("rows of an earlier run are not used: they were made with other versions or in other batches")
        return None
    logger.info("going on from row %d of %d", kept.num_rows, len(names))
    return kept.replace_schema_metadata(None)
