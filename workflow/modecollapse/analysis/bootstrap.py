"""Bootstrap over training seeds, prompts and completions: deterministic, paired, vectorised, of the stated coverage.

Prompts are crossed with seeds (every seed is asked the same prompts), so both levels are resampled independently and
a resample's weight of (seed, prompt) is the product of the two counts (Owen 2007, "The pigeonhole bootstrap").
Resampling prompts anew within each drawn seed would treat the prompts of different seeds as different prompts and give
intervals that are too narrow. The weights depend only on the bootstrap's seed and on the name and number of the units,
so all metrics, stages and temperatures share them: differences between them are paired.

Few units make percentile intervals too narrow: resamples of n units vary less than the units do, normal quantiles are
short of Student's, and resamples of two or three seeds take few values. So the percentiles' deviations from the
estimate are stretched until the interval is as wide as that of Student's t with the variance and degrees of freedom of
`analysis.variance`. The shape (skewness) is the bootstrap's, the width that of the t interval.

Completions are the third level. A prompt's value is computed from its completions and carries their noise, so
resampling prompts counts it already; to draw completions as well would count it twice. Where there is one seed and one
prompt, nothing else can be resampled, and the interval is over completions, by the standard error of the value.
"""

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from modecollapse.analysis.variance import Array, Spread, spread_of_mean
from modecollapse.digests import canonical

_CHUNK_BYTES = 32 * 2**20
"""Resampled means are made and reduced in pieces of about this size, so memory does not grow with the study."""

