"""Token-level statistics of one model with their resamples over blocks of documents."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modecollapse.analysis.bootstrap import Array, Bootstrap
from modecollapse.analysis.variance import combined

VOCABULARY_RESAMPLES = 1_000
"""Shares of the vocabulary use the first so many resamples: each of them sorts a whole vocabulary."""

UNITS: Mapping[str, str] = {
    "perplexity": "",
    "entropy": "nats/token",
    "confidence": "",
    "bits_per_byte": "bits/byte",
    "kl": "nats/token",
    "vocabulary_share_70": "",
    "vocabulary_share_90": "",
}
"""The token-level metrics, in the order of tables and figures, with their units."""

SHARES: Mapping[str, float] = {"vocabulary_share_70": 0.7, "vocabulary_share_90": 0.9}
"""The metrics that are shares of the vocabulary, with the mass that they hold."""


DOCUMENT_COLUMNS = ("group", "n_tokens", "n_bytes", "nll", "entropy", "confidence", "kl")
"""The columns of a table of documents that the statistics need."""

VOCABULARY_COLUMNS = ("definition", "group", "n_distributions", "probability_sum")
"""Those of a table of a vocabulary that some definition needs."""


@dataclass(frozen=True)
class TokenStatistics:
    """One model on the held-out documents, under one definition."""

    values: Mapping[str, float]
    resampled: Mapping[str, Array]
    """[resamples] per metric ([`VOCABULARY_RESAMPLES`] at most for vocabulary shares); NaN where none make sense."""
    groups: tuple[int, ...]
    """The blocks of documents that are resampled. Models with the same blocks are paired."""
    n_documents: int
    n_tokens: int
    definition: str = "corrected"

    def interval(self, metric: str, bootstrap: Bootstrap) -> tuple[float, float]:
        """NaN where there is only one block of documents."""
        return pool([self], metric).interval(bootstrap)


@dataclass(frozen=True)
class Pooled:
    """A token-level metric of the models of several seeds, or a change of it: its mean over seeds is the estimate."""

    values: Array
    """[seeds]"""
    resampled: Array
    """[seeds, resamples]: over the same blocks of documents for every seed."""
    groups: int
    """Blocks of documents."""

    @property
    def value(self) -> float:
        return float(self.values.mean())

    def combined(self, weights: Sequence[float], *others: "Pooled") -> "Pooled":
        """The weighted sum of this and `others`, resample by resample."""
        every = (self, *others)
        return Pooled(
            np.asarray(sum(weight * one.values for weight, one in zip(weights, every, strict=True))),
            np.asarray(sum(weight * one.resampled for weight, one in zip(weights, every, strict=True))),
            self.groups,
        )

    def interval(self, bootstrap: Bootstrap) -> tuple[float, float]:
        """Over seeds and blocks of documents, as wide as Student's t interval; NaN where there is one of each.

        NaN as well where a metric has no resamples.
        """
        seeds, resamples = self.resampled.shape
        if (seeds < 2 and self.groups < 2) or np.isnan(self.resampled).all():
            return math.nan, math.nan
        counts = bootstrap.counts("seeds", seeds)[:resamples]
        resampled = (self.resampled * counts.T).sum(axis=0) / seeds
        # Resamples of n blocks vary less than the blocks do by (n - 1) / n.
        unbiased = self.groups / (self.groups - 1) if self.groups > 1 else 0.0
        documents = unbiased * np.nanvar(self.resampled.mean(axis=0))
        rest = np.nanvar(self.resampled - self.resampled.mean(axis=0), axis=1).mean()
        spread = combined(
            np.array([self.values.var(ddof=1) / seeds if seeds > 1 else 0.0]),
            np.array([documents]),
            np.array([unbiased * rest / (seeds - 1) if seeds > 1 else 0.0]),
            (np.array([seeds - 1]), np.array([self.groups - 1]), np.array([(seeds - 1) * (self.groups - 1)])),
        )
        low, high = bootstrap.stretched(np.array([self.value]), resampled[None], spread)
        return float(low[0]), float(high[0])


def token_statistics(documents: pd.DataFrame, vocabulary: pd.DataFrame, bootstrap: Bootstrap) -> TokenStatistics:
    """Statistics from a model's `documents` and `vocabulary` tables.

    Sums over documents come before ratios, so every scored token counts once whatever its document's length:
    perplexity = exp(Σ nll / Σ tokens), bits per byte = Σ nll / (ln 2 · Σ bytes). A vocabulary share is the smallest
    fraction of the vocabulary, by falling mean predicted probability, that holds 70 % (90 %) of the mass; as it is
    concave in the distribution, its interval may lie a little below its value when there are few documents. `kl` is NaN
    where the documents' is.
    """
    names = ["n_tokens", "n_bytes", "nll", "entropy", "confidence", "kl"]
    groups, place = np.unique(documents["group"].to_numpy(), return_inverse=True)
    sums = np.zeros((len(groups), len(names)))
    np.add.at(sums, place, documents[names].to_numpy(dtype=np.float64))
    counts = bootstrap.counts("documents", len(groups))
    values = _ratios(sums.sum(axis=0, keepdims=True))
    resampled = _ratios(counts @ sums)
    probabilities = np.stack(_of_blocks(vocabulary))
    whole = vocabulary_shares(probabilities.sum(axis=0, keepdims=True), list(SHARES.values()))
    drawn = vocabulary_shares(counts[:VOCABULARY_RESAMPLES] @ probabilities, list(SHARES.values()))
    for column, name in enumerate(SHARES):
        values[name] = whole[:, column]
        resampled[name] = drawn[:, column]
    return TokenStatistics(
        values={name: float(values[name][0]) for name in UNITS},
        resampled={name: resampled[name] for name in UNITS},
        groups=tuple(int(group) for group in groups),
        n_documents=len(documents),
        n_tokens=int(documents["n_tokens"].sum()),
    )


def pool(statistics: Sequence[TokenStatistics], metric: str) -> Pooled:
    """`metric` of the models of several seeds, measured on the same blocks of documents."""
    return Pooled(
        np.array([one.values[metric] for one in statistics]),
        np.stack([one.resampled[metric] for one in statistics]),
        len(statistics[0].groups),
    )


def vocabulary_shares(mass: Array, shares: Sequence[float]) -> Array:
    """For each row of `mass` [rows, V], the fraction of V needed for each share of its sum, [rows, shares]."""
    cumulative = by_falling_mass(mass)
    needed = [(cumulative < share).sum(axis=1) + 1 for share in shares]
    return np.minimum(np.stack(needed, axis=1) / mass.shape[1], 1.0)


def vocabulary_cdf(vocabulary: pd.DataFrame, points: int) -> tuple[Array, Array]:
    """(rank share, mass): the corrected cumulative mean predicted probability by rank, at `points` ranks at most.

    Ranks are spread evenly in their logarithm, first and last included, because most of the mass is in few tokens.
    """
    total = np.sum(_of_blocks(vocabulary), axis=0)
    cumulative = by_falling_mass(total[None])[0]
    ranks = _thinned(len(cumulative), points)
    return ranks / len(cumulative), cumulative[ranks - 1]


def _of_blocks(vocabulary: pd.DataFrame) -> list[Array]:
    """The sums of the predicted distributions of each block, [V] each, in the order of blocks."""
    blocks = vocabulary[vocabulary["definition"] == "corrected"].sort_values("group")
    return [np.asarray(row, dtype=np.float64) for row in blocks["probability_sum"]]


def _thinned(size: int, points: int) -> NDArray[np.int64]:
    if size <= points:
        return np.arange(1, size + 1)
    return np.unique(np.round(np.geomspace(1, size, points)).astype(np.int64))


def by_falling_mass(mass: Array) -> Array:
    """The cumulative shares of each row of `mass` [rows, V], its largest entries first."""
    ordered = -np.sort(-mass, axis=1)
    cumulative = np.cumsum(ordered, axis=1)
    return np.asarray(cumulative / cumulative[:, -1:])


def _ratios(sums: Array) -> dict[str, Array]:
    tokens, size, nll, entropy, confidence, kl = sums.T
    # A resample of empty documents only has no value.
    with np.errstate(invalid="ignore"):
        return {
            "perplexity": np.exp(nll / tokens),
            "entropy": entropy / tokens,
            "confidence": confidence / tokens,
            "bits_per_byte": nll / (math.log(2) * size),
            "kl": kl / tokens,
        }
