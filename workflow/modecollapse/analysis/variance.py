"""How far a mean over training seeds and prompts may be from the truth: variance components and degrees of freedom.

Every seed is asked the same prompts, so values follow a two-way layout: mean + seed + prompt + rest. With the mean
squares A of seeds, B of prompts and E of the rest, the unbiased variance of the mean of N values is (A + B - E) / N; a
mean square below that of the rest shows no component of its own and counts as none. Its degrees of freedom are
Satterthwaite's (1946, "An approximate distribution of estimates of variance components"). The noise of the finite
number of completions is part of the rest and needs no term.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Variance of an estimate and the degrees of freedom that it is known with; arrays of one shape."""

    variance: Array
    degrees: Array

    def plus(self, other: "Spread") -> "Spread":
        """Of the sum, or difference, of two independent estimates (Welch)."""
        return _satterthwaite(np.stack([self.variance, other.variance]), np.stack([self.degrees, other.degrees]))


def spread_of_mean(values: Array) -> Spread:
    """Spread of the mean of each row of `values` [rows, seeds, prompts], NaN where undefined.

    Without gaps these are the mean squares of the two-way layout. With gaps they are the same sums over what is
    defined, as in two-way clustered standard errors (Cameron, Gelbach and Miller 2011). One seed leaves the prompts'
    variance, one prompt that of the seeds; a single value has none (variance 0, degrees NaN).
    """
    defined = ~np.isnan(values)
    by_seed, by_prompt = defined.sum(axis=2), defined.sum(axis=1)
    count = by_seed.sum(axis=1)
    seeds, prompts = (by_seed > 0).sum(axis=1), (by_prompt > 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.where(defined, values, 0.0).sum(axis=(1, 2)) / count
    rest = np.where(defined, values - mean[:, None, None], 0.0)
    seed_sums, prompt_sums = rest.sum(axis=2), rest.sum(axis=1)
    rest -= (seed_sums / np.maximum(by_seed, 1))[:, :, None] + (prompt_sums / np.maximum(by_prompt, 1))[:, None, :]
    squares = np.where(defined, rest**2, 0.0).sum(axis=(1, 2))
    left = count - seeds - prompts + 1
    per_value = np.maximum(count, 1)
    return combined(
        _ratio((seed_sums**2).sum(axis=1) * seeds, (seeds - 1) * per_value) / per_value,
        _ratio((prompt_sums**2).sum(axis=1) * prompts, (prompts - 1) * per_value) / per_value,
        _ratio(squares, np.where((seeds > 1) & (prompts > 1), left, 0)) / per_value,
        (seeds - 1, prompts - 1, left),
    )


def combined(seeds: Array, prompts: Array, rest: Array, degrees: tuple[NDArray[np.int64], ...]) -> Spread:
    """Spread from the contributions of seeds and prompts to the variance of the mean, the rest being part of each.

    `degrees` are those of the three, in this order; a contribution without degrees of freedom must be 0.
    """
    terms = np.stack([seeds, prompts, rest])
    # A component that is not there takes its own term away and gives the rest's back.
    has_seeds, has_prompts = seeds > rest, prompts > rest
    signs = np.stack([has_seeds, has_prompts, 1 - has_seeds.astype(np.int64) - has_prompts])
    return _satterthwaite(signs * terms, np.stack([np.broadcast_to(each, rest.shape) for each in degrees]))


def _satterthwaite(terms: Array, degrees: NDArray[np.number]) -> Spread:
    """Of a sum of independent terms [terms, …]; terms of 0 do not count."""
    variance = terms.sum(axis=0)
    uncertainty = _ratio(terms**2, np.where(terms != 0, degrees, 0)).sum(axis=0)
    return Spread(
        variance, np.divide(variance**2, uncertainty, out=np.full_like(variance, np.nan), where=uncertainty > 0)
    )


def _ratio(numerator: Array, denominator: NDArray[np.number]) -> Array:
    """The quotient; 0 where the denominator is not positive."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
