"""Paired tests between stages: is a metric's change the same chance either way for every prompt?

The unit is the prompt: values are averaged over training seeds first. The tests speak of the trained models at hand,
for prompts like these; they know nothing of how other training runs would have turned out. `attribution` does.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr
from scipy.stats import rankdata

from modecollapse.analysis.attribution import TOTAL, PathChanges, block_changes
from modecollapse.analysis.grid import blocks
from modecollapse.analysis.table_files import joined
from modecollapse.analysis.variance import Array
from modecollapse.wordings import Across

EXACT_UNTIL = 50
"""Differences other than zero up to which p-values are exact; beyond, the normal approximation is."""

_SAME = 1e-12
"""Differences closer than this (times the largest, if that is above 1) are the same: sums of floats are not exact."""

FAMILY = ["size", "prompts", "format", "temperature", "words", "definition", "path"]
"""The rows with equal values here are one family: every metric and every step of one table that a reader looks at."""


def tests_table(scores: Iterable[pd.DataFrame], paths: Sequence[Sequence[str]], across: Across) -> pd.DataFrame:
    """Tests and effect sizes of every step and total of every path, compared as in `attribution_table`.

    Raises:
        StudyError: stages of a path were measured under different prompt formats only.
    """
    return joined("tests", tests_parts(scores, paths, across))


def tests_parts(
    scores: Iterable[pd.DataFrame], paths: Sequence[Sequence[str]], across: Across
) -> Iterator[pd.DataFrame]:
    """The rows of `tests_table`, a few at a time. Of the scores it needs no more than `VALUE_COLUMNS`."""
    for block in blocks(scores):
        for changed in block_changes(block, paths, across):
            yield _adjusted(_rows(changed))


def _adjusted(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds each row's family, its size and the adjusted p; families lie within the rows of one block and path."""
    p, steps, adjusted = frame["p"].to_numpy(), frame["step"].to_numpy(), np.full(len(frame), np.nan)
    names, sizes = np.empty(len(frame), dtype=object), np.zeros(len(frame), dtype=np.int64)
    for members in frame.groupby(FAMILY, sort=False).indices.values():
        first = frame.iloc[members[0]]
        adjusted[members], sizes[members] = holm_of_path(p[members], steps[members], first["path"])
        names[members] = (
            f"{first['size']}/{first['prompts']}/{first['format']}/T {first['temperature']}/{first['words']} words/"
            f"{first['definition']}/{first['path']}"
        )
    return frame.assign(p_holm=adjusted, family=names, n_family=sizes)


def _rows(changed: PathChanges) -> pd.DataFrame:
    defined = ~np.isnan(changed.steps)
    seeds = defined.sum(axis=2)
    with np.errstate(invalid="ignore"):
        prompts = np.where(defined, changed.steps, 0.0).sum(axis=2) / seeds
    shape = prompts.shape[:2]
    tests = [signed_rank(row[~np.isnan(row)]) for row in prompts.reshape(-1, prompts.shape[2])]
    n, zeros, difference, w, p, biserial, d_z = (np.array(column).reshape(shape) for column in zip(*tests, strict=True))
    return changed.rows(
        n_prompts=n, n_zero=zeros, n_seeds=defined.any(axis=3).sum(axis=2), difference=difference, w=w, p=p,
        rank_biserial=biserial, d_z=d_z,
    )  # fmt: skip


def signed_rank(differences: Array) -> tuple[int, int, float, float, float, float, float]:
    """Wilcoxon's signed-rank test of paired differences, two-sided, with effect sizes.

    Zeros are left out before ranking (Wilcoxon 1945) but counted; ties share their mean rank. With at most
    `EXACT_UNTIL` other differences p is exact, also with ties: the share of all assignments of signs to these ranks
    whose rank sum is at least as far from its mean.

    Returns:
        n; zeros; mean difference; W+ (the rank sum of the positive differences); p (1 if all are zero); the
        matched-pairs rank-biserial correlation (W+ - W-) / (W+ + W-), from -1 to 1 (0 if all are zero); and the mean
        over its standard deviation with Hedges' correction (d_z; NaN with fewer than three differences or without
        variation). Without differences, everything but the counts is NaN.
    """
    n = len(differences)
    if n == 0:
        return 0, 0, np.nan, np.nan, np.nan, np.nan, np.nan
    size = np.abs(differences)
    unit = _SAME * max(1.0, float(size.max()))
    magnitude = np.round(size / unit)
    ranked = magnitude > 0
    zeros = n - int(ranked.sum())
    mean, d_z = float(differences.mean()), _standardised(differences, unit)
    if zeros == n:
        return n, zeros, mean, 0.0, 1.0, 0.0, d_z
    ranks = rankdata(magnitude[ranked])
    total = float(ranks.sum())
    w = float(ranks[differences[ranked] > 0].sum())
    p = _exact(tuple(sorted(ranks)), w) if len(ranks) <= EXACT_UNTIL else _approximate(ranks, w)
    return n, zeros, mean, w, p, (2 * w - total) / total, d_z


def holm(p: Array) -> Array:
    """Holm's (1979) adjusted p-values of one family; NaN entries are no members."""
    adjusted = np.full(len(p), np.nan)
    members = np.flatnonzero(~np.isnan(p))
    order = members[np.argsort(p[members], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return adjusted


def holm_of_path(p: Array, steps: Iterable[str], path: str) -> tuple[Array, int]:
    """Holm's adjusted p-values of the steps and totals of one path, and the number of tests in the family.

    The total of a path of two stages is its only step: one test in two rows, which is counted once.
    """
    counted = ~np.isnan(p)
    if path.count(">") == 1:
        counted &= np.array([step != TOTAL for step in steps], dtype=bool)
    adjusted = dict(zip(p[counted], holm(p[counted]), strict=True))  # equal p-values are adjusted equally
    return np.array([adjusted.get(each, np.nan) for each in p], dtype=np.float64), int(counted.sum())


def _standardised(differences: Array, unit: float) -> float:
    degrees = len(differences) - 1
    if degrees < 2:
        return np.nan
    deviation = float(differences.std(ddof=1))
    if deviation <= unit:
        return np.nan
    correction = np.exp(gammaln(degrees / 2) - gammaln((degrees - 1) / 2)) / np.sqrt(degrees / 2)
    return float(correction * differences.mean() / deviation)


@lru_cache(maxsize=1024)
def _distribution(ranks: tuple[float, ...]) -> Array:
    """Probability of every value of 2 W+ if each rank has either sign with the same chance."""
    doubled: list[int] = [round(2 * rank) for rank in ranks]
    probabilities: NDArray[np.float64] = np.zeros(sum(doubled) + 1)
    probabilities[0] = 1.0
    for rank in doubled:
        probabilities *= 0.5
        probabilities[rank:] = probabilities[rank:] + probabilities[: len(probabilities) - rank]
    return probabilities


def _exact(ranks: tuple[float, ...], w: float) -> float:
    probabilities = _distribution(ranks)
    middle = (len(probabilities) - 1) / 2
    far = np.abs(np.arange(len(probabilities)) - middle) >= abs(2 * w - middle) - 0.25
    return float(min(probabilities[far].sum(), 1.0))


def _approximate(ranks: Array, w: float) -> float:
    """Normal approximation with the variance of these ranks (so corrected for ties), without continuity correction."""
    z = (w - ranks.sum() / 2) / np.sqrt((ranks**2).sum() / 4)
    return float(2 * ndtr(-abs(z)))
