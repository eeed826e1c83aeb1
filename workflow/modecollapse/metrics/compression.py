"""Redundancy as a general-purpose compressor sees it: gzip at level 9, its default."""

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from modecollapse.metrics.lexical import mean_off_diagonal

_GZIP_OVERHEAD = 12
"""gzip's header and trailer are 18 bytes long, zlib's 6; the deflate stream between them is the same."""


def compressed_size(data: bytes) -> int:
    """Bytes of ``gzip.compress(data)``, header and trailer included."""
    return len(zlib.compress(data, 9)) + _GZIP_OVERHEAD


def encode(text: str) -> bytes:
    """UTF-8; lone surrogates, which have no UTF-8, become three bytes each instead of an error."""
    return text.encode("utf-8", "surrogatepass")


def ncd(texts: Sequence[str]) -> float:
    """Mean normalised compression distance of all ordered pairs; about 0 to 1.1; higher = more diverse.

    ``NCD(x, y) = (C(x y) − min(C(x), C(y))) / max(C(x), C(y))`` with C the gzipped size and x, y joined by a space
    (Cilibrasi & Vitányi 2005). Both orders of a pair count, since C(x y) ≠ C(y x). Corrected equals replica.

    gzip's constant 18 bytes weigh on short texts: they pull the distance of unlike texts down, and identical texts keep
    a distance above 0 (0.03 to 0.06 at 20 words), so compare only at equal numbers of words. Fewer than two texts: NaN.
    Empty texts count as they are (two of them: 0.05).
    """
    return mean_off_diagonal(ncd_matrix(texts))


def ncd_matrix(texts: Sequence[str]) -> np.ndarray:
    """``NCD(x, y)`` of all ordered pairs, shape (texts, texts), float64, not symmetric; see `ncd`.

    The diagonal, a text's distance from itself, is 0 where no other text is identical to it: nothing needs it there.
    """
    encoded = [encode(text) for text in texts]
    copies = Counter(encoded)
    sizes = np.array([compressed_size(text) for text in copies], dtype=np.float64)
    joint = np.zeros((len(copies), len(copies)))
    for row, (first, number) in enumerate(copies.items()):
        before = first + b" "
        # Most of the time of all metrics of texts goes into this line, nearly all of it into zlib.
        joint[row] = [compressed_size(before + second) if number > 1 or second != first else 0 for second in copies]
    matrix = (joint - np.minimum.outer(sizes, sizes)) / np.maximum.outer(sizes, sizes)
    matrix[joint == 0] = 0.0
    places = {text: row for row, text in enumerate(copies)}
    rows = np.array([places[text] for text in encoded], dtype=np.intp)
    return matrix[rows[:, None], rows]


@dataclass(frozen=True)
class LeaveOneOut:
    """Compression ratios (compressed / raw bytes) of texts joined by spaces, with and without each one in turn.

    For each text y: `alone` of y, `others` of the other texts, `together` of the others followed by y; None for an
    empty string, which has no ratio.
    """

    alone: tuple[float | None, ...]
    others: tuple[float | None, ...]
    together: tuple[float | None, ...]

    @cached_property
    def full(self) -> float:
        return _mean_difference(self.others, self.together)

    @cached_property
    def target(self) -> float:
        return _mean_difference(self.alone, self.together)


def leave_one_out(texts: Sequence[str]) -> LeaveOneOut:
    """The compression ratios from which both leave-one-out measures follow."""
    encoded = [encode(text) for text in texts]
    ratios: dict[bytes, float | None] = {b"": None}

    def ratio(data: bytes) -> float | None:
        if data not in ratios:
            ratios[data] = compressed_size(data) / len(data)
        return ratios[data]

    alone, others, together = [], [], []
    for index, text in enumerate(encoded):
        rest = encoded[:index] + encoded[index + 1 :]
        alone.append(ratio(text))
        others.append(ratio(b" ".join(rest)))
        together.append(ratio(b" ".join([*rest, text])))
    return LeaveOneOut(tuple(alone), tuple(others), tuple(together))


def alone_ratios(texts: Sequence[str]) -> np.ndarray:
    """The compression ratio of each text on its own, (texts,), float64; NaN for an empty one."""
    encoded = [encode(text) for text in texts]
    return np.array([compressed_size(data) / len(data) if data else math.nan for data in encoded])


def compression_ratio_target_once(texts: Sequence[str], alone: np.ndarray) -> float:
    """`compression_ratio_target` of non-empty texts with one order of the texts instead of each at the end in turn.

    It differs from the measure by less than its standard error and costs one compression, so the jackknife uses it.
    `alone` is `alone_ratios` of the texts. Fewer than two texts: NaN.
    """
    if len(texts) < 2:
        return math.nan
    data = b" ".join(map(encode, texts))
    return float(alone.mean()) - compressed_size(data) / len(data)


def compression_ratio_full(texts: Sequence[str], *, replica: bool = False) -> float:
    """Mean over texts y of ratio(all others) − ratio(all others, then y); about 0 to 0.01.

    How much one more text improves the ratio (compressed / raw bytes) of all; Teehan's diversity_metrics ("full").
    It does not follow diversity: it is small when the others are so compressible already that a copy gains little, and
    small again when texts have nothing in common. It also depends on the number of texts and their length.

    Empty texts are left out (the replica keeps them: they add their separating spaces). Fewer than two texts: NaN.
    """
    return leave_one_out(texts if replica else without_empty(texts)).full


def compression_ratio_target(texts: Sequence[str], *, replica: bool = False) -> float:
    """Mean over texts y of ratio(y alone) − ratio(all others, then y); about 0.2 to 2; higher = less diverse.

    How much better y compresses behind the others than alone; Teehan's diversity_metrics ("target"). The first term
    depends on the length of y (gzip's 18 bytes are a large part of a short text), so compare only at equal lengths.

    Empty texts, which have no ratio, are left out (the replica is NaN if there is one). Fewer than two texts: NaN.
    """
    return leave_one_out(texts if replica else without_empty(texts)).target


def without_empty(texts: Sequence[str]) -> Sequence[str]:
    """The texts that have at least one character, in their order."""
    return [text for text in texts if text]


def _mean_difference(before: Sequence[float | None], after: Sequence[float | None]) -> float:
    differences = [
        math.nan if first is None or second is None else first - second
        for first, second in zip(before, after, strict=True)
    ]
    return sum(differences) / len(differences) if len(differences) > 1 else math.nan
