"""The order of training examples: decided here, before training, from the seed alone."""

from collections.abc import Sequence

import numpy as np

_BATCHES_PER_POOL = 32


def training_order(lengths: Sequence[int], epochs: int, batch_size: int, seed: int, group_by_length: bool) -> list[int]:
    """Indices of examples in the order of training, all epochs one after the other.

    Every epoch is a permutation of its own. With `group_by_length`, each run of 32 batches is sorted by length (ties by
    index) and its batches are shuffled again, so a batch holds similar lengths while short and long still alternate.
    """
    indices: list[int] = []
    for epoch in range(epochs):
        generator = np.random.default_rng([seed, epoch])
        order = generator.permutation(len(lengths))
        if group_by_length:
            order = _grouped(order, np.asarray(lengths), batch_size, generator)
        indices.extend(order.tolist())
    return indices


def updates(examples: int, batch_size: int) -> list[range]:
    """Places in the order of training, update by update; only the last one may be smaller."""
    return [range(start, min(start + batch_size, examples)) for start in range(0, examples, batch_size)]


def epoch_batches(examples: int, epochs: int, batch_size: int) -> list[range]:
    """Places in the order of training, update by update, where no update spans two epochs.

    The last update of an epoch holds what is left of it, so that the model after k epochs is that of a run of k epochs.
    """
    return [
        range(start, min(start + batch_size, (epoch + 1) * examples))
        for epoch in range(epochs)
        for start in range(epoch * examples, (epoch + 1) * examples, batch_size)
    ]


def _grouped(order: np.ndarray, lengths: np.ndarray, batch_size: int, generator: np.random.Generator) -> np.ndarray:
    whole = len(order) // batch_size * batch_size
    parts = []
    for start in range(0, whole, batch_size * _BATCHES_PER_POOL):
        pool = order[start : min(start + batch_size * _BATCHES_PER_POOL, whole)]
        pool = pool[np.lexsort((pool, lengths[pool]))]
        batches = pool.reshape(-1, batch_size)
        parts.append(batches[generator.permutation(len(batches))].ravel())
    # What does not fill a batch stays at the end, in its random order.
    return np.concatenate([*parts, order[whole:]])
