"""Are two groups of independent measurements alike? A permutation test of the difference between their means."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from modecollapse.analysis.variance import Array
from modecollapse.digests import canonical

_SAME = 1e-12
"""Differences closer than this (times the largest value, if that is above 1) are the same: sums of floats are not
exact."""


def permutation_p(after: Sequence[Array], before: Sequence[Array], resamples: int, seed: int) -> float:
    """Two-sided p-value of the mean over strata of mean(after) − mean(before), labels shuffled within each stratum.

    Counted with the observed arrangement, (1 + as far) / (1 + resamples), so that it is never 0 (Phipson and Smyth
    2010, "Permutation P-values should never be zero"). It speaks of the strata at hand, such as training seeds.

    Args:
        after: of each stratum its measurements, [n]; NaN entries are left out.
        before: the same of the other group, in the same strata.
        resamples: random arrangements.
        seed: of these; the same numbers of measurements are shuffled alike.

    Returns:
        NaN if no stratum has measurements of both groups; 1 if nothing varies.
    """
    pairs = [(a[~np.isnan(a)], b[~np.isnan(b)]) for a, b in zip(after, before, strict=True)]
    pairs = [(a, b) for a, b in pairs if len(a) and len(b)]
    if not pairs:
        return float("nan")
    observed, shuffled = 0.0, np.zeros(resamples)
    for stratum, (a, b) in enumerate(pairs):
        both = np.concatenate([a, b])
        observed += a.mean() - b.mean()
        sums = both[_drawn(len(a), len(b), resamples, seed, stratum)].sum(axis=1)
        shuffled += sums / len(a) - (both.sum() - sums) / len(b)
    largest = max(float(np.abs(np.concatenate(pair)).max()) for pair in pairs)
    far = np.abs(shuffled) >= abs(observed) - _SAME * max(1.0, largest)
    return float((1 + far.sum()) / (1 + resamples))


@lru_cache(maxsize=16)
def _drawn(first: int, second: int, resamples: int, seed: int, stratum: int) -> NDArray[np.int32]:
    """Which of the measurements are in the first group, [resamples, first]."""
    key = hashlib.sha256(canonical(["permutation", seed, stratum, first, second]).encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
    order = np.argsort(generator.random((resamples, first + second)), axis=1)
    drawn = order[:, :first].astype(np.int32)
    drawn.flags.writeable = False
    return drawn
