"""Token-level statistics as O'Mahony et al. (2024) computed them, for comparison with their Tables 1 and 2.

What differs from the corrected definitions of `modecollapse.analysis.tokens`: entropy is that of the first document;
entropy, confidence and mean probabilities are over all positions of a window, so what a drawn-back window repeats
counts twice; confidence is a mean of document means; mean probabilities are means of windows, without the documents
after the last one that was kept (see `modecollapse.measures.tokens`); a vocabulary share is one token short. Documents
without tokens are passed over. Perplexity is the same.

Two differences are left out: their sums are in float32 (ours in float64), and before the logarithm they replace a
probability of zero by 1e-9, which adds at most 2.1e-8 nats per entry of the vocabulary.
"""

import math

import numpy as np
import pandas as pd

from modecollapse.analysis.bootstrap import Array, Bootstrap
from modecollapse.analysis.tokens import SHARES, TokenStatistics, by_falling_mass

REPLICA_COLUMNS = ("document", "n_positions", "window_entropy", "window_confidence", "group", "nll", "n_tokens")
"""The columns of a table of documents that it needs."""


def replica_statistics(documents: pd.DataFrame, vocabulary: pd.DataFrame, bootstrap: Bootstrap) -> TokenStatistics:
    """Statistics from a model's `documents` and `vocabulary` tables, in the file's order of documents.

    Perplexity and confidence are resampled over blocks of documents. Entropy knows one document, and which documents
    the mean probabilities hold depends on their places in the file, so neither has an interval (NaN). A value is NaN
    where no document has tokens, and a share where none was kept.
    """
    told = documents[documents["n_positions"] > 0].sort_values("document")
    groups, place = np.unique(documents["group"].to_numpy(), return_inverse=True)
    confidence = (documents["window_confidence"] / documents["n_positions"]).to_numpy(dtype=np.float64)
    columns = [documents["nll"], documents["n_tokens"], np.nan_to_num(confidence), documents["n_positions"] > 0]
    sums = np.zeros((len(groups), len(columns)))
    np.add.at(sums, place, np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1))
    values = _means(sums.sum(axis=0, keepdims=True))
    resampled = _means(bootstrap.counts("documents", len(groups)) @ sums)
    unknown = np.full(bootstrap.resamples, np.nan)
    first = told.iloc[0] if len(told) else None
    single = {
        "entropy": math.nan if first is None else first["window_entropy"] / first["n_positions"],
        **_shares(vocabulary),
    }
    order = ["perplexity", "entropy", "confidence", *SHARES]
    every = {**{name: float(value[0]) for name, value in values.items()}, **single}
    return TokenStatistics(
        values={name: float(every[name]) for name in order},
        resampled={name: resampled.get(name, unknown) for name in order},
        groups=tuple(int(group) for group in groups),
        n_documents=len(documents),
        n_tokens=int(documents["n_tokens"].sum()),
        definition="replica",
    )


def _means(sums: Array) -> dict[str, Array]:
    nll, tokens, confidence, documents = sums.T
    with np.errstate(invalid="ignore"):
        return {"perplexity": np.exp(nll / tokens), "confidence": confidence / documents}


def _shares(vocabulary: pd.DataFrame) -> dict[str, float]:
    """The number of ranks before the cumulative mass exceeds 70 % (90 %), as a fraction of the vocabulary."""
    [row] = vocabulary[vocabulary["definition"] == "replica"].to_dict("records")
    if row["n_distributions"] == 0:
        return dict.fromkeys(SHARES, math.nan)
    cumulative = by_falling_mass(np.asarray(row["probability_sum"], dtype=np.float64)[None])[0]
    return {name: float((cumulative <= share).sum() / len(cumulative)) for name, share in SHARES.items()}
