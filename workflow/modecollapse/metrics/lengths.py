"""How long completions are, and how many are not what they should be: confounders of every measure of diversity.

Each function gives one number per text; the metrics are their means, and their standard errors those of a mean.
"""

import math
from collections.abc import Sequence

from modecollapse.metrics.lexical import words


def mean(values: Sequence[float]) -> float:
    """The mean of the texts' numbers. No text: NaN."""
    return sum(values) / len(values) if values else math.nan


def word_counts(texts: Sequence[str]) -> list[float]:
    """Numbers of whitespace-separated words; range [0, ∞). The empty text has 0."""
    return [float(len(words(text))) for text in texts]


def empty(texts: Sequence[str]) -> list[float]:
    """1 for a text without any word, otherwise 0."""
    return [float(not text.split(maxsplit=1)) for text in texts]


def short(texts: Sequence[str], count: int) -> list[float]:
    """1 for a text with fewer than `count` words, which a cut to `count` words leaves shorter than the others."""
    return [float(len(text.split(maxsplit=count)) < count) for text in texts]


def leaking(texts: Sequence[str], markers: Sequence[str]) -> list[float]:
    """1 for a text that runs into another turn of the dialogue: it contains one of the `markers` ("Human:", …)."""
    return [float(any(marker in text for marker in markers)) for text in texts]
