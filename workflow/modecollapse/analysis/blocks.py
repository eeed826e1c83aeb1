"""Ratios of sums over blocks of prompts, and their intervals over seeds and blocks.

What shares a prompt stays together, and memory does not grow with the data (see `analysis.tokens`, which does the same
with documents).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from modecollapse.analysis.benchmarks import score_interval
from modecollapse.analysis.bootstrap import Bootstrap, within
from modecollapse.analysis.tokens import Pooled
from modecollapse.analysis.variance import Array

BLOCKS = 100
"""Blocks of prompts that are resampled, at most."""

Ratio = Callable[[Array], Array]
"""From sums, [..., terms], to what they make, [...]; NaN where it is not defined."""


def prompt_blocks(prompts: Iterable[NDArray[np.generic]]) -> Mapping[object, int]:
    """Prompt → its block, the same for all seeds, given the prompts of each."""
    distinct = np.unique(np.concatenate(list(prompts)))
    number = min(BLOCKS, len(distinct))
    return {prompt: place * number // len(distinct) for place, prompt in enumerate(distinct.tolist())}


def block_sums(terms: Sequence[Array], blocks: Sequence[Array]) -> Array:
    """Sums over the rows of each block that has any, [seeds, blocks, terms].

    Args:
        terms: of each seed, [rows, terms].
        blocks: the block of each of its rows.
    """
    present = np.unique(np.concatenate(blocks))
    sums = np.zeros((len(terms), len(present), terms[0].shape[-1]))
    for of_seed, values, places in zip(sums, terms, blocks, strict=True):
        np.add.at(of_seed, np.searchsorted(present, places), values)
    return sums


def share(sums: Array) -> Array:
    """The first sum per second."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Array = sums[..., 0] / sums[..., 1]
    return value


def estimate_ratio(sums: Array, ratio: Ratio, bootstrap: Bootstrap, prompts: int | None = None) -> dict[str, float]:
    """Value and interval of a ratio of sums over blocks, [seeds, blocks, terms]: its mean over seeds.

    Intervals end at the largest and smallest value that the ratio can have: 0 and 1 of a share, else −1 and 1.

    Args:
        ratio: a share, a correlation, or an agreement beyond chance.
        prompts: of a share, how many prompts it is over: where resamples are all alike, its interval is a score one.
    """
    counts = bootstrap.counts("blocks of prompts", sums.shape[1])
    resampled = np.stack([ratio(counts @ of_seed) for of_seed in sums])
    pooled = Pooled(ratio(sums.sum(axis=1)), resampled, sums.shape[1])
    low, high = pooled.interval(bootstrap)
    if prompts and low == high:  # all right or all wrong: resamples cannot tell how far from certain it is
        low, high = score_interval(pooled.value, prompts, float(ndtri((1 + bootstrap.level) / 2)))
    low, high = within(low, high, least=0.0 if prompts else -1.0)
    return {"value": pooled.value, "low": low, "high": high}
