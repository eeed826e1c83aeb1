"""Reward models: how often they agree with the labels of pairs, and with the true utility where it is known.

Scores are only compared within a pair: those of answers to different prompts have no common scale, since training asks
for differences alone. Correlations therefore are between differences, of scores and of utilities, and every pair counts
in both orders: which of its answers was labelled better must not matter.

All quantities are ratios of sums over blocks of prompts, and the blocks are resampled: pairs that share a prompt stay
together, and memory does not grow with the data (see `analysis.tokens`, which does the same with documents).
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import rankdata

from modecollapse.analysis.benchmarks import score_interval
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.table_files import joined
from modecollapse.analysis.tokens import Pooled
from modecollapse.analysis.variance import Array
from modecollapse.cells import Model

BLOCKS = 100
"""Blocks of prompts that are resampled, at most."""

ALL = "all"
BETTER = (ALL, "longer", "shorter")
"""Which pairs: all, those whose better answer has more tokens, those whose better answer has fewer."""

SHARES = ("accuracy", "contradicted", "utility_accuracy")
"""Quantities that are shares of pairs; the others are correlations."""


Ratio = Callable[[Array], Array]
"""From sums, [..., terms], to what they make, [...]."""


def rewards_table(models: Mapping[Model, pd.DataFrame], bootstrap: Bootstrap) -> pd.DataFrame:
    """Rows of the table `rewards` for one reward stage of one size, whose models differ in their seed.

    `accuracy` is the share of pairs whose chosen answer has the higher score, and `contradicted` the rest: the share of
    labels that the model contradicts. A tie counts half. `utility_accuracy` is the share of pairs, of those whose
    utilities differ, in which the answer of the higher utility has the higher score; `pearson` and `spearman` are the
    correlations of the differences of scores with those of utilities.

    Args:
        models: what each gives to pairs (`methods.reward_file.SCHEMA`); the same pairs for all.
        bootstrap: how intervals are made: over seeds and blocks of prompts.
    """
    first = next(iter(models))
    parts = []
    for data in dict.fromkeys(next(iter(models.values()))["data"]):
        frames = [frame[frame["data"] == data].reset_index(drop=True) for frame in models.values()]
        rows = [
            row
            for task, better, chosen in _subsets(frames[0])
            for row in _rows(frames, chosen, task, better, bootstrap)
        ]
        parts.append(pd.DataFrame(rows).assign(size=first.size, stage=first.stage, data=data, n_seeds=len(models)))
    return joined("rewards", parts)


def _subsets(frame: pd.DataFrame) -> Iterator[tuple[str, str, Array]]:
    """(task, better, which pairs) of every subset that has pairs."""
    difference = frame["chosen_tokens"] - frame["rejected_tokens"]
    lengths = dict(zip(BETTER, (np.ones(len(frame), dtype=bool), difference > 0, difference < 0), strict=True))
    for task in (ALL, *sorted(frame["task"].dropna().unique())):
        of_task = np.ones(len(frame), dtype=bool) if task == ALL else (frame["task"] == task).to_numpy()
        for better, of_length in lengths.items():
            chosen = of_task & np.asarray(of_length)
            if chosen.any():
                yield task, better, chosen


def _rows(
    frames: list[pd.DataFrame], chosen: Array, task: str, better: str, bootstrap: Bootstrap
) -> Iterator[dict[str, object]]:
    """One row for each quantity of one subset."""
    _, blocks = np.unique(frames[0]["prompt"].to_numpy(), return_inverse=True)
    blocks = blocks * min(BLOCKS, blocks.max() + 1) // (blocks.max() + 1)
    subset = [frame[chosen] for frame in frames]
    of_pairs, prompts = blocks[chosen], subset[0]["prompt"].to_numpy()
    scores = np.stack([_difference(frame, "score") for frame in subset])
    utility = _difference(subset[0], "utility")
    known, decided = np.isfinite(utility), np.isfinite(utility) & (utility != 0)
    right = (np.sign(scores) + 1) / 2
    agreed = (np.sign(scores) * np.sign(utility) + 1) / 2
    terms = {
        "accuracy": (right, np.ones(len(utility), dtype=bool)),
        "contradicted": (1 - right, np.ones(len(utility), dtype=bool)),
        "utility_accuracy": (agreed, decided),
    }
    for quantity, (values, counted) in terms.items():
        if counted.any():
            sums = _block_sums(np.stack([values, np.ones_like(values)], axis=-1)[:, counted], of_pairs[counted])
            yield {
                **_estimate(sums, _share, quantity, len(np.unique(prompts[counted])), bootstrap),
                **{"task": task, "better": better, "n_pairs": int(counted.sum())},
                **{"n_prompts": len(np.unique(prompts[counted])), "n_ties": _ties(scores[:, counted])},
            }
    for quantity, transform in (("pearson", _as_they_are), ("spearman", _signed_ranks)):
        if known.sum() > 1:
            ours, true = (np.stack([transform(row[known]) for row in rows]) for rows in (scores, utility[None]))
            products = np.stack(np.broadcast_arrays(ours * true, ours**2, true**2), axis=-1)
            sums = _block_sums(products, of_pairs[known])
            yield {
                **_estimate(sums, _correlation, quantity, len(np.unique(prompts[known])), bootstrap),
                **{"task": task, "better": better, "n_pairs": int(known.sum())},
                **{"n_prompts": len(np.unique(prompts[known])), "n_ties": _ties(scores[:, known])},
            }


def _difference(frame: pd.DataFrame, of: str) -> Array:
    """Chosen minus rejected, (pairs,)."""
    pair = (frame[f"{answer}_{of}"].to_numpy(dtype=np.float64) for answer in ("chosen", "rejected"))
    return np.subtract(*pair)


def _ties(scores: Array) -> int:
    """Pairs of equal scores, on average over seeds."""
    return round(float((scores == 0).sum(axis=1).mean()))


def _as_they_are(differences: Array) -> Array:
    return differences


def _signed_ranks(differences: Array) -> Array:
    """Ranks among the differences in both orders, (pairs,), centred: odd in the difference as it is."""
    n = len(differences)
    ranks: Array = rankdata(np.concatenate([differences, -differences]))[:n] - (n + 0.5)
    return ranks


def _block_sums(terms: Array, blocks: Array) -> Array:
    """Sums over the pairs of each block, [seeds, blocks, terms], of `terms` [seeds, pairs, terms]."""
    present, place = np.unique(blocks, return_inverse=True)
    sums = np.zeros((len(terms), len(present), terms.shape[-1]))
    for seed, of_seed in enumerate(terms):
        np.add.at(sums[seed], place, of_seed)
    return sums


def _share(sums: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Array = sums[..., 0] / sums[..., 1]
    return share


def _correlation(sums: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation: Array = sums[..., 0] / np.sqrt(sums[..., 1] * sums[..., 2])
    return correlation


def _estimate(sums: Array, ratio: Ratio, quantity: str, prompts: int, bootstrap: Bootstrap) -> dict[str, object]:
    """Value and interval of a ratio of sums over blocks, [seeds, blocks, terms]: its mean over seeds."""
    counts = bootstrap.counts("blocks of prompts", sums.shape[1])
    resampled = np.stack([ratio(counts @ of_seed) for of_seed in sums])
    pooled = Pooled(ratio(sums.sum(axis=1)), resampled, sums.shape[1])
    low, high = pooled.interval(bootstrap)
    if quantity in SHARES and low == high:  # all right or all wrong: resamples cannot tell how far from certain it is
        low, high = score_interval(pooled.value, prompts, float(ndtri((1 + bootstrap.level) / 2)))
    return {"quantity": quantity, "value": pooled.value, "low": low, "high": high}
