"""Deduplication: of equal rows, and perhaps of nearly equal ones, the first stays.

Near duplicates are found exactly: of two sets with Jaccard similarity t or more, ordered alike, the first
|x| - ceil(t |x|) + 1 elements have one in common (Chaudhuri, Ganti, Kaushik 2006, "A primitive operator for similarity
joins", section 4), so rows are compared only with those that share one of these, of which the rarest come first. There
are no signatures and no seed in it. Shingles are held as digests of 64 bits, a ninth of the memory of their words: that
any two of 30 million agree by chance has a probability of 0.00003, and would seldom decide anything.
"""

import math
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
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


def near_duplicates(sets: Sequence[NDArray[np.uint64]], threshold: float) -> Iterator[int]:
    """The places of the sets whose Jaccard similarity with an earlier one that is none of these reaches `threshold`.

    Each set is an array without repeated elements. An empty set is like no other. Elements of one set only come first
    and have no partner, so nothing but their number is looked at.
    """
    elements, counts = np.unique(np.concatenate([*sets, np.empty(0, np.uint64)]), return_counts=True)
    shared = elements[counts > 1]
    numbers = np.argsort(np.argsort(counts[counts > 1], kind="stable")).astype(np.int32)
    del elements, counts
    index: dict[int, list[int]] = {}
    members: dict[int, NDArray[np.int32]] = {}
    for place, each in enumerate(sets):
        row = _numbered(each, shared, numbers)
        first = len(each) - math.ceil(threshold * len(each) - _ROUNDING) + 1
        prefix = row[: max(0, first - (len(each) - len(row)))].tolist()
        own = frozenset(row.tolist())
        candidates = dict.fromkeys(other for element in prefix for other in index.get(element, ()))
        if any(_similar(own, len(each), members[other], len(sets[other]), threshold) for other in candidates):
            yield place
            continue
        members[place] = row
        for element in prefix:
            index.setdefault(element, []).append(place)


def _numbered(each: NDArray[np.uint64], shared: NDArray[np.uint64], numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """The numbers, in their order, of those elements that another set has, too."""
    places = np.searchsorted(shared, each)
    places[places == len(shared)] = 0
    found: NDArray[np.int32] = np.sort(numbers[places[shared[places] == each]]) if len(shared) else numbers
    return found


def _similar(one: frozenset[int], size: int, other: NDArray[np.int32], its_size: int, threshold: float) -> bool:
    least, most = sorted((size, its_size))
    if least < threshold * most - _ROUNDING:
        return False
    common = len(one.intersection(other.tolist()))
    return common / (size + its_size - common) >= threshold


def _shingles(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Digests of the word 5-grams of each text, with its number; of a shorter text all of its words together."""
    found: set[bytes] = set()
    for number, text in enumerate(texts):
        words = words_of(text)
        for start in range(max(0, len(words) - SHINGLE) + 1) if words else ():
            shingle = " ".join([str(number), *words[start : start + SHINGLE]])
            found.add(blake2b(shingle.encode(), digest_size=8).digest())
    return np.frombuffer(b"".join(found), np.uint64)


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
