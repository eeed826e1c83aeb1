"""Word overlap between the completions of one prompt: Self-BLEU, Jaccard similarity of n-grams, distinct-n, EAD.

Words are what `str.split()` yields: maximal runs of non-whitespace, punctuation attached, case kept (Self-BLEU,
distinct-n) or lowered (Jaccard).
"""

import math
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from modecollapse.metrics.ngrams import count_ngrams

Words = tuple[str, ...]

BLEU_ORDERS = 4
JACCARD_ORDERS = (2, 3, 4)
SMOOTHING = 0.1
"""What NLTK's `SmoothingFunction().method1` counts instead of zero matches."""


def words(text: str) -> Words:
    """The whitespace-separated words of `text`."""
    return tuple(text.split())


def first_words(text: str, count: int) -> str:
    """The first `count` words of `text`, joined by single spaces; all of them if it has fewer."""
    return " ".join(text.split(maxsplit=count)[:count])


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU-4 of each text against all the others; higher = less diverse; range [0, 1].

    ``mean_i BP_i · exp(¼ Σ_k ln(m_ik / t_ik))`` with t_ik the number of k-grams of text i, m_ik how many of them are
    matched (each at most as often as the one other text that has it most often; 0.1 if none is), and BP the brevity
    penalty against the other text of the closest length. Zhu et al. 2018 (Texygen); BLEU as Papineni et al. 2002 with
    smoothing `method1` of Chen & Cherry 2014. Corrected equals replica: the value is that of NLTK's `sentence_bleu`.

    Fewer than two texts: NaN. Identical texts of at least four words: 1; shorter ones less (0.1 stands for each missing
    order: 0.316 for two words). A text without words, or without a word in common with the others, counts 0.
    """
    groups = Counter(words(text) for text in texts)
    if groups.total() < 2:
        return math.nan
    distinct = list(groups)
    copies = np.fromiter(groups.values(), np.intp, len(groups))
    lengths = Counter(map(len, distinct))
    penalties = [1.0 if number > 1 else _brevity_penalty(len(text), lengths) for text, number in groups.items()]
    logs = np.zeros(len(distinct))
    for grams in count_ngrams(distinct, BLEU_ORDERS):
        # An identical copy among the references matches every n-gram, and has the same length.
        matched = np.where(copies > 1, grams.totals, _matched(grams.shared()))
        if grams.order == 1:
            overlapping = matched > 0
        logs += np.log(np.where(matched > 0, matched, SMOOTHING) / np.maximum(grams.totals, 1))
    scores = penalties * np.exp(logs / BLEU_ORDERS) * overlapping
    return float((copies * scores).sum() / groups.total())


def _matched(counts: np.ndarray) -> np.ndarray:
    """For each text, its n-grams that occur in others, each clipped to the largest count in any one other text.

    `counts` (texts, n-grams) holds the n-grams that at least two texts have.
    """
    if not counts.shape[1]:
        return np.zeros(len(counts))
    top = counts.max(axis=0)
    leads = counts == top
    alone = leads & (leads.sum(axis=0) == 1)
    second = np.where(alone, 0.0, counts).max(axis=0)
    return np.asarray(np.minimum(counts, np.where(alone, second, top)).sum(axis=1))


def _brevity_penalty(length: int, lengths: Mapping[int, int]) -> float:
    """BLEU's penalty for a text shorter than the closest of the others (of two equally close ones, the shorter)."""
    others = (other for other, number in lengths.items() if other != length or number > 1)
    closest = min(others, key=lambda other: (abs(other - length), other))
    return 1.0 if length >= closest or not length else math.exp(1 - closest / length)


def ngrams(tokens: Sequence[str], n: int) -> list[Words]:
    """All runs of `n` consecutive words, repeats included."""
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))


@dataclass(frozen=True, eq=False)
class Overlap:
    """N-grams that texts have in common, counted once per distinct text.

    `row[i]` is the row of text i in `intersection` (distinct × distinct, the numbers of common n-grams; its diagonal
    holds the numbers of n-grams).
    """

    row: np.ndarray
    intersection: np.ndarray

    @cached_property
    def _replica(self) -> np.ndarray:
        sizes = self.intersection.diagonal()
        union = sizes[:, None] + sizes[None, :] - self.intersection
        return np.divide(self.intersection, union, out=np.zeros_like(union), where=union > 0)

    def kernel(self, *, replica: bool = False) -> np.ndarray:
        """Jaccard similarities of all pairs, shape (texts, texts), float64; see `jaccard`."""
        similarities = self._replica
        if not replica and (similarities.diagonal() == 0).any():
            similarities = similarities.copy()
            np.fill_diagonal(similarities, 1.0)
        return similarities[self.row[:, None], self.row]

    def take(self, rows: np.ndarray) -> "Overlap":
        """The overlap of some of the texts only."""
        return Overlap(self.row[rows], self.intersection)


