"""Labels of candidate pairs, and the preference pairs that follow from unanimous ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from modecollapse.data.columns import TASK


class Label(StrEnum):
    """What an annotator says of two answers."""

    A = "a"
    B = "b"
    TIE = "tie"
    SKIP = "skip"


PREFERENCES = (Label.A, Label.B)

SCHEMA = pa.schema(
    [
        ("pair", pa.string()),
        ("row", pa.int32()),
        ("annotator", pa.string()),
        ("label", pa.string()),
        ("shown_first", pa.string()),
        ("task", pa.string()),
    ]
)
"""One row per label: of which pair, of answers to which row of the prompts' set; whose; which (`Label`); which answer
stood first (a or b; null if not known); and the pair's task, null if it has none."""


@dataclass(frozen=True)
class Labelled:
    """One label of one pair."""

    pair: str
    annotator: str
    label: Label
    shown_first: Label | None = None


@dataclass
class LabelCounts:
    """What became of candidate pairs."""

    pairs: int = 0
    taken: int = 0
    """Pairs of which all annotators preferred the same answer."""
    skipped: int = 0
    """Pairs that an annotator skipped."""
    tied: int = 0
    """Pairs whose answers all annotators found equal."""
    disagreed: int = 0
    """The other pairs that were dropped: annotators labelled them differently."""

    def __str__(self) -> str:
        return (
            f"{self.pairs} pairs: {self.taken} labelled alike by all annotators and taken; {self.disagreed} labelled "
            f"differently, {self.tied} found equal by all and {self.skipped} skipped by one, which are dropped"
        )


def unanimous(candidates: pa.Table, labels: Sequence[Labelled]) -> tuple[pa.Table, LabelCounts]:
    """`prompt`, `chosen`, `rejected` (and `task`) of the candidates of which all annotators preferred the same answer.

    Args:
        candidates: as `candidates.SCHEMA` says.
        labels: of these, any number of each. A pair without labels is dropped and counted as skipped.
    """
    given: dict[str, list[Label]] = {}
    for each in labels:
        given.setdefault(each.pair, []).append(each.label)
    counts = LabelCounts(pairs=candidates.num_rows)
    rows, chosen, rejected = [], [], []
    for row, (pair, a, b) in enumerate(
        zip(*(candidates[name].to_pylist() for name in ("pair", "a", "b")), strict=True)
    ):
        found = given.get(pair, [])
        if not found or Label.SKIP in found:
            counts.skipped += 1
        elif len(set(found)) > 1:
            counts.disagreed += 1
        elif found[0] is Label.TIE:
            counts.tied += 1
        else:
            rows.append(row)
            chosen.append(a if found[0] is Label.A else b)
            rejected.append(b if found[0] is Label.A else a)
    counts.taken = len(rows)
    kept = candidates.take(pa.array(rows, pa.int64()))
    columns = {"prompt": kept["prompt"], "chosen": pa.array(chosen, pa.string())}
    columns["rejected"] = pa.array(rejected, pa.string())
    if TASK in candidates.column_names:
        columns[TASK] = kept[TASK]
    return pa.table(columns).combine_chunks(), counts


def label_table(candidates: pa.Table, labels: Sequence[Labelled]) -> pa.Table:
    """Labels (`SCHEMA`), those of a pair together, pairs in the order of the candidates."""
    order = {pair: row for row, pair in enumerate(candidates["pair"].to_pylist())}
    tasks: Sequence[str | None] = [None] * len(order)
    if TASK in candidates.column_names:
        tasks = candidates[TASK].to_pylist()
    found = sorted(labels, key=lambda each: (order[each.pair], each.annotator))
    rows = candidates["row"].to_pylist()
    columns: Mapping[str, list[object]] = {
        "pair": [each.pair for each in found],
        "row": [rows[order[each.pair]] for each in found],
        "annotator": [each.annotator for each in found],
        "label": [str(each.label) for each in found],
        "shown_first": [each.shown_first and str(each.shown_first) for each in found],
        "task": [tasks[order[each.pair]] for each in found],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
