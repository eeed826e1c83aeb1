"""Rows of completions from Parquet and JSON Lines files, with the types checked."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from modecollapse.completions.npy import read_bytes, refuse

FINISH_REASONS = ("eos", "stop", "length", "unknown")
_INT32_MAX = 2**31 - 1
_REQUIRED = ("prompt", "sample", "temperature", "text")
_OPTIONAL = ("finish_reason", "n_tokens")


@dataclass(frozen=True)
class Row:
    """One completion as its file has it; `temperature` in the file's own spelling."""

    prompt: str
    sample: int
    temperature: str
    text: str
    finish_reason: str | None = None
    n_tokens: int | None = None


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Every row of a `.parquet` or `.jsonl` file, each with its place in words ("line 3").

    Raises:
        StudyError: missing, unreadable, another suffix, a missing or unknown column, or a value of a wrong type.
    """
    if path.suffix == ".parquet":
        word, records = "row", _parquet_records(path)
    elif path.suffix == ".jsonl":
        word, records = "line", _jsonl_records(path)
    else:
        raise refuse(path, f"something with the suffix {path.suffix!r}", "a table in a .parquet or .jsonl file")
    for number, record in records:
        yield f"{word} {number}", _row(path, f"{word} {number}", record)


def numeric_temperature(temperature: str) -> Decimal | str:
    """The number that a temperature denotes, so that "0.7" and "0.70" are one; the string itself if it is none."""
    try:
        return Decimal(temperature)
    except InvalidOperation:
        return temperature


def _jsonl_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = read_bytes(path).decode().split("\n")  # not splitlines(): texts may hold U+2028
    except UnicodeDecodeError as error:
        raise refuse(path, f"bytes that are not UTF-8 ({error.reason} at byte {error.start})", "UTF-8 text") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise refuse(path, f"no JSON in line {number} ({error})", "one JSON object per line") from error
        if not isinstance(record, dict):
            raise refuse(path, f"a JSON {type(record).__name__} in line {number}", "one JSON object per line")
        yield number, record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(record := dict(pairs)) < len(pairs):
        raise ValueError(f"one of the keys {', '.join(name for name, _ in pairs)} is given twice")
    return record


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parquet_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        file = pa.BufferReader(read_bytes(path))
        table = pq.read_table(file, page_checksum_verification=True)
        table.validate(full=True)
        if "temperature" in table.column_names:
            # As text first: a float32 of 0.7 would become 0.699999988079071 in Python.
            index = table.column_names.index("temperature")
            table = table.set_column(index, "temperature", table["temperature"].cast(pa.string()))
        yield from enumerate(table.to_pylist())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise refuse(path, f"no readable Parquet table ({error})", "a Parquet table of completions") from error


def _row(path: Path, place: str, record: Mapping[str, Any]) -> Row:
    if (missing := [name for name in _REQUIRED if name not in record]) or not record.keys() <= {*_REQUIRED, *_OPTIONAL}:
        fault = f"no {missing[0]!r}" if missing else f"the columns {', '.join(record)}"
        raise refuse(path, f"{fault} in {place}", f"{', '.join(_REQUIRED)}, and optionally {', '.join(_OPTIONAL)}")

    def take(name: str, allowed: str, valid: bool) -> Any:
        if not valid:
            raise refuse(path, f"{record[name]!r:.60} as {name!r} in {place}", allowed)
        return record.get(name)

    prompt, sample, temperature, text = (record[name] for name in _REQUIRED)
    finish, count = record.get("finish_reason"), record.get("n_tokens")
    return Row(
        prompt=take("prompt", "the id of a prompt, as text", isinstance(prompt, str)),
        sample=take("sample", "a whole number from 0", _is_count(sample)),
        temperature=str(take("temperature", "a number above 0", _is_temperature(temperature))),
        text=take("text", "text", isinstance(text, str)),
        finish_reason=take("finish_reason", f"{', '.join(FINISH_REASONS)} or null", finish in (None, *FINISH_REASONS)),
        n_tokens=take("n_tokens", "a whole number from 0, or null", count is None or _is_count(count)),
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _INT32_MAX


def _is_temperature(value: Any) -> bool:
    if type(value) not in (str, int, float):
        return False
    number = numeric_temperature(str(value))
    return isinstance(number, Decimal) and number.is_finite() and number > 0
