"""The rows of one file, one after another, in constant memory: what is broken is said, not raised."""

import codecs
import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from modecollapse.data.sources.files import format_of
from modecollapse.errors import StudyError

LONGEST_LINE = 2**30
"""Bytes of a line of JSON at most. A longer one is no document but a file without line breaks."""

_READ, _ZSTANDARD_READ, _PEEK = 2**20, 2**14, 64
_PARQUET_ROWS = 64


@dataclass(frozen=True)
class Broken:
    """Why a row cannot be used."""

    reason: str


Texts = tuple[str, ...]
"""The wanted columns of one row."""


def read_records(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Texts | Broken]]:
    """Every row of a file: its number, and the text of each of `columns` or why it has none.

    Numbers count lines from 1 in JSON Lines and CSV (a row of several lines has the number of its last one); rows from
    1 in Parquet and in an array of JSON objects. Empty lines are no rows.

    Raises:
        StudyError: the file is truncated, is not in the format that its name states, or cannot be read; a Parquet file
            lacks a column, or it holds no text.
    """
    for number, record in _decoded(path, columns):
        yield number, record if isinstance(record, Broken) else _texts(record, columns)


def first_columns(path: Path) -> list[str] | None:
    """The columns of a file's first row; None if there is no row, or if the first one is broken.

    Raises:
        StudyError: as `read_records`.
    """
    for _, record in _decoded(path, None):
        return [str(name) for name in record] if isinstance(record, Mapping) else None
    return None


