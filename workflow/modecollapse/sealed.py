"""Parquet files that carry the SHA-256 of their own bytes, so that no flipped byte is ever read silently.

The digest stands in the file's key-value metadata. It is computed over the whole file with the digest itself written as
64 zeros, and patched in afterwards; any Parquet reader can read the file, `read_sealed` also checks it.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from modecollapse.errors import CorruptFile
from modecollapse.publishing import publish_file

SEAL = "modecollapse.sha256"
_FIELD = SEAL.encode()
_ZEROS = b"0" * 64


def write_sealed(table: pa.Table, path: Path, metadata: Mapping[str, str] | None = None) -> str:
    """Publish `table` at `path` (atomically) with `metadata` in its header; returns the file's seal.

    The same table and metadata give the same bytes. Row-group statistics are left out, dictionary types become plain.
    """
    entries = {**(metadata or {}), SEAL: _ZEROS.decode()}
    buffer = io.BytesIO()
    with pq.ParquetWriter(
        buffer, table.schema.remove_metadata(), compression="zstd", store_schema=False, write_statistics=False
    ) as writer:
        writer.write_table(table.replace_schema_metadata(None))
        writer.add_key_value_metadata(entries)
    data = bytearray(buffer.getvalue())
    seal = hashlib.sha256(data).hexdigest()
    start = _seal_position(data)
    data[start : start + 64] = seal.encode()
    with publish_file(path, len(data)) as partial:
        partial.write_bytes(data)
    return seal


def read_sealed(path: Path, columns: Sequence[str] | None = None, encoded: Sequence[str] = ()) -> pa.Table:
    """The table at `path` after checking every byte of the file.

    Args:
        path: the file.
        columns: what is read of it; everything by default. Columns that it does not have are left out.
        encoded: columns of texts that come dictionary-encoded: many equal texts are then read as fast as numbers.

    Raises:
        CorruptFile: the file is truncated, altered or was not written by `write_sealed`.
    """
    data = bytearray(path.read_bytes())
    try:
        start = _seal_position(data)
    except ValueError as error:
        raise _corrupt(path, "it carries no seal") from error
    seal = bytes(data[start : start + 64])
    sealed = bytes(data)
    data[start : start + 64] = _ZEROS
    if hashlib.sha256(data).hexdigest().encode() != seal:
        raise _corrupt(path, "its bytes do not match the SHA-256 it was published with")
    # One thread: a pool that is still starting when a short job ends can abort the process (seen with pyarrow).
    file = pq.ParquetFile(pa.BufferReader(sealed), pre_buffer=False, read_dictionary=list(encoded))
    return file.read(columns=list(columns) if columns is not None else None, use_threads=False)


_BLOCK = 2**20
_GROUP_ROWS, _GROUP_CHARACTERS = 1024, 2**22
"""A row group of texts ends when it has so many rows or characters."""
_READ_ROWS = 16


GROUP_ROWS = 2**20
"""Rows of a row group of a table that is written in parts: those of one that is written as a whole."""


def write_sealed_parts(
    schema: pa.Schema, parts: Iterable[pa.Table], path: Path, metadata: Callable[[], Mapping[str, str]]
) -> None:
    """Publish a table that comes in consecutive parts, holding at most `GROUP_ROWS` rows and one part at a time.

    The bytes are those that `write_sealed` writes for the whole table, however it is cut.

    Args:
        schema: that of every part.
        parts: they may come from a generator, which is asked for the next one when it is needed.
        path: where the file is published; not if `parts` or `metadata` raises.
        metadata: called after the last part.
    """
    _write_groups(schema.remove_metadata(), regrouped(schema, parts), path, metadata)


def regrouped(schema: pa.Schema, parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of `GROUP_ROWS` rows, the last one smaller; one empty table if there are none."""
    held, number, any_yet = [schema.empty_table().replace_schema_metadata(None)], 0, False
    for part in parts:
        held.append(part.replace_schema_metadata(None))
        number += part.num_rows
        while number >= GROUP_ROWS:
            whole = pa.concat_tables(held)
            yield whole.slice(0, GROUP_ROWS).combine_chunks()
            held, number, any_yet = [whole.slice(GROUP_ROWS)], number - GROUP_ROWS, True
    if number or not any_yet:
        yield pa.concat_tables(held).combine_chunks()


