"""Whether judges agree: of every two, how often they say the same of a pair, and how much of that is chance."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from modecollapse.analysis.blocks import block_sums, estimate_ratio, prompt_blocks, share
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.table_files import joined
from modecollapse.analysis.variance import Array
from modecollapse.analysis.win_rates import ALL
from modecollapse.cells import Model
from modecollapse.judging.verdicts import DECIDED, Verdict

COUNTED = {ALL: DECIDED, "won or lost": (Verdict.WIN, Verdict.LOSS)}
"""Which pairs of different answers count: those that both judges decided, or those in which both found a winner."""

_KEYS = ["seed", "stage", "prompts", "prompt", "temperature", "sample"]


def judge_agreement_table(judged: Mapping[tuple[str, Model], pd.DataFrame], bootstrap: Bootstrap) -> pd.DataFrame:
    """The table `judge_agreement`: every two judges, per size and task type, over all stages and temperatures.

    `agreement` is the share of pairs of answers of which both say the same, `chance` what it would be if they judged
    independently, each as often for each verdict as it does, and κ = (agreement − chance) / (1 − chance) (Cohen 1960;
    NaN where one and the same verdict was all that was ever given). `beyond_chance` tells whether the interval of κ
    leaves 0 out. Pairs of equal answers are left out: nobody was asked about them, so their ties are no agreement.

    Args:
        judged: (judge, model) → what `win_rates.verdicts_of` makes of its judgements.
        bootstrap: how intervals are made: over seeds and blocks of prompts.
    """
    by_judge: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for (judge, model), frame in judged.items():
        named = frame.assign(seed=model.seed, stage=model.stage)
        by_judge.setdefault((model.size, judge), []).append(named)
    parts = []
    for size in dict.fromkeys(size for size, _ in by_judge):
        frames = {judge: _asked(pd.concat(found)) for (of, judge), found in by_judge.items() if of == size}
        for judge, other in itertools.combinations(frames, 2):
            both = frames[judge].merge(frames[other], on=_KEYS, suffixes=("", "_other"))
            rows = [{**row, "size": size, "judge": judge, "other": other} for row in _rows(both, bootstrap)]
            parts.append(pd.DataFrame(rows))
    return joined("judge_agreement", [part for part in parts if len(part)])


def _asked(verdicts: pd.DataFrame) -> pd.DataFrame:
    return verdicts[~verdicts["equal"].astype(bool)]


def _rows(both: pd.DataFrame, bootstrap: Bootstrap) -> Iterator[dict[str, object]]:
    tasks = list(dict.fromkeys(both["task"]))
    for task, (name, counted) in itertools.product((ALL, *tasks), COUNTED.items()):
        frame = both[(both["task"] == task) | (task == ALL)]
        frame = frame[frame["verdict"].isin(counted) & frame["verdict_other"].isin(counted)]
        if len(frame):
            yield {"task": task, "counted": name, **_agreement(frame, counted, bootstrap)}


def _agreement(frame: pd.DataFrame, counted: Sequence[Verdict], bootstrap: Bootstrap) -> dict[str, object]:
    seeds = [of_seed for _, of_seed in frame.groupby("seed")]
    names = [(of_seed["prompts"] + "/" + of_seed["prompt"]).to_numpy(dtype=object) for of_seed in seeds]
    of_prompt = prompt_blocks(names)
    blocks = [np.array([of_prompt[name] for name in each]) for each in names]
    n_prompts = len(set(itertools.chain.from_iterable(names)))
    same = [np.stack([of["verdict"] == of["verdict_other"], np.ones(len(of))], axis=-1).astype(float) for of in seeds]
    agreement = estimate_ratio(block_sums(same, blocks), share, bootstrap, n_prompts)
    tables = block_sums([_crossed(of_seed, counted) for of_seed in seeds], blocks)
    beyond = estimate_ratio(tables, kappa, bootstrap)
    return {
        **{"agreement": agreement["value"], "low": agreement["low"], "high": agreement["high"]},
        "chance": float(expected_agreement(tables.sum(axis=1)).mean()),
        **{"kappa": beyond["value"], "kappa_low": beyond["low"], "kappa_high": beyond["high"]},
        "beyond_chance": bool(beyond["low"] > 0 or beyond["high"] < 0),
        **{"n": len(frame), "n_seeds": len(seeds), "n_prompts": n_prompts},
    }


def _crossed(frame: pd.DataFrame, counted: Sequence[Verdict]) -> Array:
    """For each pair, the table of both verdicts with a single 1, [pairs, verdicts²]."""
    ours, other = (
        frame[name].to_numpy(dtype=object)[:, None] == np.array([str(each) for each in counted], dtype=object)
        for name in ("verdict", "verdict_other")
    )
    crossed: Array = (ours[:, :, None] & other[:, None, :]).reshape(len(frame), -1).astype(float)
    return crossed


def expected_agreement(tables: Array) -> Array:
    """Agreement by chance Σ_v p_1v · p_2v from crossed counts, [..., verdicts²]."""
    shares = _shares(tables)
    expected: Array = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
    return expected


def kappa(tables: Array) -> Array:
    """Cohen's κ from crossed counts, [..., verdicts²]; NaN where chance alone would agree always."""
    observed, expected = np.trace(_shares(tables), axis1=-2, axis2=-1), expected_agreement(tables)
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Array = (observed - expected) / np.where(1 - expected > 1e-12, 1 - expected, np.nan)
    return value


def _shares(tables: Array) -> Array:
    size = round(tables.shape[-1] ** 0.5)
    square = tables.reshape(*tables.shape[:-1], size, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Array = square / square.sum(axis=(-1, -2), keepdims=True)
    return shares
