"""Candidate pairs: two answers to each prompt, in random order and without a word about where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from modecollapse.data.columns import TASK
from modecollapse.digests import digest

SCHEMA = pa.schema(
    [
        ("pair", pa.string()),
        ("row", pa.int32()),
        ("prompt", pa.string()),
        ("a", pa.string()),
        ("b", pa.string()),
        ("a_score", pa.float32()),
        ("b_score", pa.float32()),
    ]
)
"""One row per candidate: its identity; the row of its prompt in the prompts' set; the prompt and the two answers; and
what they score, null where nothing scored them. A column `task` follows if the prompts have one."""


@dataclass(frozen=True)
class Scored:
    """An answer and what it scores."""

    text: str
    score: float | None


def candidate_table(
    rows: Sequence[int],
    prompts: Sequence[str],
    pairs: Sequence[tuple[Scored, Scored]],
    tasks: Sequence[str | None] | None,
    seed: int,
) -> pa.Table:
    """Candidates (`SCHEMA`); which answer of a pair is a and which is b depends on the seed and on the pair alone.

    Args:
        rows: the row of each prompt in the prompts' set; a prompt may stand in several.
        prompts: of each pair.
        pairs: whatever their order.
        tasks: of each pair; None if the prompts have no tasks.
        seed: decides which answer comes first.
    """
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    for row, prompt, pair in zip(rows, prompts, pairs, strict=True):
        first, second = sorted(pair, key=lambda answer: answer.text)
        # A letter in front: spreadsheets take hexadecimal digits for numbers now and then.
        identity = f"p{digest([row, prompt, first.text, second.text])[:16]}"
        if int(digest([seed, identity])[:8], 16) % 2:
            first, second = second, first
        values = (identity, row, prompt, first.text, second.text, first.score, second.score)
        for name, value in zip(SCHEMA.names, values, strict=True):
            columns[name].append(value)
    table = pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
    return table if tasks is None else table.append_column(TASK, pa.array(list(tasks), pa.string()))


def sheet_of(table: pa.Table) -> str:
    """The identity of the sheet of these candidates: labels belong to one sheet only."""
    return f"s{digest(table.select(['pair', 'a', 'b']).to_pylist())[:16]}"
