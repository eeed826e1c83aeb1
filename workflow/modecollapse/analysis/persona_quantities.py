"""Quantities of one model's personas, with intervals over its outputs; and tests of two models against each other."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import levene, mannwhitneyu

from modecollapse.analysis.benchmarks import score_interval
from modecollapse.analysis.variance import Array
from modecollapse.digests import canonical
from modecollapse.metrics import categories
from modecollapse.metrics.categories import NORMAL, Counts, Estimated

FAILURES, MISSING = "failures", "missing"
"""Share of outputs without a persona; share of the personas that lack a field, of those that were read."""

RESAMPLES = 1000
"""Draws of the standard error of a statistic at most: it is then known to 2 %."""

OF_REVIEWS = ("words", "characters", "polarity")
"""What is known of each review; as a quantity its mean, and with `_sd` its standard deviation."""

Key = tuple[str, str]
"""A field, "" for the whole output, and a quantity of it."""


@dataclass(frozen=True)
class Quantities:
    """What was found of one model."""

    values: Mapping[Key, Estimated]
    n: Mapping[Key, int]
    """Outputs, values or reviews that it is of."""
    counts: Mapping[str, Counts] = field(default_factory=dict)
    """Field → how often each of its values in this size occurs."""
    numbers: Mapping[Key, Array] = field(default_factory=dict)
    """The numbers of which a quantity is the mean."""


def quantities(
    outputs: pd.DataFrame,
    answers: pd.DataFrame,
    clusters: pd.DataFrame,
    fields: Mapping[str, str],
    kinds: Mapping[str, pd.Index],
    review: str | None,
    stream: tuple[object, ...],
    resamples: int,
) -> Quantities:
    """Everything of one model.

    Args:
        outputs: its rows of `measures.persona_outputs.READ`.
        answers: those of `ANSWERS`, values as they are counted.
        clusters: those of `CLUSTERS`.
        fields: field → `name`, `category` or `number`.
        kinds: field → its values in all models that this one is compared with.
        review: the field that is a text.
        stream: names the stream of the bootstrap's draws.
        resamples: draws of each field's statistics.
    """
    values: dict[Key, Estimated] = {("", FAILURES): share(~outputs["parsed"].to_numpy(dtype=bool))}
    n: dict[Key, int] = {("", FAILURES): len(outputs)}
    counts: dict[str, Counts] = {}
    numbers: dict[Key, Array] = {}
    for name, kind in fields.items():
        given = answers.loc[answers["field"] == name, "value"]
        values[name, MISSING], n[name, MISSING] = share(given.isna().to_numpy()), len(given)
        present = given.dropna()
        counts[name] = np.bincount(kinds[name].get_indexer(pd.Index(present)), minlength=len(kinds[name])).astype(
            np.int64
        )
        for statistic, found in categories.estimates(counts[name], generator(*stream, name), resamples).items():
            values[name, statistic], n[name, statistic] = found, len(present)
        if kind == "number":
            numbers[name, "mean"] = present.to_numpy().astype(np.float64)
    if review is not None:
        for quantity in OF_REVIEWS:
            numbers[review, quantity] = outputs[quantity].dropna().to_numpy(dtype=np.float64)
        for quantity, value in zip(clusters["quantity"], clusters["value"], strict=True):
            values[review, quantity] = Estimated(float(value), math.nan, math.nan, math.nan)
            n[review, quantity] = int(outputs["words"].notna().sum())
    for (name, quantity), sample in numbers.items():
        drawn = generator(*stream, name, quantity)
        for key, spread in (((name, quantity), False), ((name, sd_of(quantity)), True)):
            values[key], n[key] = moment(sample, spread, drawn), len(sample)
    return Quantities(values, n, counts, numbers)


def sd_of(quantity: str) -> str:
    """What the standard deviation is called that belongs to a mean."""
    return "sd" if quantity == "mean" else f"{quantity}_sd"


def share(flags: np.ndarray) -> Estimated:
    """The share of true `flags` [n] with Wilson's interval; NaN without any."""
    if not len(flags):
        return Estimated(math.nan, math.nan, math.nan, math.nan)
    value = float(flags.mean())
    low, high = score_interval(value, len(flags), NORMAL)
    return Estimated(value, math.sqrt(value * (1 - value) / len(flags)), max(0.0, low), min(1.0, high))