def ngram_overlaps(texts: Sequence[str], orders: Collection[int]) -> dict[int, Overlap]:
    """Count the common n-grams (of lower-cased words) of all pairs of texts, for each of the `orders`."""
    rows: dict[Words, int] = {}
    row = np.array([rows.setdefault(words(text.lower()), len(rows)) for text in texts], dtype=np.intp)
    overlaps = {}
    for grams in count_ngrams(list(rows), max(orders)):
        if grams.order in orders:
            incidence = (grams.shared() > 0).astype(np.float64)
            intersection = incidence @ incidence.T
            np.fill_diagonal(intersection, grams.distinct())
            overlaps[grams.order] = Overlap(row, intersection)
    return overlaps


def jaccard_kernel(texts: Sequence[str], n: int, *, replica: bool = False) -> np.ndarray:
    """Jaccard similarities of all pairs of texts, shape (texts, texts), float64; see `jaccard`."""
    return ngram_overlaps(texts, (n,))[n].kernel(replica=replica)


def jaccard(texts: Sequence[str], n: int, *, replica: bool = False) -> float:
    """Mean over unordered pairs of |A ∩ B| / |A ∪ B|, the sets of n-grams of lower-cased words; range [0, 1].

    Higher = less diverse. Jaccard 1901; each pair once and no text with itself (a U-statistic). Texts with fewer than n
    words have no n-grams: two of them have similarity 1 if they are the same words and 0 otherwise (replica: always 0).

    Fewer than two texts: NaN. Identical texts: 1.
    """
    return mean_off_diagonal(jaccard_kernel(texts, n, replica=replica))


def mean_off_diagonal(kernel: np.ndarray) -> float:
    """Mean of a symmetric matrix over unordered pairs, the U-statistic of similarity; NaN for fewer than two texts."""
    number = len(kernel)
    if number < 2:
        return math.nan
    return float((kernel.sum() - kernel.trace()) / (number * (number - 1)))


def distinct_n(texts: Sequence[str], n: int) -> float:
    """`distinct_share` of the n-grams of words of `texts`."""
    return distinct_share([ngrams(words(text), n) for text in texts])


def distinct_share(grams: Sequence[Sequence[Hashable]]) -> float:
    """Number of different n-grams of all texts together, divided by the number of their n-grams; range (0, 1].

    Higher = more diverse. Li et al. 2016. It falls with the number and the length of the texts, so compare only at
    equal numbers of both. `grams` holds the n-grams of each text. Without any n-gram: NaN. Identical texts: at most
    1 / number of texts.
    """
    total = sum(map(len, grams))
    return _different(grams) / total if total else math.nan


VOCABULARY = 30_522
"""Words that `expectation_adjusted` takes to exist: the size of BERT's English vocabulary. A constant: the texts' own
vocabulary would divide diversity by diversity, and that of a study would tie each score to all others."""


def expectation_adjusted(grams: Sequence[Sequence[Hashable]], n: int) -> float:
    """Number of different n-grams, divided by how many as many uniform draws would give; range (0, ∞).

    ``N / (V (1 − ((V − 1) / V)^C))`` with N different ones among C n-grams and ``V = VOCABULARY^n`` (EAD, Liu et al.
    2022). Higher = more diverse. It is made to depend less on C than distinct-n, which it nearly equals as long as C is
    far below V: at 25 texts of 20 words EAD-1 is 1.008 times distinct-1, and EAD-2 and EAD-3 do not differ from
    distinct-2 and distinct-3 in the first six digits. Words are drawn from a far more uneven distribution, so the value
    still falls with C. Without any n-gram: NaN.
    """
    total = sum(map(len, grams))
    if not total:
        return math.nan
    size = float(VOCABULARY**n)
    return _different(grams) / (-size * math.expm1(total * math.log1p(-1 / size)))


def _different(grams: Sequence[Sequence[Hashable]]) -> int:
    return len(set(chain.from_iterable(grams)))
