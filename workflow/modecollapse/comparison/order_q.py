"""Whether stored diversities of order q scatter around the exact value as a Monte Carlo estimate should.

The authors draw N tuples of q texts with replacement, take the product of the similarities of the first text to the
other q − 1, and average: μ̂, whose expectation is the exact μ = 1/n Σ_i (1/n Σ_j K_ij)^{q−1}; the stored value is
μ̂^{1/(1−q)}. The draws are not seeded, so no value can be reproduced; but its distribution can be checked. The mean of
μ̂ − μ must be zero. Its variance is (m₂ − μ²)/N with m₂ = 1/n Σ_i (1/n Σ_j K_ij²)^{q−1}. And μ̂ = 0, stored as an
undefined value, has the probability (1 − p)^N with p = 1/n Σ_i (1/n Σ_j [K_ij > 0])^{q−1}. Variance and zeros
each imply a number of draws N.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modecollapse.analysis.bootstrap import Array
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from modecollapse.comparison.residuals import Assignment, mean_similarity
from modecollapse.comparison.stored_results import STORED, Kind, StoredMetric, Values

ALL = "all"
"""`stage` and `prompts` of rows that pool all models and prompt sets; their `order` is 0 where they pool all orders."""

MAX_DRAWS = 1e6


@dataclass(frozen=True)
class Moments:
    """What an estimate's distribution follows from; every array has one entry per set of completions."""

    mean: Array
    """μ, pairs of a text with itself included."""
    variance: Array
    """Of the product of one tuple."""
    hit: Array
    """p: the probability that the product of one tuple is not zero."""
    distinct_mean: Array
    """μ if a text were never compared with itself."""
    distinct_variance: Array


@dataclass(frozen=True)
class Sample:
    """Estimates μ̂ with the moments of their distributions."""

    found: Array
    moments: Moments

    @classmethod
    def pooled(cls, samples: Sequence["Sample"]) -> "Sample":
        """All of them in one."""
        fields = Moments.__dataclass_fields__
        joined = {name: np.concatenate([getattr(one.moments, name) for one in samples]) for name in fields}
        return cls(np.concatenate([one.found for one in samples]), Moments(**joined))

    def z(self, draws: float) -> Array:
        """Standardised errors of the estimates that can vary."""
        return _z(self.found, self.moments.mean, self.moments.variance, draws)

    def z_distinct(self, draws: float) -> Array:
        """The same, were a text never compared with itself."""
        return _z(self.found, self.moments.distinct_mean, self.moments.distinct_variance, draws)

    def draws_of_scatter(self) -> float:
        """Number of draws for which the squared errors have the expected sum; NaN without any error."""
        squares = float(((self.found - self.moments.mean) ** 2).sum())
        return float(self.moments.variance.sum()) / squares if squares > 0 else math.nan

    def draws_of_zeros(self) -> tuple[float, float, float]:
        """Maximum-likelihood number of draws from which estimates are zero, and its 95 % interval (Wald).

        NaN if all estimates or none are zero.
        """
        hit = self.moments.hit
        varies = (hit > 0) & (hit < 1)
        log_miss, zero = np.log1p(-hit[varies]), self.found[varies] == 0
        if zero.all() or not zero.any():
            return math.nan, math.nan, math.nan
        low, high = 1e-3, MAX_DRAWS
        while high / low > 1 + 1e-12:  # the score falls with the number of draws
            middle = math.sqrt(low * high)
            low, high = (middle, high) if _score(middle, log_miss, zero) > 0 else (low, middle)
        draws = math.sqrt(low * high)
        miss = np.exp(draws * log_miss)[~zero]
        information = float((log_miss[~zero] ** 2 * miss / (1 - miss) ** 2).sum())
        margin = 1.959964 / math.sqrt(information) if information > 0 else math.nan
        return draws, draws - margin, draws + margin


def kernel_moments(kernels: Sequence[Array], q: int) -> Moments:
    """Moments of the estimate of order `q` for each kernel (n, n) of similarities in [0, 1], n ≥ 2."""
    power = q - 1
    rows: list[tuple[float, ...]] = []
    for kernel in kernels:
        n, own = len(kernel), kernel.diagonal()
        squares = kernel**2
        mean = float((kernel.mean(axis=1) ** power).mean())
        second = float((squares.mean(axis=1) ** power).mean())
        distinct = float((((kernel.sum(axis=1) - own) / (n - 1)) ** power).mean())
        distinct_second = float((((squares.sum(axis=1) - own**2) / (n - 1)) ** power).mean())
        hit = float(((kernel > 0).mean(axis=1) ** power).mean())
        rows.append((mean, second - mean**2, hit, distinct, distinct_second - distinct**2))
    columns = np.array(rows).reshape(-1, 5).T
    return Moments(*columns)