def moment(sample: Array, spread: bool, drawn: np.random.Generator) -> Estimated:
    """The mean of a sample, or with `spread` its standard deviation (n − 1); errors are those of bootstrap samples.

    No value: NaN. A single one has no deviation, and its mean no interval.
    """
    if len(sample) < 2:
        return Estimated(math.nan if spread or not len(sample) else float(sample[0]), math.nan, math.nan, math.nan)
    resampled = sample[drawn.integers(len(sample), size=(RESAMPLES, len(sample)))]
    value = float(sample.std(ddof=1) if spread else sample.mean())
    error = float((resampled.std(axis=1, ddof=1) if spread else resampled.mean(axis=1)).std(ddof=1))
    least = 0.0 if spread else -math.inf
    return Estimated(value, error, max(value - NORMAL * error, least), value + NORMAL * error)


def pooled(estimates: list[Estimated]) -> Estimated:
    """The mean over independent models.

    Its interval is ``mean − √(Σ (value − low)²) / m`` and the like upwards (Zou & Donner 2008), which keeps within what
    is possible; of one model its own. Undefined values are left out.
    """
    known = [each for each in estimates if not math.isnan(each.value)]
    if not known:
        return Estimated(math.nan, math.nan, math.nan, math.nan)
    m = len(known)
    value = sum(each.value for each in known) / m
    error = math.sqrt(sum(each.error**2 for each in known)) / m
    low = value - math.sqrt(sum((each.value - each.low) ** 2 for each in known)) / m
    high = value + math.sqrt(sum((each.high - each.value) ** 2 for each in known)) / m
    return Estimated(value, error, low, high)


def test_of(
    key: Key, pairs: list[tuple[Quantities, Quantities]], drawn: np.random.Generator, resamples: int
) -> tuple[str | None, float]:
    """(name of the test, p) of a difference between two stages, over `pairs` of their models of the same seeds.

    Entropies: permutation within each pair. Means: Mann and Whitney's test; standard deviations: Brown and Forsythe's;
    both of the numbers of all pairs together. Other quantities are not tested.
    """
    name, quantity = key
    if quantity == "entropy":
        own, before = (np.stack([pair[side].counts[name] for pair in pairs]) for side in (0, 1))
        return "permutation", categories.entropy_difference_p(own, before, drawn, resamples)
    for tested, p_of, of_name in (
        (quantity, location_p, "mann-whitney"),
        (next((mean for _, mean in pairs[0][0].numbers if sd_of(mean) == quantity), ""), spread_p, "brown-forsythe"),
    ):
        if (name, tested) in pairs[0][0].numbers:
            first, second = (np.concatenate([pair[side].numbers[name, tested] for pair in pairs]) for side in (0, 1))
            return of_name, p_of(first, second)
    return None, math.nan


def location_p(first: Array, second: Array) -> float:
    """Two-sided p of Mann and Whitney's test; 1 if all numbers are the same, NaN with fewer than two in a sample."""
    if min(len(first), len(second)) < 2:
        return math.nan
    if np.ptp(np.concatenate([first, second])) == 0:
        return 1.0
    return float(mannwhitneyu(first, second, alternative="two-sided").pvalue)


def spread_p(first: Array, second: Array) -> float:
    """p of Brown and Forsythe's (1974) test of equal spread: Levene's with medians.

    NaN with fewer than two numbers in a sample, or where the distances to the medians vary in neither: the statistic is
    not defined then; 1 if they are all equal.
    """
    if min(len(first), len(second)) < 2:
        return math.nan
    distances = [np.abs(each - np.median(each)) for each in (first, second)]
    if all(np.allclose(each, each[0]) for each in distances):
        return 1.0 if np.isclose(distances[0][0], distances[1][0]) else math.nan
    return float(levene(first, second, center="median").pvalue)


def true_values(truth: Mapping[str, float] | None) -> dict[str, float]:
    """Quantity → its value in a population with these probabilities; nothing if they are not known.

    Entropy in bits, the number of kinds, the effective number ``2**H``, and of numbers their mean and standard
    deviation.
    """
    possible = {value: probability for value, probability in (truth or {}).items() if probability > 0}
    if not possible:
        return {}
    shares = np.array(list(possible.values())) / sum(possible.values())
    entropy = float(-(shares * np.log2(shares)).sum())
    found = dict.fromkeys(("entropy", "entropy_plugin"), entropy) | {"effective": 2**entropy}
    found |= dict.fromkeys(("support", "support_chao1"), float(len(shares)))
    try:
        numbers = np.array([float(value) for value in possible])
    except ValueError:
        return found
    mean = float(shares @ numbers)
    return {**found, "mean": mean, "sd": math.sqrt(float(shares @ (numbers - mean) ** 2))}


def generator(*key: object) -> np.random.Generator:
    """A stream of its own for each key, the same in every study that has it."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(canonical(list(key)).encode()).digest()[:8]))
