"""Features of answers as arrays over items, and the differences between the answers to the same item."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modecollapse.analysis.variance import Array
from modecollapse.measures.text_features import PAIRS

_SAME = 1e-12
"""Values closer than this (times the larger) are the same."""


@dataclass(frozen=True)
class Values:
    """The answers of one role: of each item the mean over its samples, undefined ones left out."""

    features: Array
    """[features, seeds, items]; NaN where undefined."""
    words: Array
    """[seeds, items]; NaN where there is no answer."""

    def first(self) -> "Values":
        """Those of the first seed."""
        return Values(self.features[:, :1], self.words[:1])

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which items have an answer of some seed, [items]."""
        return np.asarray((~np.isnan(self.words)).any(axis=0), dtype=np.bool_)


@dataclass(frozen=True)
class Split:
    """Items that answers are compared on."""

    kind: str
    name: str
    """Of pairs "train" or "validation", of prompts their set."""
    items: pd.Index
    """Sorted, so that a resample does not depend on the order in the files."""
    data: Mapping[str, Values]
    """"chosen" and "rejected"; nothing for prompts."""


def values_of(seeds: Iterable[pd.DataFrame], features: Sequence[str], items: pd.Index) -> Values:
    """Values from the rows of each seed, in the columns of the files of features."""
    columns = [*features, "words"]
    means = [rows.groupby("item", sort=False)[columns].mean().reindex(items) for rows in seeds]
    found = np.stack([frame.to_numpy(dtype=np.float64).T for frame in means], axis=1)
    return Values(found[:-1], found[-1])


def pair_splits(pairs: Mapping[str, pd.DataFrame], features: Sequence[str]) -> dict[str, Split]:
    """The splits of pairs by the data set that they are; those without rows are none.

    Raises:
        ValueError: the rows of a split are of several data sets, or a data set is two splits.
    """
    found: dict[str, Split] = {}
    for name, rows in pairs.items():
        if rows.empty:
            continue
        sets = list(dict.fromkeys(rows["set"]))
        if len(sets) > 1 or sets[0] in found:
            raise ValueError(f"the split {name!r} must be a data set of its own, but is of {', '.join(map(str, sets))}")
        items = pd.Index(np.unique(rows["item"].astype(str).to_numpy(dtype=object)))
        data = {role: values_of([rows[rows["role"] == role]], features, items) for role in ("chosen", "rejected")}
        found[str(sets[0])] = Split(PAIRS, name, items, data)
    return found


def differences(after: Values, before: Values) -> Array:
    """after − before, [features, seeds, items]; 0 where they differ by the rounding of floats only."""
    difference = after.features - before.features
    larger = np.fmax(np.abs(after.features), np.abs(before.features))
    return np.where(np.abs(difference) <= _SAME * larger, 0.0, difference)


def over_seeds(values: Array) -> Array:
    """The mean over the middle axis, what is undefined left out: [features, seeds, items] to [features, items]."""
    return mean_of(values, axis=1)


def mean_of(values: Array, axis: int | tuple[int, ...]) -> Array:
    """The mean of what is defined along some axes; NaN where nothing is."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore", over="ignore"):
        mean: Array = np.where(defined, values, 0.0).sum(axis=axis) / defined.sum(axis=axis)
    return mean