def order_table(
    kernels: Mapping[Model, Mapping[str, Sequence[Array]]],
    stored: Mapping[Model, Values],
    assignments: Mapping[str, Assignment],
) -> pd.DataFrame:
    """How the stored diversities of order q (Jaccard kernel) scatter around the exact value.

    One row per model, prompt set and order, then rows of each size that pool all models and prompt sets. `z` values are
    standardised with the size's number of draws, as implied by the zeros of all its estimates (`draws`); so the mean of
    z tests bias and its SD, which should be 1, tests the variance independently of the zeros. `mean_z_distinct` is the
    mean of z if a text were never compared with itself.

    Args:
        kernels: per model and prompt set, the replica's Jaccard kernels of all cells: temperatures, then prompts.
        stored: the stored results.
        assignments: per size, what the keys were found to hold. Sizes without an entry have no rows.
    """
    entries = [entry for entry in STORED.values() if entry.kind is Kind.MONTE_CARLO]
    rows: list[dict[str, object]] = []
    for size, assignment in assignments.items():
        samples = {
            (model, prompts, entry.order): _sample(entry, assignment, prompts, stored[model], kernels[model][prompts])
            for model in kernels
            if model.size == size
            for prompts in kernels[model]
            for entry in entries
        }
        draws = Sample.pooled(list(samples.values())).draws_of_zeros()[0]
        for (model, prompts, order), sample in samples.items():
            rows.append(_row(size, model.seed, model.stage, prompts, order, sample, draws))
        for order in [entry.order for entry in entries]:
            pooled = Sample.pooled([sample for (_, _, of), sample in samples.items() if of == order])
            rows.append(_row(size, 0, ALL, ALL, order, pooled, draws))
        rows.append(_row(size, 0, ALL, ALL, 0, Sample.pooled(list(samples.values())), draws))
    return pd.DataFrame(rows, columns=SCHEMAS["order_q"].names)


def _sample(
    entry: StoredMetric, assignment: Assignment, prompts: str, stored: Values, kernels: Sequence[Array]
) -> Sample:
    key = next(key for key in stored if assignment.prompts(key, list(stored)) == prompts)
    return Sample(
        mean_similarity(entry, stored[key][entry.metric].ravel()),
        kernel_moments(kernels, entry.order),
    )


def _row(size: str, seed: int, stage: str, prompts: str, order: int, sample: Sample, draws: float) -> dict[str, object]:
    z, distinct = sample.z(draws), sample.z_distinct(draws)
    implied, low, high = sample.draws_of_zeros()
    return {
        **{"size": size, "seed": seed, "stage": stage, "prompts": prompts, "order": order, "n": len(sample.found)},
        "n_undefined": int((sample.found == 0).sum()),
        "expected_undefined": float(((1 - sample.moments.hit) ** draws).sum()),
        **{"draws": draws, "draws_zeros": implied, "draws_zeros_low": low, "draws_zeros_high": high},
        "draws_scatter": sample.draws_of_scatter(),
        **{"n_z": len(z), "mean_z": _mean(z), "se_z": 1 / math.sqrt(len(z)) if len(z) else math.nan},
        "sd_z": float(z.std(ddof=1)) if len(z) > 1 else math.nan,
        "mean_z_distinct": _mean(distinct),
    }


def _z(found: Array, mean: Array, variance: Array, draws: float) -> Array:
    varies = variance > 1e-15 * np.maximum(mean, 1e-300) ** 2
    return (found - mean)[varies] / np.sqrt(variance[varies] / draws)


def _score(draws: float, log_miss: Array, zero: NDArray[np.bool_]) -> float:
    """Derivative of the log-likelihood of which estimates are zero, in the number of draws."""
    miss = np.exp(draws * log_miss[~zero])
    return float(log_miss[zero].sum() - (log_miss[~zero] * miss / (1 - miss)).sum())


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else math.nan
