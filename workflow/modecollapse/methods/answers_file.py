"""The file of sampled answers: every one with its score, for what selects among them."""

import logging
from pathlib import Path

import pyarrow as pa

from modecollapse.errors import CorruptFile
from modecollapse.methods.selection import Answer
from modecollapse.sealed import read_sealed, write_sealed
from modecollapse.unfinished import Unfinished

logger = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        ("prompt", pa.int32()),
        ("tokens", pa.list_(pa.int32())),
        ("ended", pa.bool_()),
        ("text", pa.string()),
        ("score", pa.float32()),
    ]
)
"""One row per answer, by prompt: the prompt's row in the data; the answer's token ids, end of text included if it
ended; whether it did; what it says, without special tokens; and its score."""

ROWS_OF_A_PART = 2**12
"""Answers of a part, about."""


def by_prompt(table: pa.Table) -> list[list[Answer]]:
    """The answers of a table of `SCHEMA`, those to one prompt together."""
    columns = [table[name].to_pylist() for name in ("prompt", "text", "ended", "score")]
    groups: dict[int, list[Answer]] = {}
    for place, (prompt, text, ended, score) in enumerate(zip(*columns, strict=True)):
        groups.setdefault(prompt, []).append(Answer(place, text, ended, score))
    return list(groups.values())


def kept_in(path: Path, seconds: float = 60.0) -> Unfinished:
    """A sealed Parquet file for answers that are not all there; a corrupt one is as none."""

    def load() -> pa.Table | None:
        if not path.exists():
            return None
        try:
            return read_sealed(path)
        except CorruptFile as error:
            logger.warning("%s They are sampled again.", error)
            return None

    return Unfinished(load, lambda table: _write(table, path), seconds)


def _write(table: pa.Table, path: Path) -> None:
    write_sealed(table, path)
