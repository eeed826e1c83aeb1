"""The n-grams of several texts as integers, so that comparing texts is array work."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NGrams:
    """The n-grams of one order: text `text[i]` holds n-gram `gram[i]` `count[i]` times, each pair once."""

    order: int
    text: Integers
    gram: Integers
    count: Integers
    totals: Integers
    """Number of n-grams of each text, repeated ones included."""

    def shared(self) -> NDArray[np.float64]:
        """Counts of the n-grams that more than one text holds, shape (texts, such n-grams)."""
        within = np.bincount(self.gram) > 1
        wanted = within[self.gram]
        column = np.cumsum(within) - 1
        table = np.zeros((len(self.totals), int(np.count_nonzero(within))))
        table[self.text[wanted], column[self.gram[wanted]]] = self.count[wanted]
        return table

    def distinct(self) -> Integers:
        """Number of different n-grams of each text."""
        return np.bincount(self.text, minlength=len(self.totals))


def count_ngrams(texts: Sequence[Sequence[Hashable]], orders: int) -> Iterator[NGrams]:
    """The n-grams of tokenised texts for n = 1, 2, …, `orders`."""
    number: dict[Hashable, int] = {}
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    tokens = np.array([number.setdefault(token, len(number)) for token in chain.from_iterable(texts)], np.int64)
    owner = np.repeat(np.arange(len(texts)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(tokens))  # words from here to the end of the text
    start, gram, bound = np.arange(len(tokens)), tokens, max(len(number), 1)
    for order in range(1, orders + 1):
        if order > 1:
            if bound * len(number) * len(texts) > np.iinfo(np.int64).max:
                gram = np.unique(gram, return_inverse=True)[1]
                bound = int(gram.max(initial=0)) + 1
            # An n-gram is the one a word shorter and one word more.
            whole = left[start] >= order
            start = start[whole]
            gram = gram[whole] * len(number) + tokens[start + order - 1]
            bound *= len(number)
        yield _counted(order, gram, owner[start], np.maximum(lengths - order + 1, 0))


def _counted(order: int, gram: Integers, owner: Integers, totals: Integers) -> NGrams:
    """Counts from one entry per occurrence; `owner` is the text that it stands in."""
    pairs = np.sort(gram * len(totals) + owner)
    first = np.flatnonzero(_changes(pairs))
    held, text = np.divmod(pairs[first], len(totals))
    return NGrams(order, text, np.cumsum(_changes(held)) - 1, np.diff(first, append=len(pairs)), totals)


def _changes(values: Integers) -> NDArray[np.bool_]:
    """Whether each of the sorted `values` is the first of its kind."""
    first = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first