def _write_groups(
    schema: pa.Schema,
    groups: Iterable[pa.Table],
    path: Path,
    metadata: Callable[[], Mapping[str, str]],
    use_dictionary: bool = True,
) -> int:
    """Publish a table with one row group per table of `groups`; returns the number of rows."""
    number = 0
    with publish_file(path) as partial:
        with pq.ParquetWriter(
            partial, schema, compression="zstd", store_schema=False, write_statistics=False,
            use_dictionary=use_dictionary,
        ) as writer:  # fmt: skip
            for group in groups:
                number += group.num_rows
                writer.write_table(group)
            writer.add_key_value_metadata({**metadata(), SEAL: _ZEROS.decode()})
        with partial.open("r+b") as file:
            start, _ = _find_seal(file)
            seal = _digest(file, start)
            file.seek(start)
            file.write(seal.encode())
    return number


def write_sealed_texts(
    columns: Sequence[str], rows: Iterable[Sequence[str]], path: Path, metadata: Callable[[], Mapping[str, str]]
) -> int:
    """Publish rows of texts like `write_sealed`, holding a few of them at a time; returns their number.

    Args:
        columns: names of the columns.
        rows: one text per column each.
        path: where the file is published; not if `rows` or `metadata` raises.
        metadata: called after the last row.
    """
    schema = pa.schema([(name, pa.string()) for name in columns])
    groups = (
        pa.Table.from_arrays([pa.array(values, pa.string()) for values in zip(*group, strict=True)], schema=schema)
        for group in _groups(rows)
    )
    return _write_groups(schema, groups, path, metadata, use_dictionary=False)


def _groups(rows: Iterable[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    group: list[Sequence[str]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum(map(len, row))
        if len(group) == _GROUP_ROWS or size >= _GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


class SealedTexts:
    """One column of texts of a sealed file, read a few rows at a time whenever it is iterated over."""

    def __init__(self, path: Path, column: str) -> None:
        """Check every byte of the file.

        Raises:
            CorruptFile: as `read_sealed`.
        """
        self._path, self._column = path, column
        with path.open("rb") as file:
            try:
                start, seal = _find_seal(file)
            except ValueError as error:
                raise _corrupt(path, "it carries no seal") from error
            if _digest(file, start).encode() != seal:
                raise _corrupt(path, "its bytes do not match the SHA-256 it was published with")
        self._rows = int(pq.read_metadata(path).num_rows)

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[str]:
        with pq.ParquetFile(self._path, pre_buffer=False, buffer_size=_BLOCK) as file:
            for batch in file.iter_batches(_READ_ROWS, columns=[self._column], use_threads=False):
                yield from batch.column(0).to_pylist()


def _find_seal(file: IO[bytes]) -> tuple[int, bytes]:
    """(position, digits) of the seal in an open file, looked for in its footer.

    Raises:
        ValueError: there is none.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    footer = size - 8 - int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or footer < 0:
        raise ValueError("no footer")
    file.seek(footer)
    content = bytearray(file.read())
    start = _seal_position(content)
    return footer + start, bytes(content[start : start + 64])


def _digest(file: IO[bytes], start: int) -> str:
    """SHA-256 of an open file with 64 zeros at `start`."""
    digest = hashlib.sha256()
    file.seek(0)
    left = start
    while left:
        block = file.read(min(left, _BLOCK))
        digest.update(block)
        left -= len(block)
    digest.update(_ZEROS)
    file.seek(start + 64)
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def read_metadata(path: Path) -> dict[str, str]:
    """The key-value metadata in the header, the seal included, without checking the body (cheap; for look-ups only)."""
    try:
        entries = pq.read_metadata(path).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise _corrupt(path, str(error)) from error
    return {key.decode(): value.decode() for key, value in entries.items()}


def _seal_position(data: bytearray) -> int:
    field = data.rindex(_FIELD) + len(_FIELD)
    # Thrift writes the value as a field header, a length varint and the bytes; the digest is the next 64 bytes of hex.
    for start in range(field, min(field + 8, len(data) - 64)):
        if all(byte in b"0123456789abcdef" for byte in data[start : start + 64]):
            return start
    raise ValueError("no seal")


def _corrupt(path: Path, why: str) -> CorruptFile:
    return CorruptFile(f"{path} is corrupt: {why}. Delete this file and run the same command again to make it anew.")
