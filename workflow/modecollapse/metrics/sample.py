"""The completions of one prompt as metrics see them, with the intermediate results that several metrics share."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from modecollapse.metrics.compression import LeaveOneOut, alone_ratios, leave_one_out, ncd_matrix
from modecollapse.metrics.lexical import JACCARD_ORDERS, Overlap, ngram_overlaps, ngrams, words
from modecollapse.metrics.similarity import cosine_kernel

GROUPS = 5
"""Groups of the delete-a-group jackknife."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Texts to be scored together. Everything derived from them is computed at most once.

    `limit` is the number of words to which the texts were cut (None: not at all), `markers` what a text that runs into
    another turn contains, `embeddings` the texts' vectors (n, d), absent if no metric needs them.
    """

    texts: Sequence[str]
    limit: int | None = None
    markers: Sequence[str] = ()
    embeddings: np.ndarray | None = None
    _whole: "Sample | None" = field(default=None, repr=False)
    """The sample that this one is part of: pairs are compared there, once."""
    _rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.intp), repr=False)
    _ngrams: dict[int, Sequence[Sequence[Hashable]]] = field(default_factory=dict, init=False, repr=False)

    def take(self, places: Sequence[int]) -> "Sample":
        """The sample of the texts at `places`."""
        rows = np.array(places, dtype=np.intp)
        embeddings = None if self.embeddings is None else self.embeddings[rows]
        return Sample([self.texts[place] for place in places], self.limit, self.markers, embeddings, self, rows)

    @cached_property
    def non_empty(self) -> "Sample":
        """The sample without its empty texts, for the metrics that are undefined for them."""
        kept = [place for place, text in enumerate(self.texts) if text]
        return self if len(kept) == len(self.texts) else self.take(kept)

    def controlled(self, number: int) -> "Sample":
        """The first `number` texts that have all `limit` words; fewer if there are not so many."""
        full = [place for place, text in enumerate(self.texts) if len(words(text)) == self.limit]
        return self.take(full[:number])

    @cached_property
    def without_groups(self) -> tuple["Sample", ...]:
        """The sample without each group in turn: text i is in group i mod `GROUPS`; all groups are equally large."""
        places = range(len(self.texts) // GROUPS * GROUPS)
        return tuple(self.take([place for place in places if place % GROUPS != group]) for group in range(GROUPS))

    def ngrams(self, n: int) -> Sequence[Sequence[Hashable]]:
        """The n-grams of the words of each text, in their order."""
        if n not in self._ngrams:
            if self._whole:
                whole = self._whole.ngrams(n)
                self._ngrams[n] = [whole[row] for row in self._rows]
            else:
                self._ngrams[n] = [ngrams(words(text), n) for text in self.texts]
        return self._ngrams[n]

    def overlap(self, n: int) -> Overlap:
        """N-grams in common, for the Jaccard similarities with n = 2, 3, 4."""
        return self._overlaps[n]

    @cached_property
    def _overlaps(self) -> dict[int, Overlap]:
        if self._whole:
            return {n: overlap.take(self._rows) for n, overlap in self._whole._overlaps.items()}
        return ngram_overlaps(self.texts, JACCARD_ORDERS)

    @cached_property
    def leave_one_out(self) -> LeaveOneOut:
        return leave_one_out(self.texts)

    @cached_property
    def alone_ratios(self) -> np.ndarray:
        """The compression ratio of each text on its own, (n,)."""
        return self._whole.alone_ratios[self._rows] if self._whole else alone_ratios(self.texts)

    @cached_property
    def ncd_matrix(self) -> np.ndarray:
        return self._part(self._whole.ncd_matrix) if self._whole else ncd_matrix(self.texts)

    @cached_property
    def cosine_kernel(self) -> np.ndarray:
        if self.embeddings is None:
            raise ValueError("this metric needs sentence vectors, and the sample was made without them")
        return self._part(self._whole.cosine_kernel) if self._whole else cosine_kernel(self.embeddings)

    def _part(self, matrix: np.ndarray) -> np.ndarray:
        return matrix[self._rows[:, None], self._rows]
