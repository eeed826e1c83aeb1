"""Deduplication: of equal rows, and perhaps of nearly equal ones, the first stays.

Near duplicates are found exactly: of two sets with Jaccard similarity t or more, ordered alike, the first
|x| - ceil(t |x|) + 1 elements have one in common (Chaudhuri, Ganti, Kaushik 2006, "A primitive operator for similarity
joins", section 4), so rows are compared only with those that share one of these, of which the rarest come first. There
are no signatures, no seed and no chance in it.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from modecollapse.data.columns import TEXT_COLUMNS
from modecollapse.data.transformations.base import KEPT, SELECTING, Columns, Given, Selection, Transformation, rows_of
from modecollapse.data.transformations.words import normalised, words_of
from modecollapse.schema import Strict

SHINGLE = 5
"""Words of a shingle, as Lee et al. (2022, "Deduplicating training data makes language models better")."""

DUPLICATE, NEAR_DUPLICATE = "duplicate", "near duplicate"
_ROUNDING = 1e-9


class DeduplicateSettings(Strict):
    """Of rows that say the same, the first stays. Compatible characters (NFKC), case and white space make no
    difference."""

    by: Literal["pair", "prompt"] = "pair"
    """What two rows have to agree in: `pair`, all of their texts; `prompt`, the prompt alone."""
    near: Annotated[float, Field(gt=0, le=1)] | None = None
    """Rows are left out, too, whose word 5-grams have at least this Jaccard similarity with those of a row that stays
    (0.8 is usual); those of a prompt and of an answer are different ones. Null: only equal rows."""


def deduplicate(columns: Columns, settings: DeduplicateSettings, given: Given) -> Selection:
    """Which rows stay: those that are no duplicates of an earlier one that does."""
    compared = ["prompt"] if settings.by == "prompt" else [name for name in TEXT_COLUMNS if name in columns]
    outcomes = [KEPT] * rows_of(columns)
    first: set[tuple[str, ...]] = set()
    for row, texts in enumerate(zip(*(columns[name] for name in compared), strict=True)):
        key = tuple(map(normalised, texts))
        if key in first:
            outcomes[row] = DUPLICATE
        first.add(key)
    if settings.near is not None:
        kept = [row for row, outcome in enumerate(outcomes) if outcome == KEPT]
        sets = [_shingles([columns[name][row] for name in compared]) for row in kept]
        for place in near_duplicates(sets, settings.near):
            outcomes[kept[place]] = NEAR_DUPLICATE
    return Selection.of(outcomes)


def near_duplicates(sets: Sequence[Collection[object]], threshold: float) -> Iterator[int]:
    """The places of the sets whose Jaccard similarity with an earlier one that is none of these reaches `threshold`.

    An empty set is like no other.
    """
    frequency = Counter(element for each in sets for element in each)
    number = {element: rank for rank, (element, _) in enumerate(reversed(frequency.most_common()))}
    rows = [sorted(number[element] for element in each) for each in sets]
    index: dict[int, list[int]] = {}
    members: dict[int, frozenset[int]] = {}
    for place, row in enumerate(rows):
        prefix = row[: len(row) - math.ceil(threshold * len(row) - _ROUNDING) + 1]
        own = frozenset(row)
        candidates = dict.fromkeys(other for element in prefix for other in index.get(element, ()))
        if any(_similar(own, members[other], threshold) for other in candidates):
            yield place
            continue
        members[place] = own
        for element in prefix:
            index.setdefault(element, []).append(place)


def _similar(one: frozenset[int], other: frozenset[int], threshold: float) -> bool:
    least, most = sorted((len(one), len(other)))
    if least < threshold * most - _ROUNDING:
        return False
    common = len(one & other)
    return common / (len(one) + len(other) - common) >= threshold


def _shingles(texts: Sequence[str]) -> set[tuple[int, tuple[str, ...]]]:
    """Word 5-grams of each text, with its number; of a shorter text all of its words together."""
    found: set[tuple[int, tuple[str, ...]]] = set()
    for number, text in enumerate(texts):
        words = words_of(text)
        bounds = range(max(0, len(words) - SHINGLE) + 1) if words else ()
        found.update((number, tuple(words[start : start + SHINGLE])) for start in bounds)
    return found


def _needs(settings: DeduplicateSettings) -> tuple[str, ...]:
    return ("prompt",) if settings.by == "prompt" else ()


DEDUPLICATE = Transformation(
    name="deduplicate",
    settings=DeduplicateSettings,
    select=deduplicate,
    needs=_needs,
    relax="Raise near",
    modules=("data.transformations.deduplicate", "data.transformations.words", *SELECTING),
)
