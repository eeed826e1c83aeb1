"""Mean token entropy of sampled completions, estimated from the log-probabilities of the sampled tokens."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from modecollapse.measures.diversity import SCHEMA

NAME = "token_entropy"


def entropy_scores(log_probs: Mapping[str, Sequence[Sequence[float] | None]]) -> pa.Table:
    """Scores of one cell, one row per prompt, as those of `measures.diversity` (whole completions, "corrected").

    Args:
        log_probs: by prompt, each completion's log-probabilities (nats) of its tokens under the distribution they were
            drawn from; None where unknown.

    Returns:
        No rows if no completion has log-probabilities: finished completions come without.
    """
    rows = []
    for prompt, completions in log_probs.items():
        known = [np.asarray(each, dtype=np.float64) for each in completions if each is not None]
        if known:
            rows.append((prompt, 0, NAME, "corrected", *mean_entropy(known), len(known)))
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def mean_entropy(log_probs: Sequence[np.ndarray]) -> tuple[float, float]:
    """Nats per token and its standard error, from each completion's log-probabilities.

    The mean of -log p over all sampled tokens: given what came before, the expectation of -log p of a token drawn from
    p is the entropy of p. The temperature and the cuts of top-k and top-p are part of p. Every token counts once, so
    long completions weigh more. The standard error is the jackknife's over completions (of a ratio of sums); NaN with
    fewer than two, or if one of them has all the tokens. Both are NaN if there is no token.
    """
    sums = np.array([-each.sum() for each in log_probs])
    tokens = np.array([each.size for each in log_probs])
    n = len(sums)
    if tokens.sum() == 0:
        return math.nan, math.nan
    value = float(sums.sum() / tokens.sum())
    left = tokens.sum() - tokens
    if n < 2 or (left == 0).any():
        return value, math.nan
    without = (sums.sum() - sums) / left
    return value, float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
