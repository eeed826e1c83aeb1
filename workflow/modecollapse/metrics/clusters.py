"""How many different answers there are: completions that say the same, by their vectors or word for word, are one."""

import math
from collections.abc import Sequence

import numpy as np

from modecollapse.metrics.lexical import words


def answer_clusters(kernel: np.ndarray, threshold: float) -> float:
    """Number of clusters of texts, from their similarities (n, n); range [1, n]; higher = more diverse.

    Texts whose similarity is at least `threshold` are joined, and so is what they are joined to: clusters are the
    connected components of that graph (single linkage; Sneath 1957). The result does not depend on the order of texts.
    The drawback is chaining: a row of texts, each close to the next, is one cluster although its ends are unlike, so
    with more texts clusters can merge. The threshold decides the number; look at several.

    No text, or a kernel with undefined entries: NaN. One text or identical texts: 1.
    """
    number = len(kernel)
    if number == 0 or not np.isfinite(kernel).all():
        return math.nan
    joined = kernel >= threshold
    np.fill_diagonal(joined, True)
    # Every text takes the smallest label among those it is joined to, until nothing changes.
    labels, before = np.arange(number), np.full(number, -1)
    while (labels != before).any():
        before, labels = labels, np.where(joined, labels, number).min(axis=1)
        labels = labels[labels]
    return float(np.unique(labels).size)


def different_answers(texts: Sequence[str]) -> float:
    """Number of texts that differ in their words, ignoring case; range [1, n]; higher = more diverse.

    The limit of `answer_clusters` at the strictest threshold, without an embedder. No text: NaN. Empty texts count as
    one answer.
    """
    return float(len({words(text.lower()) for text in texts})) if texts else math.nan
