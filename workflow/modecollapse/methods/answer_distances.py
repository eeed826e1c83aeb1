"""How far apart the answers to a prompt are, for rules that take the most different ones.

All distances are in [0, 1] (cosine: [0, 2]), 0 for equal texts, and symmetric. Texts are tokenized as in
`metrics.lexical`: words are what `str.split()` yields. Over words, two answers of very different length are far apart
whatever they say.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from modecollapse.metrics.lexical import ngram_overlaps, words

Matrix = NDArray[np.float64]
Distance = Callable[[Sequence[str]], Matrix]
"""From n texts to their distances, (n, n)."""


def levenshtein(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """The fewest insertions, deletions and substitutions of one token each that make `second` of `first`.

    Bit-parallel over whole columns of the dynamic programme (Myers 1999, as Hyyrö 2003 states it), with integers as
    wide as `first` is long: O(len(first) · len(second) / 64).
    """
    if not first:
        return len(second)
    mask, last = (1 << len(first)) - 1, 1 << (len(first) - 1)
    places: dict[Hashable, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    rises, falls, distance = mask, 0, len(first)
    for token in second:
        equal = places.get(token, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal
        right_rises, right_falls = (falls | ~(diagonal | rises)) & mask, rises & diagonal
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = right_rises << 1 | 1
        # Where the column fell before, it may fall again.
        rises, falls = (right_falls << 1 | ~(equal | falls | right_rises)) & mask, right_rises & (equal | falls) & mask
    return distance


def edit_distances(texts: Sequence[str]) -> Matrix:
    """Levenshtein distance over words, case kept, divided by the number of words of the longer text.

    Two texts without words are at distance 0.
    """
    tokens = [words(text) for text in texts]
    distances = np.zeros((len(texts), len(texts)))
    for row, first in enumerate(tokens):
        for column, second in enumerate(tokens[:row]):
            value = levenshtein(first, second) / max(len(first), len(second), 1)
            distances[row, column] = distances[column, row] = value
    return distances


def jaccard_distances(texts: Sequence[str], order: int) -> Matrix:
    """1 − the Jaccard similarity of the sets of n-grams of lower-cased words (`metrics.lexical`).

    Texts of fewer than `order` words that are the same in lower case are at distance 0, other ones at distance 1.
    """
    distances: Matrix = 1.0 - ngram_overlaps(texts, [order])[order].kernel()
    return distances


def cosine_distances(vectors: Mapping[str, NDArray[np.float32]]) -> Distance:
    """1 − the cosine of the texts' vectors of unit length, which `vectors` has."""

    def distances(texts: Sequence[str]) -> Matrix:
        matrix = np.stack([vectors[text] for text in texts]).astype(np.float64)
        cosines: Matrix = 1.0 - matrix @ matrix.T
        return cosines

    return distances


DISTANCES: Mapping[str, Distance] = {
    "edit": edit_distances,
    **{f"jaccard_{order}": lambda texts, order=order: jaccard_distances(texts, order) for order in (1, 2, 3, 4)},  # type: ignore[misc]
}
"""Those that need nothing but the texts."""


def most_different(texts: Sequence[str], distance: Distance) -> tuple[int, int]:
    """The places (i < j) of the two texts, of at least two, that are farthest apart; of equal distances the first pair
    in lexicographic order."""
    rows, columns = np.triu_indices(len(texts), 1)
    place = int(distance(texts)[rows, columns].argmax())
    return int(rows[place]), int(columns[place])
