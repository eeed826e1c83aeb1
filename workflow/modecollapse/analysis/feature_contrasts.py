"""Do features of answers differ between the two sides of pairs? Both definitions, for all features at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, rankdata, wilcoxon

from modecollapse.analysis.bootstrap import Bootstrap, resampled_means
from modecollapse.analysis.feature_values import mean_of, over_seeds
from modecollapse.analysis.rank_biserial import NEEDED, paired_test
from modecollapse.analysis.variance import Array, spread_of_mean

_NORMAL = 1.4826
"""The median absolute deviation of normal numbers times this is their standard deviation."""
_CONSTANT = 1e-12
"""A spread below this (times the largest) is that of rounding."""
FEWEST = 3
"""Features, at least, for a correlation over them."""


@dataclass(frozen=True)
class Scale:
    """What differences are divided by; arrays are [features]."""

    by: str
    """The differences that it is the spread of."""
    sd: Array
    """Standard deviation with n − 1 degrees of freedom; NaN with fewer than two differences."""
    mad: Array
    """1.4826 times the median absolute deviation."""

    @classmethod
    def of(cls, by: str, differences: Array) -> "Scale":
        """From differences [features, items], NaN where undefined."""
        sd, mad = np.full(len(differences), np.nan), np.full(len(differences), np.nan)
        for place, row in enumerate(differences):
            known = row[~np.isnan(row)]
            if len(known):
                mad[place] = _NORMAL * np.median(np.abs(known - np.median(known)))
            if len(known) > 1:
                with np.errstate(over="ignore"):
                    spread = float(known.std(ddof=1))
                sd[place] = 0.0 if spread <= _CONSTANT * np.abs(known).max() else spread
        return cls(by, sd, mad)

    def divide(self, values: Array) -> Array:
        """Values [features, …] in units of `sd`; NaN where that is 0, infinite or not known."""
        return _divided(values, self.sd)

    def reason(self, feature: int) -> str | None:
        """Why the differences of a feature have no normalised mean."""
        sd = self.sd[feature]
        if np.isnan(sd):
            return f"fewer than two pairs of {self.by}"
        if sd == 0:
            return f"{self.by} does not vary"
        if np.isinf(sd):
            return f"{self.by} varies beyond the range of numbers"
        return "the median absolute deviation is 0" if self.mad[feature] == 0 else None


@dataclass(frozen=True)
class Side:
    """What the differences of one side, chosen − rejected or stage − reference, say; arrays are [features]."""

    n: NDArray[np.int64]
    """Pairs of which both answers have the feature."""
    difference: Array
    normalised: Array
    low: Array
    high: Array
    normalised_mad: Array
    effect: Array
    effect_low: Array
    effect_high: Array
    p: Array
    q: Array
    reasons: tuple[str | None, ...]
    """Why something of a feature is undefined."""


def corrected(what: str, differences: Array, scale: Scale, population: str, bootstrap: Bootstrap) -> tuple[Side, Array]:
    """Pairwise deletion, effect sizes with intervals, Benjamini–Hochberg over the features.

    Means are over all defined (seed, item); their intervals are those of `analysis.bootstrap`, the scale held fixed. A
    test's unit is the item: its difference is averaged over seeds first, and the test knows nothing of how other
    training runs would have turned out.

    Args:
        what: names the differences.
        differences: [features, seeds, items], NaN where undefined.
        population: names the items for the bootstrap.

    Returns:
        The side; and the normalised means in every resample, [features, resamples].
    """
    scaled = scale.divide(differences)
    defined = ~np.isnan(scaled)
    normalised = mean_of(scaled, (1, 2))
    resampled = np.full((len(scaled), bootstrap.resamples), np.nan)
    low, high = np.full(len(scaled), np.nan), np.full(len(scaled), np.nan)
    rows = np.flatnonzero(defined.sum(axis=(1, 2)) > 1)
    if len(rows):
        resampled[rows] = resampled_means(scaled[rows], population, bootstrap)
        low[rows], high[rows] = bootstrap.stretched(normalised[rows], resampled[rows], spread_of_mean(scaled[rows]))
    difference, items = mean_of(differences, (1, 2)), over_seeds(differences)
    n = (~np.isnan(items)).sum(axis=1)
    tests = [paired_test(row[~np.isnan(row)], bootstrap.level) for row in items]
    p, effect, effect_low, effect_high = np.array(tests, dtype=np.float64).reshape(-1, 4).T
    side = Side(
        n, difference, normalised, low, high, _divided(difference, scale.mad), effect, effect_low, effect_high,
        p, _benjamini_hochberg(p), _reasons(what, n, ((items != 0) & ~np.isnan(items)).sum(axis=1)),
    )  # fmt: skip
    return side, resampled


def replica(what: str, differences: Array, scale: Scale) -> Side:
    """As in the paper: the mean, and the p-value of scipy's Wilcoxon test as it comes, of pairs without gaps.

    Args:
        differences: of the rows that are kept, [features, items]; NaN for features that are not available.
    """
    difference = mean_of(differences, 1)
    n = (~np.isnan(differences)).sum(axis=1)
    differing = ((differences != 0) & ~np.isnan(differences)).sum(axis=1)
    enough = differing >= NEEDED
    p = [float(wilcoxon(row).pvalue) if many else np.nan for row, many in zip(differences, enough, strict=True)]
    none = np.full(len(differences), np.nan)
    return Side(
        n, difference, scale.divide(difference), none, none, none, none, none, none, np.array(p, dtype=np.float64),
        none, _reasons(what, n, differing),
    )  # fmt: skip


def agreement(data: Side, answers: Side) -> Array:
    """Whether the two means have one sign: 1, 0 if one of them is 0, or −1, [features]; NaN where one is undefined."""
    return np.sign(data.difference) * np.sign(answers.difference)


@dataclass(frozen=True)
class Alignment:
    """How the normalised means of the two sides go together over features."""

    features: int
    agreeing: int
    pearson: tuple[float, float, float]
    """Value, and the ends of its interval."""
    spearman: tuple[float, float, float]


def alignment(data: Side, answers: Side, resampled: tuple[Array, Array] | None, bootstrap: Bootstrap) -> Alignment:
    """Correlations over the features of which both normalised means are defined.

    Args:
        resampled: both sides' normalised means in the same resamples of items, [features, resamples]; without them
            there are no intervals. The intervals are percentiles over items (and seeds): features are held fixed. A
            resample that has no pair with some feature keeps the estimate of that.
    """
    both = ~np.isnan(data.normalised) & ~np.isnan(answers.normalised)
    x, y = data.normalised[both], answers.normalised[both]
    agreeing = int((agreement(data, answers)[both] > 0).sum())
    undefined = (np.nan, np.nan, np.nan)
    if both.sum() < FEWEST:
        return Alignment(int(both.sum()), agreeing, undefined, undefined)
    sides = [np.empty((0, len(x))), np.empty((0, len(y)))]
    if resampled is not None:
        held = zip(resampled, (x, y), strict=True)
        sides = [np.where(np.isnan(means[both].T), estimate, means[both].T) for means, estimate in held]
    found = []
    for ranked in (False, True):
        value, *draws = (
            _pearson(*(rankdata(side, axis=-1) for side in pair) if ranked else pair)
            for pair in ((x[None], y[None]), sides)
        )
        low, high = bootstrap.interval(draws[0]) if len(draws[0]) else (np.nan, np.nan)
        found.append((float(value[0]), float(low), float(high)))
    return Alignment(int(both.sum()), agreeing, found[0], found[1])


def _pearson(x: Array, y: Array) -> Array:
    """Of the rows of two arrays [rows, features]; NaN where one does not vary."""
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    product = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    ratio = np.divide((x * y).sum(axis=1), product, out=np.full(len(x), np.nan), where=product > 0)
    return np.clip(ratio, -1.0, 1.0)


def _divided(values: Array, scale: Array) -> Array:
    known = np.where((scale > 0) & np.isfinite(scale), scale, np.nan)
    return values / known.reshape(-1, *[1] * (values.ndim - 1))


def _benjamini_hochberg(p: Array) -> Array:
    q, known = np.full(len(p), np.nan), ~np.isnan(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q


def _reasons(what: str, n: Sequence[int] | NDArray[np.int64], differing: NDArray[np.int64]) -> tuple[str | None, ...]:
    return tuple(
        None
        if some >= NEEDED
        else f"{what}: {some} of {pairs} pairs differ, fewer than the {NEEDED} that a test needs"
        if pairs
        else f"{what}: no pair has it"
        for pairs, some in zip(n, differing, strict=True)
    )
