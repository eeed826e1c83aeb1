"""How far annotators agree on preference pairs: shares, kappas and alpha, over nominal labels (a, b, tie).

Skipped pairs are missing labels. All quantities are functions of sums over pairs, so a resample weighs pairs and sums
them again (`analysis.blocks`).
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from modecollapse.analysis.blocks import Ratio, block_sums, estimate_ratio, prompt_blocks, share
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.table_files import joined
from modecollapse.analysis.variance import Array
from modecollapse.labelling.labels import PREFERENCES, Label

ALL = "all"
CATEGORIES = (Label.A, Label.B, Label.TIE)
SHARES = ("unanimous", "pairwise_agreement", "first_shown")
"""Quantities that are shares of pairs."""


def ratings(labels: pd.DataFrame) -> Array:
    """Which label each annotator gave to each pair, [pairs, annotators, categories], of zeros and ones.

    No category is one where an annotator skipped the pair or has not seen it.

    Args:
        labels: `labelling.labels.SCHEMA`; annotators in alphabetical order.
    """
    pairs, rows = np.unique(labels["pair"].to_numpy(dtype=str), return_inverse=True)
    annotators, columns = np.unique(labels["annotator"].to_numpy(dtype=str), return_inverse=True)
    given = np.zeros((len(pairs), len(annotators), len(CATEGORIES)))
    for place, category in enumerate(CATEGORIES):
        here = (labels["label"] == category).to_numpy()
        given[rows[here], columns[here], place] = 1.0
    return given


def unanimous_terms(given: Array) -> Array:
    """Of `ratings`: whether all annotators preferred the same answer, and 1 for each pair. [pairs, 2]"""
    seen = given.sum(axis=(1, 2)) == given.shape[1]
    alike = given[:, :, : len(PREFERENCES)].sum(axis=1).max(axis=1) == given.shape[1]
    return np.stack([seen & alike, np.ones(len(given))], axis=-1).astype(float)


def pairwise_terms(given: Array) -> Array:
    """Share of the annotators' pairs that gave the same label, and 1, for each pair that two labelled. [pairs, 2]"""
    counts = given.sum(axis=1)
    number = counts.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        agreed = (counts * (counts - 1)).sum(axis=-1) / (number * (number - 1))
    return np.stack([np.where(number > 1, agreed, 0.0), number > 1], axis=-1).astype(float)


def cohen_terms(given: Array) -> Array:
    """The table of two annotators' labels for every two of them, [pairs, couples · categories²]."""
    couples = list(itertools.combinations(range(given.shape[1]), 2))
    tables = [given[:, first, :, None] * given[:, second, None, :] for first, second in couples]
    return np.stack(tables, axis=1).reshape(len(given), -1)