def _decoded(path: Path, columns: Sequence[str] | None) -> Iterator[tuple[int, Any]]:
    """Rows as the format decodes them, or `Broken`; of Parquet only `columns`, if given."""
    kind = format_of(path)
    assert kind is not None
    readers = {"jsonl": _json_lines, "json": _json, "csv": _csv}
    try:
        if kind.name == "parquet":
            yield from _parquet(path, columns)
        else:
            with _opened(path, kind.compression) as file:
                yield from readers[kind.name](path, file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise StudyError(f"{path} is truncated or no {kind.compression} file: {error}. Fetch it again.") from error
    except (OSError, pa.ArrowException) as error:
        raise StudyError(f"{path} cannot be read as {kind}: {error}. Fetch it again, or correct its name.") from error


def _json_lines(path: Path, file: IO[bytes], first: int = 1) -> Iterator[tuple[int, Any]]:
    # Only line feeds end lines: U+2028 and the like may stand in a JSON string.
    for number in itertools.count(first):
        line = file.readline(LONGEST_LINE)
        if not line:
            return
        if len(line) == LONGEST_LINE:
            raise StudyError(f"{path}, line {number}: it is longer than {LONGEST_LINE} bytes. Put each row on a line.")
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield number, _from_json(line.rstrip(b"\r\n"))


def _json(path: Path, file: Any) -> Iterator[tuple[int, Any]]:
    skipped = _skip_blanks(file)
    if not file.peek(1).startswith(b"["):
        yield from _json_lines(path, file, skipped + 1)
        return
    rows = _from_json(file.read())
    if isinstance(rows, Broken):
        raise StudyError(f"{path}: {rows.reason}. Mend it, or write one row per line (.jsonl).")
    yield from enumerate(rows, 1)


def _skip_blanks(file: Any) -> int:
    """Read on to the first character that means something; returns how many lines were passed."""
    if file.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    lines = 0
    while there := file.peek(_PEEK):
        blanks = len(there) - len(there.lstrip(b" \t\r\n"))
        lines += there[:blanks].count(b"\n")
        file.read(blanks)
        if blanks < len(there):
            break
    return lines


def _from_json(data: bytes) -> Any:
    try:
        return json.loads(data.decode())
    except UnicodeDecodeError as error:
        return Broken(f"it is not valid UTF-8 (byte {error.start + 1})")
    except json.JSONDecodeError as error:
        return Broken(f"it is not valid JSON ({error.msg} at character {error.pos + 1})")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand nested lists
        return Broken(f"it cannot be read as JSON ({error})")


def _csv(path: Path, file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(LONGEST_LINE)
    # Bytes that are no UTF-8 become surrogates, which are found when the row's texts are looked at.
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(lines, strict=True)
    names: list[str] | None = None
    while True:
        first = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise StudyError(
                    f"{path}: a quote that is opened in line {first} or after is never closed, so nothing behind it "
                    "can be told apart. Mend it: a quote inside quotes is written twice."
                ) from error
            # Each line that a stray quote swallowed was a row to somebody.
            yield from _each(range(first, reader.line_num + 1), f"it is not valid CSV ({error})")
            continue
        if not row:
            continue
        if names is None:
            names = row
        elif len(row) != len(names):
            reason = f"it has {len(row)} fields, not {len(names)} as the first line"
            yield from _each(range(first, reader.line_num + 1), reason)
        else:
            yield reader.line_num, dict(zip(names, row, strict=True))


def _each(lines: Iterable[int], reason: str) -> Iterator[tuple[int, Broken]]:
    return ((line, Broken(reason)) for line in lines)


def _parquet(path: Path, columns: Sequence[str] | None) -> Iterator[tuple[int, Any]]:
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ) as file:
        schema = file.schema_arrow
        if columns is None:
            yield 1, dict.fromkeys(schema.names)
            return
        for column in columns:
            if column not in schema.names:
                raise StudyError(
                    f"{path} has no column {column!r}; it has {', '.join(schema.names)}. Name its columns in `columns`."
                )
            kind = schema.field(column).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
                raise StudyError(f"{path}: its column {column!r} is {kind}, not text. Name another in `columns`.")
        wanted = list(dict.fromkeys(columns))
        numbers = itertools.count(1)
        for batch in file.iter_batches(_PARQUET_ROWS, columns=wanted, use_threads=False):
            # As bytes: Arrow checks no text when it reads, and one that is no UTF-8 shall cost its row only.
            values = [batch.column(name).cast(pa.large_string()).cast(pa.large_binary()).to_pylist() for name in wanted]
            for row in zip(*values, strict=True):
                yield next(numbers), _from_bytes(dict(zip(wanted, row, strict=True)))


def _from_bytes(row: Mapping[str, bytes | None]) -> Any:
    try:
        return {name: None if value is None else value.decode() for name, value in row.items()}
    except UnicodeDecodeError:
        return Broken("it is not valid UTF-8")


def _texts(record: Any, columns: Sequence[str]) -> Texts | Broken:
    """The text of each of `columns` of a decoded row, or why it is broken."""
    if not isinstance(record, Mapping):
        return Broken(f"it is {_named(record)}, not an object with columns")
    texts = []
    for column in columns:
        if column not in record:
            return Broken(f"it has no column {column!r}; it has {', '.join(map(str, record)) or 'none'}")
        value = record[column]
        if not isinstance(value, str):
            return Broken(f"its column {column!r} is {_named(value)}, not text")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:  # half a surrogate pair, which JSON can write
                return Broken(f"its column {column!r} is not valid Unicode")
        texts.append(value)
    return tuple(texts)


def _named(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "a truth value", int: "a number", float: "a number", str: "text"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


@contextmanager
def _opened(path: Path, compression: str | None) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        if compression is None:
            yield raw
        elif compression == "gz":
            yield stack.enter_context(gzip.open(raw))  # type: ignore[arg-type]
        else:
            yield io.BufferedReader(_Zstandard(raw), _READ)


class _Zstandard(io.RawIOBase):
    """Decompressed bytes of one or more frames. The library's own reader takes a truncated frame for a whole one."""

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard

        self._raw, self._error = raw, zstandard.ZstdError
        self._frames = zstandard.ZstdDecompressor(max_window_size=2**31)
        self._frame: Any = None
        self._input, self._output = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As `io.RawIOBase.readinto`.

        Raises:
            EOFError: the file ends within a frame.
            OSError: these are no frames of zstandard.
        """
        while not self._output:
            # Little at a time: what repeats itself is thousands of times longer when decompressed.
            self._input = self._input or self._raw.read(_ZSTANDARD_READ)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("it ends within a frame")
                return 0
            try:
                self._frame = self._frame or self._frames.decompressobj()
                self._output = memoryview(self._frame.decompress(self._input))
            except self._error as error:
                raise OSError(str(error)) from error
            self._input = self._frame.unused_data if self._frame.eof else b""
            self._frame = None if self._frame.eof else self._frame
        size = min(len(buffer), len(self._output))
        buffer[:size], self._output = self._output[:size], self._output[size:]
        return size
