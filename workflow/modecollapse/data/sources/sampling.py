"""A fixed sample of rows in one pass, with memory for the sample alone."""

import hashlib
import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Sample(Generic[_T]):
    """The `size` rows of the smallest keyed digests (BLAKE2b of the row's number, keyed by the seed).

    Which rows these are depends on seed and numbers alone: not on how the rows are read, nor on their content. A
    smaller sample of the same seed is part of a larger one.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._key = hashlib.sha256(str(seed).encode()).digest()
        # The row with the largest digest on top. Digests of 128 bits do not meet, so rows are never compared.
        self._rows: list[tuple[int, int, _T]] = []

    def offer(self, number: int, row: _T) -> None:
        """Consider a row; each number is offered once at most."""
        digest = hashlib.blake2b(number.to_bytes(8, "big"), key=self._key, digest_size=16).digest()
        entry = (-int.from_bytes(digest, "big"), number, row)
        if len(self._rows) < self._size:
            heapq.heappush(self._rows, entry)
        else:
            heapq.heappushpop(self._rows, entry)

    def rows(self) -> Iterator[_T]:
        """The sample, in the order of the rows' numbers."""
        for _, _, row in sorted(self._rows, key=lambda entry: entry[1]):
            yield row
