"""Standard errors over the completions of one prompt: how far a score would move with other completions."""

import math
from collections.abc import Callable, Sequence

from modecollapse.metrics.sample import GROUPS, Sample

FEWEST = 10
"""Completions below which no standard error is given: two per group."""


def jackknife_error(statistic: Callable[[Sample], float], sample: Sample, *, grows: bool = False) -> float:
    """Delete-a-group jackknife standard error of a statistic (Shao & Wu 1989), in its unit; range [0, ∞).

    ``se² = (g − 1)/g Σ_j (θ_(j) − mean θ_(·))²`` with θ_(j) the statistic without group j, for g = 5 groups of equal
    size, text i in group i mod 5. Up to four texts at the end stay out, so that groups are equal, and se² is scaled by
    the share of texts in groups. With 4 degrees of freedom one se is rough (± a third): pool it over prompts.

    A statistic that `grows` with the number of texts, such as a number of clusters, is smaller without a group, and so
    is its spread: se is then multiplied by θ / mean θ_(·), as if the logarithm had been taken.

    Fewer than 10 texts, or a statistic that is undefined without one of the groups: NaN. Identical texts: 0.
    """
    number = len(sample.texts)
    if number < FEWEST:
        return math.nan
    values = [statistic(part) for part in sample.without_groups]
    mean = math.fsum(values) / GROUPS
    variance = (GROUPS - 1) / GROUPS * math.fsum((value - mean) ** 2 for value in values)
    error = math.sqrt(variance * (number // GROUPS * GROUPS) / number)
    return error * statistic(sample) / mean if grows else error


def mean_error(values: Sequence[float]) -> float:
    """Standard error of the mean of independent values: standard deviation (n − 1) / √n. Fewer than 10: NaN."""
    number = len(values)
    if number < FEWEST:
        return math.nan
    mean = math.fsum(values) / number
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (number - 1) / number)
