"""Token-level metrics from the sums of `measures.tokens`, with bootstrap intervals over documents."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_UNITS = {
    "perplexity": "1",
    "entropy": "nats/token",
    "confidence": "probability",
    "bits_per_byte": "bits/byte",
    "kl": "nats/token",
    "vocabulary_share_70": "share of vocabulary",
    "vocabulary_share_90": "share of vocabulary",
}
_SUMS = ("n_tokens", "n_bytes", "nll", "entropy", "confidence", "kl")
# Resamples that are worked on at a time: bounds the memory, changes no result.
_RESAMPLES_AT_ONCE = 32
_LEVEL = 0.95


@dataclass(frozen=True)
class TokenMetric:
    """One metric of one model on all documents."""

    metric: str
    definition: str
    unit: str
    value: float
    low: float
    """Lower end of the 95 % percentile bootstrap interval."""
    high: float
    n_documents: int
    n_tokens: int


def token_summary(documents: pa.Table, vocabulary: pa.Table, seed: int, resamples: int) -> list[TokenMetric]:
    """The token-level metrics of one model.

    * perplexity: exp of the mean negative log-likelihood per token.
    * entropy (nats), confidence (probability of the most probable token), kl (nats): means over tokens.
    * bits_per_byte: negative log-likelihood in bits, over the bytes of the text.
    * vocabulary_share_70, _90: the smallest part of the vocabulary that holds 70 % (90 %) of the mean predicted
      distribution.

    Every mean is over tokens, not over documents. Intervals resample documents; for the vocabulary shares, blocks of
    documents. Models scored on the same documents are resampled alike, because the seed alone decides. Without a
    reference, kl and its interval are NaN.

    Args:
        documents: as returned by `measures.tokens.token_statistics`.
        vocabulary: likewise.
        seed: of the bootstrap.
        resamples: ≥ 1.
    """
    sums = np.stack([documents[name].to_numpy().astype(np.float64) for name in _SUMS], axis=1)
    estimates = np.concatenate(
        [
            _estimates(sums, _document_metrics, seed, resamples),
            _estimates(_masses(vocabulary), _vocabulary_shares, seed, resamples),
        ]
    )
    n_documents, n_tokens = len(sums), int(sums[:, 0].sum())
    return [
        TokenMetric(metric, "corrected", unit, float(value), float(low), float(high), n_documents, n_tokens)
        for (metric, unit), (value, low, high) in zip(_UNITS.items(), estimates, strict=True)
    ]


def vocabulary_cdf(vocabulary: pa.Table, points: int = 400) -> tuple[Floats, Floats]:
    """The mass of the most probable tokens of the mean predicted distribution.

    Returns:
        rank_share: part of the vocabulary, from 0 to 1; mass: part of the probability that it holds. Both ascending, at
        most `points` long: half of the points lie evenly along each axis.
    """
    mass = np.concatenate([[0.0], _cumulative(_masses(vocabulary).sum(0)[None])[0]])
    size = len(mass) - 1
    along_ranks = np.linspace(0, size, points // 2).round().astype(np.int64)
    along_mass = np.searchsorted(mass, np.linspace(0, 1, points - points // 2, endpoint=False))
    ranks = np.union1d(along_ranks, np.minimum(along_mass, size))
    return ranks / size, mass[ranks]


def _masses(vocabulary: pa.Table) -> Floats:
    """(blocks, vocabulary) sums of predicted probabilities."""
    lists = vocabulary["probability_sum"].combine_chunks()
    return lists.flatten().to_numpy().astype(np.float64).reshape(len(lists), -1)


def _cumulative(masses: Floats) -> Floats:
    """Rows of masses, sorted from the largest, added up and divided by their total."""
    cumulative = np.cumsum(-np.sort(-masses, axis=1), axis=1)
    return cumulative / cumulative[:, -1:]


def _document_metrics(totals: Floats) -> Floats:
    """(resamples, 5) metrics from (resamples, `_SUMS`) totals."""
    # A resample of empty documents has no value.
    with np.errstate(invalid="ignore", divide="ignore"):
        n_tokens, n_bytes, nll, entropy, confidence, kl = totals.T
        metrics = [np.exp(nll / n_tokens), entropy / n_tokens, confidence / n_tokens]
        return np.stack([*metrics, nll / np.log(2) / n_bytes, kl / n_tokens], axis=1)


def _vocabulary_shares(masses: Floats) -> Floats:
    """(resamples, 2) shares from (resamples, vocabulary) masses."""
    cumulative = _cumulative(masses)
    needed = [(cumulative < share).sum(1) + 1 for share in (0.7, 0.9)]
    return np.stack(needed, axis=1) / masses.shape[1]


def _estimates(sums: Floats, statistics: Callable[[Floats], Floats], seed: int, resamples: int) -> Floats:
    """(statistics, 3) values and ends of the bootstrap intervals of statistics of the totals of (units, quantities)."""
    values = statistics(sums.sum(0)[None])[0]
    draws = np.concatenate([statistics(counts @ sums) for counts in _resampled(len(sums), seed, resamples)])
    tail = (1 - _LEVEL) / 2
    low, high = (_quantiles(draws, level) for level in (tail, 1 - tail))
    return np.stack([values, low, high], axis=1)


def _quantiles(draws: Floats, level: float) -> Floats:
    """Quantile of every column, over the resamples that have a value."""
    columns = [column[~np.isnan(column)] for column in draws.T]
    return np.array([np.quantile(column, level) if len(column) else np.nan for column in columns])


def _resampled(units: int, seed: int, resamples: int) -> Iterator[Floats]:
    """How often each unit is drawn in each resample, in pieces of at most `_RESAMPLES_AT_ONCE` rows."""
    generator = np.random.default_rng(seed)
    chances = np.full(units, 1 / units)
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        rows = min(_RESAMPLES_AT_ONCE, resamples - start)
        yield generator.multinomial(units, chances, size=rows).astype(np.float64)
