"""Windows: stretches of documents that a model reads at once, in an order that wastes little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from modecollapse.measures.encoding import Ids

CHUNK_POSITIONS = 2**18
"""Positions whose windows are sorted by length together: sixteen of the default batches, so few are padded much."""


@dataclass(frozen=True)
class Window:
    """A stretch of one document: `inputs[i]` predicts `targets[i]`, which counts from position `first` on."""

    document: int
    inputs: Ids
    targets: Ids
    first: int


def windows(document: int, tokens: Sequence[int] | Ids, prefix: int, context: int) -> Iterator[Window]:
    """Windows of at most `context` positions that score every token of a document exactly once.

    The last window is drawn back so that it is full: what it repeats is context, and not scored.
    """
    sequence = np.empty(len(tokens) + 1, dtype=np.int32)
    sequence[0], sequence[1:] = prefix, tokens
    for scored in range(0, len(tokens), context):
        end = min(scored + context, len(tokens))
        start = max(0, end - context)
        yield Window(document, sequence[start:end], sequence[start + 1 : end + 1], scored - start)


def chunks(pieces: Iterator[Window]) -> Iterator[list[Window]]:
    """Windows in their order, in lists of `CHUNK_POSITIONS` positions, or of one window that has more."""
    chunk: list[Window] = []
    positions = 0
    for window in pieces:
        chunk.append(window)
        positions += len(window.inputs)
        if positions >= CHUNK_POSITIONS:
            yield chunk
            chunk, positions = [], 0
    if chunk:
        yield chunk


def batches(pieces: Sequence[Window], most: int) -> Iterator[list[Window]]:
    """Windows of similar length together, the longest first: what does not fit in memory fails at once.

    A batch has at most `most` positions, padding included, and at least one window.
    """
    batch: list[Window] = []
    for window in sorted(pieces, key=lambda window: (-len(window.inputs), window.document, window.first)):
        if batch and len(batch[0].inputs) * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
