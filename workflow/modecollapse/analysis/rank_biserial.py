"""How often differences of pairs go one way, weighted by their ranks: an effect size with its interval."""

import numpy as np
from scipy.special import stdtrit
from scipy.stats import rankdata

from modecollapse.analysis.stage_tests import signed_rank
from modecollapse.analysis.variance import Array

NEEDED = 6
"""Pairs that differ, at least, for a test: fewer cannot reach p < 0.05 (two-sided) however they differ."""

_DIGITS = 2.0**36
"""Differences that agree in so much of their leading digits (about eleven) are tied: means of floats are not exact."""


def paired_test(differences: Array, level: float = 0.95) -> tuple[float, float, float, float]:
    """Wilcoxon's two-sided p, and the matched-pairs rank-biserial correlation r with its interval.

    r = (W+ − W−) / (W+ + W−), the sum of sign(d_i + d_j) over the m (m + 1) / 2 Walsh pairs i ≤ j by their number
    (Kerby 2014; Hollander and Wolfe 1999, 3.1). Both are over the m pairs that differ, as in Wilcoxon (1945); p is
    that of `stage_tests.signed_rank`. The standard error is that of the Hájek projection of this U-statistic, the
    interval Student's t with m − 1 degrees of freedom on Fisher's z scale. Where all pairs differ one way, which
    leaves no spread to go by, the interval ends at ±1 and begins where 2 s² − 1 does, the least r can be if a share s
    of pairs goes that way: s is the lower end of the Clopper–Pearson interval.

    Args:
        differences: [pairs], defined.

    Returns:
        p, r, and the interval's ends; NaN with fewer than `NEEDED` pairs that differ.
    """
    d = _tied(differences[differences != 0])
    m = len(d)
    if m < NEEDED:
        return np.nan, np.nan, np.nan, np.nan
    # The test knows ranks only; so do differences over hundreds of orders of magnitude, as perplexities are.
    *_, p, r, _ = signed_rank(np.sign(d) * rankdata(np.abs(d)))
    if abs(r) == 1.0:
        share = ((1 - level) / 2) ** (1 / m)
        least = 2 * share**2 - 1
        return p, r, *((least, 1.0) if r > 0 else (-1.0, -least))
    z = np.arctanh(r)
    width = float(stdtrit(m - 1, (1 + level) / 2)) * _standard_error(d) / (1 - r**2)
    return p, r, float(np.tanh(z - width)), float(np.tanh(z + width))


def _standard_error(d: Array) -> float:
    m = len(d)
    ordered = np.sort(d)
    above = m - np.searchsorted(ordered, -d, side="right")
    below = np.searchsorted(ordered, -d, side="left")
    # Its signs with all others and with itself: the Walsh pairs that a difference is in.
    influence = 2 * (above - below) / (m + 1)
    return float(influence.std(ddof=1) / np.sqrt(m))


def _tied(differences: Array) -> Array:
    mantissa, exponent = np.frexp(differences)
    return np.ldexp(np.round(mantissa * _DIGITS) / _DIGITS, exponent)
