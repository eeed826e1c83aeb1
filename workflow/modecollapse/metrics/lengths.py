"""How long completions are, and how many are not what they should be: confounders of every measure of diversity."""

import math
from collections.abc import Callable, Sequence

from modecollapse.metrics.lexical import words


def mean_length(texts: Sequence[str]) -> float:
    """Mean number of whitespace-separated words; range [0, ∞). No text: NaN. The empty text has 0 words."""
    return _mean(texts, lambda text: len(words(text)))


def empty_rate(texts: Sequence[str]) -> float:
    """Share of texts without any word; range [0, 1]. No text: NaN."""
    return _mean(texts, lambda text: not words(text))


def short_rate(texts: Sequence[str], count: int) -> float:
    """Share of texts with fewer than `count` words, which a cut to `count` words leaves shorter than the others.

    Range [0, 1]. No text: NaN.
    """
    return _mean(texts, lambda text: len(text.split(maxsplit=count)) < count)


def leak_rate(texts: Sequence[str], markers: Sequence[str]) -> float:
    """Share of texts that run into another turn of the dialogue: they contain one of the `markers` ("Human:", …).

    Range [0, 1]. No text: NaN.
    """
    return _mean(texts, lambda text: any(marker in text for marker in markers))


def _mean(texts: Sequence[str], value: Callable[[str], float]) -> float:
    return sum(map(value, texts)) / len(texts) if texts else math.nan
