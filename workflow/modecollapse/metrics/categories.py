"""How varied a sample of categories is: entropy, number of kinds and effective number, seen and estimated.

What is seen in a sample of n falls short of the population: kinds that are rare are missed. The estimates correct for
that by how many kinds occur once (f1) and twice (f2) (Chao 1984; Chao, Wang & Jost 2013).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Values = NDArray[np.float64]

NORMAL: Final = 1.96
"""Standard deviations that an interval reaches to either side, as in iNEXT."""
_CANCELLED = 5.0
"""Above this exponent the closed form of the tail would lose digits, and its series is short."""
_ITEMS = 2**22
"""Counts that are drawn at a time."""


def entropy_plugin(counts: Counts) -> Values:
    """Shannon entropy ``−Σ p log2 p`` in bits of the shares ``p = X / n``; range [0, log2(n)].

    Args:
        counts: [..., kinds], how often each occurs; zeros count for nothing.

    Returns:
        [...]; NaN where nothing was counted, 0 for a single or identical values.
    """
    counts = np.asarray(counts, dtype=np.int64)
    n = counts.sum(axis=-1)
    logs = (counts * np.log2(np.maximum(counts, 1))).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(n > 0, np.maximum(np.log2(n) - logs / n, 0.0), math.nan)


def entropy(counts: Counts) -> Values:
    """Nearly unbiased estimate of the population's Shannon entropy in bits (Chao, Wang & Jost 2013, eq. 7); [0, ∞).

    In nats ``Σ_X (X/n) Σ_{k=X}^{n−1} 1/k + (f1/n) (1−A)^{1−n} (−ln A − Σ_{r=1}^{n−1} (1−A)^r / r)`` with
    ``A = 2 f2 / ((n−1) f1 + 2 f2)``; if f2 = 0 ``A = 2 / ((n−1)(f1−1) + 2)``. The second part is 0 if f1 = 0.

    Args:
        counts: [..., kinds], as in `entropy_plugin`.

    Returns:
        [...]; 0 for two or more identical values; NaN for fewer than two, which say nothing of others.
    """
    counts = np.asarray(counts, dtype=np.int64)
    flat = counts.reshape(math.prod(counts.shape[:-1]), counts.shape[-1])
    n = flat.sum(axis=1)
    harmonic = np.concatenate([[0.0, 0.0], np.cumsum(1.0 / np.arange(1, max(2, int(n.max(initial=0)))))])
    seen = (flat * (harmonic[n][:, None] - harmonic[flat])).sum(axis=1) / np.maximum(n, 1)
    once, twice = (flat == 1).sum(axis=1), (flat == 2).sum(axis=1)
    cases, which = np.unique(np.stack([n, once, twice], axis=1), axis=0, return_inverse=True)
    missed = np.array([_missed(*map(int, case)) for case in cases])
    found = np.where(n > 1, (seen + missed[which.ravel()]) / math.log(2), math.nan)
    return np.asarray(found.reshape(counts.shape[:-1]))


def _missed(n: int, once: int, twice: int) -> float:
    """What kinds that were not seen add to the entropy, in nats."""
    if once == 0 or n < 2:
        return 0.0
    unseen = 2 * twice / ((n - 1) * once + 2 * twice) if twice else 2 / ((n - 1) * (once - 1) + 2)
    rest = 1 - unseen
    if rest <= 0:
        return 0.0
    exponent = -(n - 1) * math.log(rest)
    if exponent < _CANCELLED:
        r = np.arange(1, n)
        tail = math.exp(exponent) * (-math.log(unseen) - float((rest**r / r).sum()))
    else:
        j = np.arange(1, math.ceil(-40 / math.log(rest)) + 1)
        tail = float((rest**j / (n - 1 + j)).sum())
    return once / n * tail


def support(counts: Counts) -> Values:
    """How many kinds occur; range [0, n].

    Args:
        counts: [..., kinds].
    """
    return (np.asarray(counts) > 0).sum(axis=-1).astype(np.float64)


def support_chao1(counts: Counts) -> Values:
    """Chao's (1984) lower bound of the number of kinds in the population: those seen ``+ (n−1)/n · f1² / (2 f2)``.

    If f2 = 0, ``(n−1)/n · f1 (f1−1) / 2`` is added (Chao & Jost 2015).

    Args:
        counts: [..., kinds].

    Returns:
        [...]; 1 for two or more identical values; NaN for fewer than two.
    """
    counts = np.asarray(counts)
    n = counts.sum(axis=-1)
    once, twice = (counts == 1).sum(axis=-1), (counts == 2).sum(axis=-1)
    missed = np.where(twice > 0, once**2 / (2 * np.maximum(twice, 1)), once * (once - 1) / 2)
    return np.where(n > 1, support(counts) + (n - 1) / np.maximum(n, 1) * missed, math.nan)


def effective(counts: Counts) -> Values:
    """Effective number: ``2**H`` of the estimate `entropy`, the Hill number of order 1; [1, ∞); as many equally
    frequent kinds have this entropy.

    Args:
        counts: [..., kinds].

    Returns:
        [...]; 1 for two or more identical values; NaN for fewer than two.
    """
    return np.asarray(np.exp2(entropy(counts)))


STATISTICS = {
    "entropy": entropy,
    "entropy_plugin": entropy_plugin,
    "support": support,
    "support_chao1": support_chao1,
    "effective": effective,
}
"""Name → the statistic, of counts [..., kinds]."""


def possible(statistic: str, counts: Counts) -> tuple[float, float]:
    """The least and the most that a statistic of a population can be, given the counts [kinds] of a sample.

    What describes the sample itself is bound by its n; a population has as many kinds as were seen, or more.
    """
    counts = np.asarray(counts)
    n, kinds = int(counts.sum()), int((counts > 0).sum())
    return {
        "entropy": (0.0, math.inf),
        "entropy_plugin": (0.0, math.log2(n) if n else math.inf),
        "support": (float(min(kinds, 1)), float(n)),
        "support_chao1": (float(kinds), math.inf),
        "effective": (1.0, math.inf),
    }[statistic]


@dataclass(frozen=True)
class Estimated:
    """A statistic of a sample: its value, its standard error by the bootstrap, and ``value ± 1.96 error``.

    The interval is cut off at what is `possible`.
    """

    value: float
    error: float
    low: float
    high: float


def assemblage(counts: Counts) -> Values:
    """Probabilities of the kinds of the population that a sample was drawn from, those not seen among them.

    Chao & Jost (2015), as the R package iNEXT does it: ``f0`` unseen kinds (Chao1), rounded up, share the deficit of
    coverage ``C = (f1/n) A``, ``A = n f0 / (n f0 + f1)``, evenly; those seen have ``p (1 − w (1 − p)^n)``, with w such
    that the sum is 1.

    Args:
        counts: [kinds], one of them at least above 0.

    Returns:
        [seen kinds + unseen kinds]; sums to 1.

    Raises:
        ValueError: nothing was counted.
    """
    seen = np.asarray(counts)[np.asarray(counts) > 0]
    n = int(seen.sum())
    if not n:
        raise ValueError("no counts: nothing is known of a population that nothing was drawn from")
    shares = seen / n
    once, twice = int((seen == 1).sum()), int((seen == 2).sum())
    unseen = (n - 1) / n * (once**2 / (2 * twice) if twice else once * (once - 1) / 2)
    if unseen == 0:
        return np.asarray(shares)
    deficit = once / n * (n * unseen / (n * unseen + once))
    lost = shares * (1 - shares) ** n
    kinds = math.ceil(unseen)
    return np.concatenate([shares - deficit / lost.sum() * lost, np.full(kinds, deficit / kinds)])


def estimates(counts: Counts, generator: np.random.Generator, resamples: int = 1000) -> dict[str, Estimated]:
    """Each of `STATISTICS` with its interval, by samples of the same n from the `assemblage`.

    Args:
        counts: [kinds].
        generator: the draws, the same for all statistics.
        resamples: 2 or more.

    Returns:
        By name. Fewer than two values: values as the statistics define them, without errors and intervals (NaN).
        Identical values: errors of 0, as nothing that was seen speaks for other kinds; that is no proof of one.
    """
    counts = np.asarray(counts, dtype=np.int64)
    n = int(counts.sum())
    values = {name: float(statistic(counts)) for name, statistic in STATISTICS.items()}
    if n < 2:
        return {name: Estimated(value, math.nan, math.nan, math.nan) for name, value in values.items()}
    probabilities = assemblage(counts)
    drawn: dict[str, list[Values]] = {name: [] for name in STATISTICS}
    step = max(2, _ITEMS // len(probabilities))
    for start in range(0, resamples, step):
        sample = generator.multinomial(n, probabilities, size=min(step, resamples - start))
        for name, statistic in STATISTICS.items():
            drawn[name].append(statistic(sample))
    found = {}
    for name, value in values.items():
        error = float(np.concatenate(drawn[name]).std(ddof=1))
        least, most = possible(name, counts)
        low, high = max(value - NORMAL * error, least), min(value + NORMAL * error, most)
        found[name] = Estimated(value, error, low, high)
    return found


def entropy_difference_p(
    first: Counts, second: Counts, generator: np.random.Generator, resamples: int = 10_000
) -> float:
    """Two-sided p-value of a permutation test: do two samples differ more in `entropy` than by chance?

    Values are shuffled between samples of the same sizes; ``p = (1 + #{|d*| ≥ |d|}) / (1 + resamples)`` (Phipson &
    Smyth 2010), d the mean difference of the estimates. Its null hypothesis is that both samples of a pair are of one
    population: populations that differ in other ways than in entropy make d* larger, not d.

    Args:
        first: counts [pairs, kinds] of one sample of each pair.
        second: counts [pairs, kinds] of the others, of the same kinds in the same order.

    Returns:
        1 if all values are identical. Pairs with fewer than two values in either sample are left out; NaN if all are.
    """
    counted = (first.sum(axis=1) > 1) & (second.sum(axis=1) > 1)
    first, pooled = first[counted], (first + second)[counted]
    if not len(first):
        return math.nan
    seen = abs(float((entropy(first) - entropy(pooled - first)).sum()))
    extreme, step = 0, max(1, _ITEMS // max(1, pooled.shape[1]))
    for start in range(0, resamples, step):
        sums = np.zeros(min(step, resamples - start))
        for each, together in zip(first, pooled, strict=True):
            drawn = generator.multivariate_hypergeometric(together, each.sum(), size=len(sums), method="marginals")
            sums += entropy(drawn) - entropy(together - drawn)
        extreme += int((np.abs(sums) >= seen - 1e-12).sum())
    return (1 + extreme) / (1 + resamples)
