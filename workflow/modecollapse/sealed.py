"""Parquet files that carry the SHA-256 of their own bytes, so that no flipped byte is ever read silently.

The digest stands in the file's key-value metadata. It is computed over the whole file with the digest itself written as
64 zeros, and patched in afterwards; any Parquet reader can read the file, `read_sealed` also checks it.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

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
    with publish_file(path) as partial:
        partial.write_bytes(data)
    return seal


def read_sealed(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The table at `path` after checking every byte of the file.

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
    file = pq.ParquetFile(pa.BufferReader(sealed), pre_buffer=False)
    return file.read(columns=list(columns) if columns is not None else None, use_threads=False)


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
