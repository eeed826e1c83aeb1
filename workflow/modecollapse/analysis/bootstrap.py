"""Percentile bootstrap over training seeds and prompts: deterministic, paired, and vectorised.

Prompts are crossed with seeds (every seed is asked the same prompts), so both levels are resampled independently and
a resample's weight of (seed, prompt) is the product of the two counts (Owen 2007, "The pigeonhole bootstrap").
Resampling prompts anew within each drawn seed would treat the prompts of different seeds as different prompts and give
intervals that are too narrow. The weights depend only on the bootstrap's seed and on the name and number of the units,
so all metrics, stages and temperatures share them: differences between them are paired.

With very few seeds no bootstrap knows how much seeds vary: three seeds understate their own variance by a third. Read
such intervals as over prompts, with a hint of the seeds.
"""

import hashlib
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from modecollapse.digests import canonical

Array = NDArray[np.float64]

_CHUNK_BYTES = 32 * 2**20
"""Resampled means are made and reduced in pieces of about this size, so memory does not grow with the study."""


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


@dataclass(frozen=True)
class Estimate:
    """Means with their intervals; every array is [rows].

    A value that is undefined (NaN) is no observation: the mean is over what is defined, and NaN if nothing is. An
    interval is NaN unless at least two seeds or two prompts have a defined value: one observation has no spread to
    resample. With one seed the interval is over prompts only, and speaks of that one training run.
    """

    value: Array
    low: Array
    high: Array
    n_seeds: NDArray[np.int64]
    n_prompts: NDArray[np.int64]


def estimate(values: Array, prompts: str, bootstrap: Bootstrap) -> Estimate:
    """Mean and interval of each row of `values` [rows, seeds, prompts]; `prompts` names the population of prompts."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=(1, 2))
    count = defined.sum(axis=(1, 2))
    n_seeds = defined.any(axis=2).sum(axis=1)
    n_prompts = defined.any(axis=1).sum(axis=1)
    low = np.full(len(values), np.nan)
    high = np.full(len(values), np.nan)
    resampled_rows = np.flatnonzero((n_seeds > 1) | (n_prompts > 1))
    # Rows with gaps need a denominator of their own; keep them apart so that the others do not pay for it.
    gaps = ~defined[resampled_rows].all(axis=(1, 2))
    size = max(1, _CHUNK_BYTES // (8 * bootstrap.resamples * values.shape[1])) if values.size else 1
    for rows in (resampled_rows[~gaps], resampled_rows[gaps]):
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            low[part], high[part] = bootstrap.interval(resampled_means(values[part], prompts, bootstrap))
    with np.errstate(invalid="ignore"):
        return Estimate(total / count, low, high, n_seeds.astype(np.int64), n_prompts.astype(np.int64))


def resampled_means(values: Array, prompts: str, bootstrap: Bootstrap) -> Array:
    """The mean of each row of `values` [rows, seeds, prompts] in every resample, [rows, resamples].

    NaN where a resample holds no defined value.
    """
    seeds = bootstrap.counts("seeds", values.shape[1])
    units = bootstrap.counts(f"prompts/{prompts}", values.shape[2])
    defined = ~np.isnan(values)
    if defined.all():
        return _weighted_sums(values, seeds, units) / (values.shape[1] * values.shape[2])
    sums = _weighted_sums(np.where(defined, values, 0.0), seeds, units)
    weights = _weighted_sums(defined.astype(np.float64), seeds, units)
    return np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0)


def _weighted_sums(values: Array, seeds: Array, units: Array) -> Array:
    rows, n_seeds, n_units = values.shape
    by_seed = (values.reshape(rows * n_seeds, n_units) @ units.T).reshape(rows, n_seeds, -1)
    if n_seeds == 1:
        return by_seed[:, 0]
    return np.einsum("rsb,bs->rb", by_seed, seeds)


@cache
def _counts(seed: int, population: str, units: int, resamples: int) -> Array:
    key = hashlib.sha256(canonical([seed, population, units]).encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
    drawn = generator.integers(units, size=(resamples, units))
    drawn += units * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * units).reshape(resamples, units).astype(np.float64)
    counts.flags.writeable = False
    return counts
