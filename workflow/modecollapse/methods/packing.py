"""Documents as one stream of tokens, cut into sequences of equal length."""

import logging
from collections.abc import Sequence

import numpy as np

logger = logging.getLogger(__name__)


def packed(documents: Sequence[Sequence[int]], eos: int, sequences: int, length: int, seed: int) -> np.ndarray:
    """Array (sequences, length + 1) of token ids; the last token of a row is the first of the next.

    The stream is end-of-text, then document after document, each followed by end-of-text, in a random order that
    `seed` decides; every further pass over the documents has an order of its own. A model that reads `row[:-1]` to
    predict `row[1:]` predicts every token of the stream once.
    """
    needed = sequences * length + 1
    ends = np.cumsum([len(document) + 1 for document in documents])
    flat = np.concatenate([np.asarray([*document, eos], dtype=np.int32) for document in documents])
    pieces = [np.asarray([eos], dtype=np.int32)]
    count, passes = 1, 0
    while count < needed:
        order = np.random.default_rng([seed, passes]).permutation(len(documents))
        pieces.extend(flat[ends[index] - len(documents[index]) - 1 : ends[index]] for index in order)
        count += len(flat)
        passes += 1
    logger.info("%d documents, %d tokens, %.2f passes", len(documents), len(flat), needed / len(flat))
    stream = np.concatenate(pieces)[:needed]
    return np.lib.stride_tricks.sliding_window_view(stream, length + 1)[::length]
