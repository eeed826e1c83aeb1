"""The completions of one prompt as metrics see them, with the intermediate results that several metrics share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from modecollapse.metrics.compression import LeaveOneOut, leave_one_out, without_empty
from modecollapse.metrics.lexical import JACCARD_ORDERS, Overlap, ngram_overlaps
from modecollapse.metrics.similarity import cosine_kernel


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

    @cached_property
    def non_empty(self) -> "Sample":
        """The sample without its empty texts, for the metrics that are undefined for them."""
        kept = without_empty(self.texts)
        if len(kept) == len(self.texts):
            return self
        return Sample(kept, self.limit, self.markers)

    def overlap(self, n: int) -> Overlap:
        """N-grams in common, for the Jaccard similarities with n = 2, 3, 4."""
        return self._overlaps[n]

    @cached_property
    def _overlaps(self) -> dict[int, Overlap]:
        return ngram_overlaps(self.texts, JACCARD_ORDERS)

    @cached_property
    def leave_one_out(self) -> LeaveOneOut:
        return leave_one_out(self.texts)

    @cached_property
    def cosine_kernel(self) -> np.ndarray:
        if self.embeddings is None:
            raise ValueError("this metric needs sentence vectors, and the sample was made without them")
        return cosine_kernel(self.embeddings)