_KEPT_BYTES = 256 * 2**20
"""Counts that would be larger than this are drawn in pieces, and anew each time."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: `resamples` draws from streams keyed by `seed`, two-sided at `level`."""

    resamples: int = 10_000
    seed: int = 0
    level: float = 0.95

    def counts(self, population: str, units: int) -> Array:
        """How often each unit is drawn, [resamples, units]; each row sums to `units`. The array is read-only.

        `population` names what is resampled (e.g. "seeds", "prompts/creative"): populations have streams of their own.
        """
        return _counts(self.seed, population, units, self.resamples)

    def count_pieces(self, population: str, units: int) -> Iterator[Array]:
        """The rows of `counts` in their order, a piece at a time where all of them would fill the memory."""
        if 8 * self.resamples * units <= _KEPT_BYTES:
            yield self.counts(population, units)
            return
        generator, rows = _generator(self.seed, population, units), max(1, _CHUNK_BYTES // (8 * units))
        for start in range(0, self.resamples, rows):
            yield _drawn(generator, units, min(rows, self.resamples - start))

    def normals(self, population: str) -> Array:
        """Standard normal draws, [resamples], from a stream of the population's own. The array is read-only."""
        return _normals(self.seed, population, self.resamples)

    def interval(self, resampled: Array) -> tuple[Array, Array]:
        """Low and high percentile over the last axis; NaN entries are left out, all NaN gives NaN."""
        tail = (1 - self.level) / 2
        probabilities = [tail, 1 - tail]
        if np.isnan(resampled).any():
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
                low, high = np.nanquantile(resampled, probabilities, axis=-1)
        else:
            low, high = np.quantile(resampled, probabilities, axis=-1)
        return low, high

    def stretched(self, value: Array, resampled: Array, spread: Spread) -> tuple[Array, Array]:
        """As `interval`, its deviations from `value` stretched to the width that follows from `spread`.

        Args:
            value: the estimates, [...].
            resampled: the same in every resample, [..., resamples].
            spread: their variance and degrees of freedom, [...].
        """
        from scipy.special import stdtrit  # slow to import, and the module is read wherever a study is

        low, high = self.interval(resampled)
        with np.errstate(invalid="ignore", divide="ignore"):
            width = 2 * stdtrit(spread.degrees, (1 + self.level) / 2) * np.sqrt(spread.variance)
            stretch = width / (high - low)
        # What does not vary has nothing to stretch.
        stretch = np.where(np.isfinite(stretch), stretch, 1.0)
        return value + stretch * (low - value), value + stretch * (high - value)


def within(low: float, high: float, least: float = 0.0, most: float = 1.0) -> tuple[float, float]:
    """The ends of an interval of what is never less than `least` or more than `most`, such as a share.

    Intervals have the width of Student's t, which knows nothing of that.
    """
    return float(np.clip(low, least, most)), float(np.clip(high, least, most))


@dataclass(frozen=True)
class Estimate:
    """Means with their intervals; every array is [rows].

    A value that is undefined (NaN) is no observation: the mean is over what is defined, and NaN if nothing is. With one
    seed the interval is over prompts only, and speaks of that one training run. With one seed and one prompt it is over
    completions, and NaN if the value's standard error is not known.
    """

    value: Array
    low: Array
    high: Array
    completion_se: Array
    """Standard error from the finite number of completions alone, seeds and prompts held fixed; NaN if not known."""
    n_seeds: NDArray[np.int64]
    n_prompts: NDArray[np.int64]


def estimate(values: Array, prompts: str, bootstrap: Bootstrap, errors: Array | None = None) -> Estimate:
    """Mean and interval of each row of `values`; `prompts` names the population of prompts.

    Args:
        values: [rows, seeds, prompts]; NaN where undefined.
        errors: standard error of each value over its completions, of the same shape; NaN or None where not known.
    """
    defined = ~np.isnan(values)
    count = defined.sum(axis=(1, 2))
    n_seeds = defined.any(axis=2).sum(axis=1)
    n_prompts = defined.any(axis=1).sum(axis=1)
    with np.errstate(invalid="ignore"):
        value = np.where(defined, values, 0.0).sum(axis=(1, 2)) / count
        known = np.full_like(values, np.nan) if errors is None else errors
        # Completions of different prompts, seeds and stages are drawn independently.
        completion_se = np.sqrt(np.where(defined, known**2, 0.0).sum(axis=(1, 2))) / count
    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    single = count == 1
    quantiles = bootstrap.interval(bootstrap.normals(f"completions/{prompts}"))
    low[single], high[single] = (value[single] + quantile * completion_se[single] for quantile in quantiles)
    resampled_rows = np.flatnonzero(count > 1)
    # Rows with gaps need a denominator of their own; keep them apart so that the others do not pay for it.
    gaps = ~defined[resampled_rows].all(axis=(1, 2))
    size = max(1, _CHUNK_BYTES // (8 * bootstrap.resamples * values.shape[1])) if values.size else 1
    for rows in (resampled_rows[~gaps], resampled_rows[gaps]):
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            resampled = resampled_means(values[part], prompts, bootstrap)
            low[part], high[part] = bootstrap.stretched(value[part], resampled, spread_of_mean(values[part]))
    return Estimate(value, low, high, completion_se, n_seeds.astype(np.int64), n_prompts.astype(np.int64))


def resampled_means(values: Array, prompts: str, bootstrap: Bootstrap) -> Array:
    """The mean of each row of `values` [rows, seeds, prompts] in every resample, [rows, resamples].

    NaN where a resample holds no defined value.
    """
    seeds = bootstrap.counts("seeds", values.shape[1])
    defined = ~np.isnan(values)
    known, means = np.where(defined, values, 0.0), np.full((len(values), bootstrap.resamples), np.nan)
    start = 0
    for units in bootstrap.count_pieces(f"prompts/{prompts}", values.shape[2]):
        part = slice(start, start + len(units))
        start = part.stop
        sums = _weighted_sums(known, seeds[part], units)
        if defined.all():
            means[:, part] = sums / (values.shape[1] * values.shape[2])
            continue
        weights = _weighted_sums(defined.astype(np.float64), seeds[part], units)
        means[:, part] = np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0)
    return means


def _weighted_sums(values: Array, seeds: Array, units: Array) -> Array:
    rows, n_seeds, n_units = values.shape
    by_seed = (values.reshape(rows * n_seeds, n_units) @ units.T).reshape(rows, n_seeds, -1)
    if n_seeds == 1:
        return by_seed[:, 0]
    return np.einsum("rsb,bs->rb", by_seed, seeds)


@cache
def _counts(seed: int, population: str, units: int, resamples: int) -> Array:
    counts = _drawn(_generator(seed, population, units), units, resamples)
    counts.flags.writeable = False
    return counts


def _drawn(generator: np.random.Generator, units: int, resamples: int) -> Array:
    drawn = generator.integers(units, size=(resamples, units))
    drawn += units * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * units).reshape(resamples, units).astype(np.float64)


@cache
def _normals(seed: int, population: str, resamples: int) -> Array:
    draws = _generator(seed, population).standard_normal(resamples)
    draws.flags.writeable = False
    return draws


def _generator(*key: object) -> np.random.Generator:
    digest = hashlib.sha256(canonical(list(key)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
