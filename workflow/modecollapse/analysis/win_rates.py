"""Win rates of stages against a reference, as judges see them: per task, with intervals, tests, and at equal length.

A pair counts 1 if the stage's answer won, ½ for a tie, 0 if it lost. Refusals and unreadable replies are counted beside
these and are part of no rate. The unit is the prompt, whose pairs stay together in resamples and tests; prompts are
crossed with training seeds (`analysis.bootstrap`).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from modecollapse.analysis.benchmarks import score_interval
from modecollapse.analysis.bootstrap import Bootstrap, estimate, within
from modecollapse.analysis.length_control import controlled_rates, length_features
from modecollapse.analysis.stage_tests import holm, signed_rank
from modecollapse.analysis.table_files import joined
from modecollapse.analysis.tokens import Pooled
from modecollapse.analysis.variance import Array
from modecollapse.cells import Model
from modecollapse.judging.verdicts import DECIDED, ORDERS, STAGE_FIRST, Verdict, together

ALL = "all"
EVEN = 0.5

CONTROLLED_RESAMPLES = 1000
"""Resamples behind the intervals of length-controlled win rates, each of which is a regression of its own."""

_CHUNK_VALUES = 2**22
_PAIR = ["prompts", "prompt", "temperature", "sample"]
_POINTS = {Verdict.WIN: 1.0, Verdict.TIE: 0.5, Verdict.LOSS: 0.0}


def verdicts_of(judgements: pd.DataFrame) -> pd.DataFrame:
    """One row per pair from a judge's rows per pair and order, or annotator.

    The verdicts of both orders are put together as `judging.verdicts.together` says; of several annotators it counts
    what more than half of those who decided say, and else a tie. `points` is 1, ½ or 0, NaN where nothing was decided.
    `equal` tells whether both answers read the same, so that nobody was asked and every judge has a tie. `longer` is
    how many words the stage's answer has more. `consistent` tells whether both orders agree, 1 or 0, and
    `first` the share of the orders in which the first answer won, of those with a winner; NaN without orders.
    """
    rows = []
    for _, pair in judgements.groupby(_PAIR, sort=False):
        one = pair.iloc[0]
        found = [Verdict(verdict) for verdict in pair["verdict"]]
        ordered = set(pair["order"]) <= set(ORDERS)
        verdict = together(found) if ordered else _majority(found)
        rows.append(
            {
                **{name: one[name] for name in (*_PAIR, "task")},
                "verdict": str(verdict),
                "points": _POINTS.get(verdict, np.nan),
                "equal": one["text"] == one["reference_text"],
                "longer": float(len(one["text"].split()) - len(one["reference_text"].split())),
                **(_positions(found, list(pair["order"])) if ordered else {"consistent": np.nan, "first": np.nan}),
            }
        )
    names = ["task", "verdict", "points", "equal", "longer", "consistent", "first"]
    return pd.DataFrame(rows, columns=[*_PAIR, *names])


def _majority(verdicts: Sequence[Verdict]) -> Verdict:
    decided = [verdict for verdict in verdicts if verdict in DECIDED]
    if not decided:
        return verdicts[0]
    return next((each for each in DECIDED if 2 * decided.count(each) > len(decided)), Verdict.TIE)


def _positions(verdicts: Sequence[Verdict], orders: Sequence[str]) -> dict[str, float]:
    if not all(verdict in DECIDED for verdict in verdicts):
        return {"consistent": np.nan, "first": np.nan}
    won = [
        (verdict is Verdict.WIN) == (order == STAGE_FIRST)
        for verdict, order in zip(verdicts, orders, strict=True)
        if verdict is not Verdict.TIE
    ]
    return {"consistent": float(len(set(verdicts)) == 1), "first": float(np.mean(won)) if won else np.nan}


def win_rates_table(
    judged: Mapping[tuple[str, Model], pd.DataFrame], reference: str, bootstrap: Bootstrap
) -> pd.DataFrame:
    """The table `win_rates`: one row per judge, size, stage, temperature and task type, and for all of these together.

    `value` is the win rate, `controlled` the same at equal length (`analysis.length_control`, lengths in words), both
    with intervals; `p` that of the signed-rank test of prompts' rates against ½, adjusted by Holm within the family of
    all stages and tasks of one judge, size and temperature.

    Args:
        judged: (judge, model) → what `verdicts_of` makes of its judgements.
        reference: the stage that the others are compared with.
        bootstrap: how intervals are made.
    """
    groups: dict[tuple[str, str, str], dict[int, pd.DataFrame]] = {}
    for (judge, model), frame in judged.items():
        groups.setdefault((judge, model.size, model.stage), {})[model.seed] = frame
    parts: dict[tuple[str, str, str], list[dict[str, object]]] = {}
    for (judge, size, stage), by_seed in groups.items():
        frames = list(by_seed.values())
        tasks = list(dict.fromkeys(task for frame in frames for task in frame["task"]))
        for temperature in dict.fromkeys(value for frame in frames for value in frame["temperature"]):
            at = [frame[frame["temperature"] == temperature] for frame in frames]
            known: dict[str, object] = {"judge": judge, "size": size, "stage": stage, "temperature": temperature}
            for task in (ALL, *tasks):
                subset = [frame[(frame["task"] == task) | (task == ALL)] for frame in at]
                # The only task is all tasks: one test in two rows, which is counted once.
                row = {**known, "reference": reference, "task": task, **_row(subset, task, bootstrap)}
                parts.setdefault((judge, size, str(temperature)), []).append(
                    row | {"counted": task != ALL or len(tasks) > 1}
                )
    return joined("win_rates", [_adjusted(rows, "/".join(name)) for name, rows in parts.items()])


def _adjusted(rows: Sequence[Mapping[str, object]], family: str) -> pd.DataFrame:
    """Adds the family, its size and the adjusted p."""
    frame = pd.DataFrame(rows)
    p, counted = frame["p"].to_numpy(dtype=np.float64), frame["counted"].to_numpy(dtype=bool)
    adjusted = np.full(len(p), np.nan)
    adjusted[counted] = holm(p[counted])
    same = dict(zip(p[counted], adjusted[counted], strict=True))  # equal p-values are adjusted equally
    adjusted[~counted] = [same.get(each, np.nan) for each in p[~counted]]
    members = int((~np.isnan(p[counted])).sum())
    return frame.assign(p_holm=adjusted, family=family, n_family=members)


def _row(frames: Sequence[pd.DataFrame], task: str, bootstrap: Bootstrap) -> dict[str, object]:
    """What one judge says of one stage at one temperature in one task; one frame per seed."""
    every = pd.concat(frames)
    counts = {str(verdict): int((every["verdict"] == verdict).sum()) for verdict in Verdict}
    points, prompts = _by_prompt(frames)
    rate = estimate(points[None], f"judgements/{task}", bootstrap)
    value, low, high = (float(array[0]) for array in (rate.value, rate.low, rate.high))
    if low == high:  # all won or all lost: resamples cannot tell how far from certain it is
        low, high = score_interval(value, len(prompts), float(ndtri((1 + bootstrap.level) / 2)))
    low, high = within(low, high)
    with np.errstate(invalid="ignore"):
        of_prompts = np.nansum(points, axis=0) / (~np.isnan(points)).sum(axis=0)
    defined = of_prompts[~np.isnan(of_prompts)]
    _, _, _, _, p, _, _ = signed_rank(defined - EVEN)
    controlled = _controlled(frames, prompts, task, bootstrap)
    return {
        **{"wins": counts["win"], "ties": counts["tie"], "losses": counts["loss"]},
        **{"refusals": counts["refusal"], "unreadable": counts["unreadable"]},
        **{"n": int(every["points"].notna().sum()), "value": value, "low": low, "high": high},
        **controlled,
        **{"longer": _mean(every["longer"]), "consistent": _mean(every["consistent"]), "first": _mean(every["first"])},
        **{"n_seeds": int(rate.n_seeds[0]), "n_prompts": int(rate.n_prompts[0]), "p": p},
    }


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if values.notna().any() else float("nan")


def _by_prompt(frames: Sequence[pd.DataFrame]) -> tuple[Array, list[tuple[str, str]]]:
    """Mean points, [seeds, prompts], NaN where nothing was decided; and the prompts, sorted."""
    means = [frame.groupby(["prompts", "prompt"])["points"].mean() for frame in frames]
    prompts = sorted({place for mean in means for place in mean.index})
    return np.stack([mean.reindex(pd.MultiIndex.from_tuples(prompts)).to_numpy(np.float64) for mean in means]), prompts


def _controlled(
    frames: Sequence[pd.DataFrame], prompts: Sequence[tuple[str, str]], task: str, bootstrap: Bootstrap
) -> dict[str, float]:
    """The length-controlled win rate and its interval, over seeds and prompts."""
    counts = bootstrap.counts(f"prompts/judgements/{task}", len(prompts))[:CONTROLLED_RESAMPLES]
    place = {prompt: number for number, prompt in enumerate(prompts)}
    values, resampled = [], []
    for frame in frames:
        decided = frame[frame["points"].notna()]
        if decided.empty:
            continue
        wins, differences = (decided[name].to_numpy(dtype=np.float64) for name in ("points", "longer"))
        features = length_features(differences)
        of_prompt = np.array([place[each] for each in zip(decided["prompts"], decided["prompt"], strict=True)])
        values.append(float(controlled_rates(wins, features, np.ones((1, len(wins))))[0]))
        resampled.append(np.concatenate(list(_resampled(wins, features, counts, of_prompt))))
    if not values:
        return dict.fromkeys(("controlled", "controlled_low", "controlled_high"), float("nan"))
    pooled = Pooled(np.array(values), np.stack(resampled), len(prompts))
    low, high = within(*pooled.interval(bootstrap))
    return {"controlled": pooled.value, "controlled_low": low, "controlled_high": high}


def _resampled(wins: Array, features: Array, counts: Array, of_prompt: NDArray[np.int64]) -> Iterator[Array]:
    rows = max(1, _CHUNK_VALUES // max(1, len(wins)))
    for start in range(0, len(counts), rows):
        yield controlled_rates(wins, features, counts[start : start + rows][:, of_prompt])
