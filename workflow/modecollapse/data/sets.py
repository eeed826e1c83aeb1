"""Several data sets as one: their rows one after another."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from modecollapse.data.columns import COLUMNS
from modecollapse.errors import StudyError
from modecollapse.sealed import read_sealed


def read_sets(paths: Sequence[Path]) -> pa.Table:
    """The rows of sealed data sets, one after another: their columns of text, in the order of `COLUMNS`.

    Raises:
        StudyError: they have different columns, or one holds something else than text.
        CorruptFile: a file is not what was published.
    """
    tables = [read_sealed(path) for path in paths]
    columns = [[name for name in COLUMNS if name in table.column_names] for table in tables]
    for path, own in zip(paths, columns, strict=True):
        if own != columns[0]:
            raise StudyError(
                f"{path} has the columns {', '.join(own)}, but {paths[0]}, which it is put together with, has "
                f"{', '.join(columns[0])}. Name the same ones for both in data.SET.columns."
            )
    schema = pa.schema([(name, pa.string()) for name in columns[0]])
    for path, table in zip(paths, tables, strict=True):
        for name in columns[0]:
            if table[name].null_count or not pa.types.is_string(table[name].type):
                raise StudyError(f"{path}: its column {name!r} holds something else than text. Mend the data set.")
    whole: pa.Table = pa.concat_tables([table.select(columns[0]).cast(schema) for table in tables])
    return whole.replace_schema_metadata(None).combine_chunks()