def cohen_kappa(sums: Array) -> Array:
    """Mean over every two annotators of κ = (p_o − p_e) / (1 − p_e) (Cohen 1960; the mean: Light 1971).

    p_o is the share of the pairs that both labelled on which they agree, p_e = Σ_c p_1c · p_2c. Two annotators who gave
    one and the same label throughout have none and are left out of the mean.
    """
    size = len(CATEGORIES)
    tables = sums.reshape(*sums.shape[:-1], -1, size, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = tables / tables.sum(axis=(-1, -2), keepdims=True)
        observed = np.trace(shares, axis1=-2, axis2=-1)
        expected = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
        kappas = _corrected(observed, expected)
        defined = np.isfinite(kappas)
        mean: Array = np.where(defined, kappas, 0.0).sum(axis=-1) / defined.sum(axis=-1)
    return mean


def fleiss_terms(given: Array) -> Array:
    """Of the pairs that all annotators labelled: agreement of their pairs, counts of labels, and 1."""
    counts, number = given.sum(axis=1), given.shape[1]
    whole = counts.sum(axis=-1) == number
    agreed = (counts * (counts - 1)).sum(axis=-1) / (number * (number - 1))
    terms = np.concatenate([agreed[:, None], counts / number, np.ones((len(given), 1))], axis=-1)
    return np.where(whole[:, None], terms, 0.0)


def fleiss_kappa(sums: Array) -> Array:
    """κ = (P̄ − P̄_e) / (1 − P̄_e), P̄_e = Σ_c p_c² over all labels (Fleiss 1971); of pairs that all labelled."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = sums[..., :-1] / sums[..., -1:]
    return _corrected(shares[..., 0], (shares[..., 1:] ** 2).sum(axis=-1))


def krippendorff_terms(given: Array) -> Array:
    """Of the pairs with two labels or more: coincidences of equal labels, and counts of labels."""
    counts = given.sum(axis=1)
    number = counts.sum(axis=-1)
    more = number > 1
    with np.errstate(invalid="ignore", divide="ignore"):
        equal = (counts * (counts - 1)).sum(axis=-1) / (number - 1)
    return np.where(more[:, None], np.concatenate([np.where(more, equal, 0.0)[:, None], counts], axis=-1), 0.0)


def krippendorff_alpha(sums: Array) -> Array:
    """α = 1 − D_o / D_e for nominal labels, which may be missing (Krippendorff 2011, section C).

    With o_cc the coincidences of equal labels, n_c the labels of each kind and n all of them:
    α = ((n − 1) Σ o_cc − Σ n_c (n_c − 1)) / (n (n − 1) − Σ n_c (n_c − 1)).
    """
    equal, counts = sums[..., 0], sums[..., 1:]
    total = counts.sum(axis=-1)
    chance = (counts * (counts - 1)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha: Array = ((total - 1) * equal - chance) / np.where(
            total * (total - 1) > chance, total * (total - 1) - chance, np.nan
        )
    return alpha


def _corrected(observed: Array, expected: Array) -> Array:
    """Agreement beyond chance; NaN where chance alone would agree always."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Array = (observed - expected) / np.where(1 - expected > 1e-12, 1 - expected, np.nan)
    return value


QUANTITIES: Mapping[str, tuple[Callable[[Array], Array], Ratio]] = {
    "unanimous": (unanimous_terms, share),
    "pairwise_agreement": (pairwise_terms, share),
    "cohen_kappa": (cohen_terms, cohen_kappa),
    "fleiss_kappa": (fleiss_terms, fleiss_kappa),
    "krippendorff_alpha": (krippendorff_terms, krippendorff_alpha),
}
"""What is summed over pairs, and what the sums make. All need two annotators."""


def agreement_table(
    labelled: Mapping[tuple[str, str, str], Sequence[pd.DataFrame]], bootstrap: Bootstrap
) -> pd.DataFrame:
    """Rows of the table `label_agreement`: one for each data set, task and quantity.

    `unanimous` is the share of pairs of which all annotators preferred the same answer: those that are trained on.
    `first_shown` is the share of preferences for the answer that stood first (or left): far from a half, annotators go
    by the position. A value is the mean over seeds, whose pairs and annotators are different ones.

    Args:
        labelled: (size, data set, who labelled: `people` or `annotators`) → labels of each seed.
        bootstrap: how intervals are made: over seeds and blocks of pairs.
    """
    parts = []
    for (size, data, labelled_by), frames in labelled.items():
        tasks = sorted({task for frame in frames for task in frame["task"].dropna().unique()})
        rows = [
            {**row, "task": task}
            for task in (ALL, *tasks)
            for row in _rows([frame[(frame["task"] == task) | (task == ALL)] for frame in frames], bootstrap)
        ]
        parts.append(pd.DataFrame(rows).assign(size=size, data=data, labelled_by=labelled_by))
    return joined("label_agreement", parts)


def _rows(frames: Sequence[pd.DataFrame], bootstrap: Bootstrap) -> Iterator[dict[str, object]]:
    frames = [frame for frame in frames if len(frame)]
    prompts = [frame.groupby("pair")["row"].first().to_numpy() for frame in frames]
    of_prompt = prompt_blocks(prompts)
    blocks = [np.array([of_prompt[prompt] for prompt in each.tolist()]) for each in prompts]
    given = [ratings(frame) for frame in frames]
    counted = {
        "n_seeds": len(frames),
        "n_pairs": round(float(np.mean([len(each) for each in given]))),
        "n_annotators": round(float(np.mean([each.shape[1] for each in given]))),
        "n_labels": round(float(np.mean([each.sum() for each in given]))),
    }
    found: dict[str, tuple[Sequence[Array], Ratio]] = {}
    if min(each.shape[1] for each in given) > 1:
        found = {name: ([terms(each) for each in given], ratio) for name, (terms, ratio) in QUANTITIES.items()}
    if any(frame["shown_first"].notna().any() for frame in frames):
        found["first_shown"] = ([first_shown_terms(frame) for frame in frames], share)
    for quantity, (terms, ratio) in found.items():
        sums = block_sums(_padded(terms), blocks)
        units = len(of_prompt) if quantity in SHARES else None
        yield {"quantity": quantity, **estimate_ratio(sums, ratio, bootstrap, units), **counted}


def first_shown_terms(labels: pd.DataFrame) -> Array:
    """Preferences for the answer that stood first, and preferences of which it is known what did, [pairs, 2]."""
    known = labels["label"].isin(PREFERENCES) & labels["shown_first"].notna()
    first = known & (labels["label"] == labels["shown_first"])
    sums = pd.DataFrame({"pair": labels["pair"], "first": first, "known": known}).groupby("pair").sum()
    terms: Array = sums[["first", "known"]].to_numpy(dtype=float)
    return terms


def _padded(terms: Sequence[Array]) -> list[Array]:
    """The same with as many terms in every seed: one with fewer annotators has fewer couples."""
    most = max(each.shape[-1] for each in terms)
    return [np.pad(each, ((0, 0), (0, most - each.shape[-1]))) for each in terms]
