"""Our values beside the stored ones, under both assignments of a file's keys to the prompt sets.

A file says by its keys which prompts its values are of. Whether that is so is decided from numbers: the values of each
metric are compared as labelled and with the two keys exchanged, and the assignment with smaller residuals is chosen.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from modecollapse.analysis.bootstrap import Array
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from modecollapse.comparison.stored_results import STORED, Kind, StoredMetric, Values

TOLERANCE = 1e-6
"""Largest absolute difference of an exact metric. Stored values are float32, which rounds numbers near 25 by 1e-6."""


class Assignment(StrEnum):
    """Which prompt set a key's values belong to."""

    LABELLED = "as labelled"
    SWAPPED = "swapped"

    def prompts(self, key: str, keys: Sequence[str]) -> str:
        """The prompt set whose values stand under `key`; `keys` are both."""
        first, second = keys
        return key if self is Assignment.LABELLED else {first: second, second: first}[key]


class Verdict(StrEnum):
    """What the exact metrics say about the keys of all files of a size."""

    LABELLED = "as labelled"
    SWAPPED = "swapped"
    NEITHER = "neither"
    """Under each assignment some metric of some model is not within tolerance."""
    BOTH = "both"
    """All are within tolerance under either: the values do not tell the prompt sets apart."""

    @property
    def assignment(self) -> Assignment | None:
        """The assignment that is established; None if none is."""
        return Assignment(self.value) if self in (Verdict.LABELLED, Verdict.SWAPPED) else None


def our_values(
    scores: pd.DataFrame, words: int, temperatures: Sequence[str], prompts: Mapping[str, Sequence[str]]
) -> Values:
    """Scores of one model in the form of stored results: the replica where it differs from the corrected definition.

    NaN where a value is undefined. Metrics that were not measured are absent.
    """
    scores = scores[(scores["words"] == words) & scores["metric"].isin([entry.metric for entry in STORED.values()])]
    values: dict[str, dict[str, Array]] = {name: {} for name in prompts}
    for (prompt_set, name), part in scores.groupby(["prompts", "metric"], sort=False):
        definitions = set(part["definition"])
        part = part[part["definition"] == ("replica" if "replica" in definitions else "corrected")]
        grid = part.pivot(index="temperature", columns="prompt", values="value")
        ids = list(prompts[str(prompt_set)])
        values[str(prompt_set)][str(name)] = grid.reindex(index=list(temperatures), columns=ids).to_numpy()
    return values


def comparison_table(ours: Mapping[Model, Values], stored: Mapping[Model, Values]) -> pd.DataFrame:
    """One row per model, metric and assignment: how far the stored values lie from ours, over both prompt sets.

    Metrics that are not measured here have no row. Diversities of order q are compared as mean similarities
    μ = D^(1−q), where an undefined Monte Carlo estimate is μ = 0: no drawn tuple had any similarity. `chosen` is the
    assignment with the smaller mean residual (none if equal), `margin` by how much the other one's is larger.
    """
    rows: list[dict[str, Any]] = []
    for model, values in ours.items():
        for entry in STORED.values():
            if all(entry.metric in of_set for of_set in values.values()):
                rows += _metric_rows(model, entry, values, stored[model])
    return pd.DataFrame(rows, columns=SCHEMAS["comparison"].names)


def verdict(comparison: pd.DataFrame) -> Verdict:
    """What the exact metrics of all rows of `comparison` establish together; without such rows, nothing is."""
    exact = comparison[comparison["kind"] == Kind.EXACT]
    fits = [name for name in Assignment if len(exact) and _holds(exact, name)]
    if len(fits) == 1:
        return Verdict(fits[0].value)
    return Verdict.BOTH if fits else Verdict.NEITHER


def _holds(exact: pd.DataFrame, assignment: Assignment) -> bool:
    return bool(exact.loc[exact["assignment"] == assignment, "within"].astype(bool).all())


def _metric_rows(model: Model, entry: StoredMetric, ours: Values, stored: Values) -> list[dict[str, Any]]:
    rows = [_row(entry, assignment, ours, stored) for assignment in Assignment]
    residuals = [row["mean_difference"] for row in rows]
    for row, own, other in zip(rows, residuals, reversed(residuals), strict=True):
        row.update(size=model.size, seed=model.seed, stage=model.stage, metric=entry.metric, kind=entry.kind.value)
        row.update(chosen=bool(own < other), margin=other - own)
    return rows


def _row(entry: StoredMetric, assignment: Assignment, ours: Values, stored: Values) -> dict[str, Any]:
    keys = list(stored)
    expected = np.concatenate([ours[assignment.prompts(key, keys)][entry.metric].ravel() for key in keys])
    found = np.concatenate([stored[key][entry.metric].ravel() for key in keys])
    undefined, undefined_stored = ~np.isfinite(expected), ~np.isfinite(found)
    mismatches = int((undefined != undefined_stored).sum())
    if entry.order:
        expected, found = mean_similarity(entry, expected), mean_similarity(entry, found)
    both = np.isfinite(expected) & np.isfinite(found)
    difference = found[both] - expected[both]
    exact, largest = entry.kind is Kind.EXACT, float(np.abs(difference).max(initial=-math.inf))
    return {
        "assignment": assignment.value,
        "n": len(found),
        "n_undefined": int(undefined.sum()),
        "n_undefined_stored": int(undefined_stored.sum()),
        "n_undefined_mismatch": mismatches,
        "max_difference": largest if both.any() else math.nan,
        "mean_difference": float(np.abs(difference).mean()) if both.any() else math.nan,
        "bias": float(difference.mean()) if both.any() else math.nan,
        "correlation": _correlation(expected[both], found[both]),
        "tolerance": TOLERANCE if exact else math.nan,
        "within": bool(both.any() and largest <= TOLERANCE and not mismatches) if exact else None,
    }


def mean_similarity(entry: StoredMetric, diversity: Array) -> Array:
    """μ = D^(1−q) of a diversity of order q; undefined diversities are μ = 0 where similarities cannot be negative."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(np.isfinite(diversity), diversity, math.nan) ** (1 - entry.order)
    return np.where(np.isnan(mean), 0.0, mean) if entry.kind is Kind.MONTE_CARLO else mean


def _correlation(x: Array, y: Array) -> float:
    """Pearson's; NaN for fewer than two values or no variation."""
    if len(x) < 2 or x.std() == 0 or y.std() == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])
