"""Reward models: how often they agree with the labels of pairs, and with the true utility where it is known.

Scores are only compared within a pair: those of answers to different prompts have no common scale, since training asks
for differences alone. Correlations therefore are between differences, of scores and of utilities, and every pair counts
in both orders: which of its answers was labelled better must not matter.

All quantities are ratios of sums over blocks of prompts, and the blocks are resampled (`analysis.blocks`).
"""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from modecollapse.analysis.blocks import block_sums, estimate_ratio, prompt_blocks, share
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.table_files import joined
from modecollapse.analysis.variance import Array
from modecollapse.cells import Model

ALL = "all"
BETTER = (ALL, "longer", "shorter")
"""Which pairs: all, those whose better answer has more tokens, those whose better answer has fewer."""

SHARES = ("accuracy", "contradicted", "utility_accuracy")
"""Quantities that are shares of pairs."""

CORRELATIONS = ("pearson", "spearman")
"""Those that are correlations of differences."""


def rewards_table(models: Mapping[Model, pd.DataFrame], bootstrap: Bootstrap) -> pd.DataFrame:
    """Rows of the table `rewards` for one reward stage of one size, whose models differ in their seed.

    `accuracy` is the share of pairs whose chosen answer has the higher score, and `contradicted` the rest: the share of
    labels that the model contradicts. A tie counts half. `utility_accuracy` is the share of pairs, of those whose
    utilities differ, in which the answer of the higher utility has the higher score; `pearson` and `spearman` are the
    correlations of the differences of scores with those of utilities.

    Args:
        models: what each gives to pairs (`methods.reward_file.SCHEMA`); pairs that a stage wrote differ by seed.
        bootstrap: how intervals are made: over seeds and blocks of prompts.
    """
    first = next(iter(models))
    parts = []
    for data in dict.fromkeys(name for frame in models.values() for name in frame["data"].unique()):
        frames = [frame[frame["data"] == data] for frame in models.values()]
        blocks = prompt_blocks(frame["prompt"].to_numpy() for frame in frames)
        tasks = sorted({task for frame in frames for task in frame["task"].dropna().unique()})
        rows: list[dict[str, object]] = []
        for task, better in itertools.product((ALL, *tasks), BETTER):
            subset = [part for frame in frames if len(part := frame[_chosen(frame, task, better)])]
            rows += [{**row, "task": task, "better": better} for row in _rows(subset, blocks, bootstrap)]
        parts.append(pd.DataFrame(rows).assign(size=first.size, stage=first.stage, data=data))
    return joined("rewards", parts)


def _chosen(frame: pd.DataFrame, task: str, better: str) -> NDArray[np.bool_]:
    """Which pairs belong to a subset."""
    difference = frame["chosen_tokens"] - frame["rejected_tokens"]
    of_length = {"longer": difference > 0, "shorter": difference < 0}.get(better, difference == difference)
    chosen: NDArray[np.bool_] = (of_length & ((frame["task"] == task) | (task == ALL))).to_numpy()
    return chosen


def _rows(
    frames: list[pd.DataFrame], blocks: Mapping[object, int], bootstrap: Bootstrap
) -> Iterator[dict[str, object]]:
    """One row for each quantity of one subset, of which every frame holds one seed's pairs."""
    for quantity in (*SHARES, *CORRELATIONS):
        counted = [part for frame in frames if len(part := frame[_counts(frame, quantity)])]
        if not counted or (quantity in CORRELATIONS and min(map(len, counted)) < 2):
            continue
        places = [np.array([blocks[prompt] for prompt in frame["prompt"].tolist()]) for frame in counted]
        sums = block_sums([_terms(frame, quantity) for frame in counted], places)
        prompts = len({prompt for frame in counted for prompt in frame["prompt"].tolist()})
        ties = [(_difference(frame, "score") == 0).sum() for frame in counted]
        of_shares = quantity in SHARES
        estimate = estimate_ratio(sums, share if of_shares else _correlation, bootstrap, prompts * of_shares)
        yield {
            "quantity": quantity,
            **estimate,
            "n_seeds": len(counted),
            "n_pairs": round(float(np.mean([len(frame) for frame in counted]))),
            **{"n_prompts": prompts, "n_ties": round(float(np.mean(ties)))},
        }


def _counts(frame: pd.DataFrame, quantity: str) -> NDArray[np.bool_]:
    """The pairs that a quantity is about: all, those whose utilities are known, or known and different."""
    utility = _difference(frame, "utility")
    if quantity in CORRELATIONS:
        return np.isfinite(utility)
    return np.isfinite(utility) & (utility != 0) if quantity == "utility_accuracy" else np.ones(len(frame), dtype=bool)


def _terms(frame: pd.DataFrame, quantity: str) -> Array:
    """What is summed over pairs, [pairs, terms]."""
    score, utility = _difference(frame, "score"), _difference(frame, "utility")
    if quantity in CORRELATIONS:
        transform = _signed_ranks if quantity == "spearman" else _as_they_are
        ours, true = transform(score), transform(utility)
        return np.stack([ours * true, ours**2, true**2], axis=-1)
    right = (np.sign(score) * (np.sign(utility) if quantity == "utility_accuracy" else 1.0) + 1) / 2
    return np.stack([1 - right if quantity == "contradicted" else right, np.ones(len(frame))], axis=-1)


def _difference(frame: pd.DataFrame, of: str) -> Array:
    """Chosen minus rejected, (pairs,)."""
    pair = (frame[f"{answer}_{of}"].to_numpy(dtype=np.float64) for answer in ("chosen", "rejected"))
    return np.subtract(*pair)


def _as_they_are(differences: Array) -> Array:
    return differences


def _signed_ranks(differences: Array) -> Array:
    """Ranks among the differences in both orders, (pairs,), centred: odd in the difference as it is."""
    n = len(differences)
    ranks: Array = rankdata(np.concatenate([differences, -differences]))[:n] - (n + 0.5)
    return ranks


def _correlation(sums: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation: Array = sums[..., 0] / np.sqrt(sums[..., 1] * sums[..., 2])
    return correlation
