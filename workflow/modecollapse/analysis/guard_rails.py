"""Candidates: which stages have fallen below a reference on benchmarks, and what else they are judged by.

Of each task δ is the mean over documents of candidate − reference, the sign turned where lower is better, so that δ < 0
is worse. Two one-sided tests are made of it (`modecollapse.analysis.noninferiority`):

- non-inferiority, H0: δ ≤ −margin against δ > −margin. Where H0 is refuted the candidate `passes`.
- inferiority, H0: δ ≥ −margin against δ < −margin. Where that is refuted it `fails`.

Otherwise it is `undecided`: there are too few documents, or training seeds differ too much. A stage passes if it passes
every task, which needs no correction (an intersection-union test, Berger 1982). It fails if it fails any; so that a
stage which is not worse than it may be on any task fails with at most the stated error, the upper bounds share it
(Bonferroni).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from modecollapse.analysis.benchmarks import METRIC, Samples, Scores, by_stage, paired, records_of, scores_of
from modecollapse.analysis.noninferiority import Verdict, bounds, verdict
from modecollapse.analysis.table_files import SCHEMAS, joined

TASK, OVERALL = "task", "overall"
"""Levels of the table: one task, or all of them."""


def candidates_table(
    samples: Samples, rails: Sequence[Mapping[str, Any]], reference: str, stages: Sequence[str], confidence: float
) -> pd.DataFrame:
    """One row per size, stage and guard rail, and one of all of them together.

    Args:
        samples: the tables of samples of all models (see `modecollapse.measures.harness`).
        rails: `Rail.spec` of each guard rail.
        reference: the stage that others are compared with.
        stages: the stages that are judged.
        confidence: of the one-sided bounds.
    """
    grouped = by_stage(samples)
    parts = []
    for size in dict.fromkeys(model.size for model in samples):
        if (size, reference) not in grouped:
            continue
        base = scores_of({model: samples[model] for model in grouped[size, reference]})
        for stage in stages:
            if (size, stage) not in grouped:
                continue
            found = scores_of({model: samples[model] for model in grouped[size, stage]})
            rows = [_compared(rail, found, base, confidence, len(rails)) for rail in rails]
            parts.append(pd.DataFrame([*rows, _overall(rows)]).assign(size=size, stage=stage, reference=reference))
    return joined("candidates", [part.reindex(columns=SCHEMAS["candidates"].names) for part in parts])


def _compared(
    rail: Mapping[str, Any],
    candidates: Mapping[tuple[Any, ...], Scores],
    references: Mapping[tuple[Any, ...], Scores],
    confidence: float,
    family: int,
) -> dict[str, Any]:
    key = tuple(rail[name] for name in METRIC)
    shared = 1 - (1 - confidence) / family
    row = {
        **{name: rail[name] for name in (*METRIC, "margin", "definition")},
        **{"level": TASK, "low_confidence": confidence, "high_confidence": shared, "n": 0, "n_seeds": 0},
        **{"value": np.nan, "low": np.nan, "high": np.nan, "verdict": str(Verdict.UNDECIDED)},
    }
    if key not in candidates or key not in references:
        return row
    old, new, seeds = paired(references[key], candidates[key])
    if seeds == 0 or old.shape[1] == 0:
        return row
    first, second = (new, old) if rail["sign"] > 0 else (old, new)
    low, high = bounds(first, second, confidence, shared)
    row |= {"value": float(np.nanmean(first - second)), "low": low, "high": high}
    return row | {"verdict": str(verdict(low, high, rail["margin"])), "n": old.shape[1], "n_seeds": seeds}


def _overall(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = {Verdict(row["verdict"]) for row in rows}
    failed = ", ".join(row["task"] for row in rows if row["verdict"] == Verdict.FAILS)
    if failed:
        said, why = Verdict.FAILS, f"fails {failed}"
    elif found == {Verdict.PASSES}:
        said, why = Verdict.PASSES, "passes every task"
    else:
        said = Verdict.UNDECIDED
        why = f"undecided: {', '.join(row['task'] for row in rows if row['verdict'] == Verdict.UNDECIDED)}"
    return {
        **{"level": OVERALL, "task": "", "filter": "", "metric": "", "definition": why, "verdict": str(said)},
        **{name: rows[0][name] for name in ("low_confidence", "high_confidence")},
        **{name: min(row[name] for row in rows) for name in ("n", "n_seeds")},
    }


def merits_table(
    candidates: pd.DataFrame, costs: pd.DataFrame | None, win_rates: pd.DataFrame | None, temperature: str
) -> pd.DataFrame:
    """What candidates are judged by beside their guard rails: one row per size, stage, set of prompts and quantity.

    Args:
        candidates: the table of `candidates_table`.
        costs: the table `costs`, if the study has one: diversity lost and quality gained, and the one per the other, at
            `temperature`, of completions cut as late as they are.
        win_rates: the table `win_rates`, if the study has one: at `temperature` if answers were judged there, else at
            all at which they were.
        temperature: the temperature of figures that show one.
    """
    overall = candidates[candidates["level"] == OVERALL][["size", "stage", "reference", "verdict"]]
    parts = []
    if costs is not None and len(costs):
        shown = costs[(costs["temperature"] == temperature) & (costs["definition"] == "corrected")]
        for _, of_metric in shown.groupby("metric", sort=False):
            longest = of_metric[of_metric["words"] == of_metric["words"].max()]
            for quantity, definition in _COSTS.items():
                names = {quantity: "value", f"{quantity}_low": "low", f"{quantity}_high": "high"}
                own = longest.drop(columns=["definition", "reference"]).rename(columns=names)
                parts.append(own.assign(quantity=definition[0], definition=definition[1]))
    if win_rates is not None and len(win_rates):
        there = win_rates["temperature"] == temperature
        judged = win_rates[there] if there.any() else win_rates
        for quantity, names in _WIN_RATES.items():
            own = judged.drop(columns=["value", "low", "high"] if "value" not in names else [])
            told = [
                f"{quantity} against {row['reference']} at T = {row['temperature']}, judged by {row['judge']}"
                for row in records_of(judged)
            ]
            own = own.drop(columns="reference").rename(columns={**names, "task": "prompts", "judge": "metric"})
            parts.append(own.assign(format="", quantity=quantity, definition=told))
    columns = ["size", "stage", *(name for name in SCHEMAS["candidate_merits"].names if name not in overall)]
    merits = pd.concat([part.reindex(columns=columns) for part in parts]) if parts else pd.DataFrame(columns=columns)
    return joined("candidate_merits", [overall.merge(merits, on=["size", "stage"])])


_WIN_RATES = {
    "win rate": {"value": "value"},
    "win rate at equal length": {"controlled": "value", "controlled_low": "low", "controlled_high": "high"},
}
"""The quantity → its columns in the table `win_rates`."""

_COSTS = {
    "loss": ("diversity lost", "change of the metric towards less diverse, against the costs' reference"),
    "gain": ("quality gained", "change of the quality, against the costs' reference"),
    "cost": ("cost", "diversity lost per unit of quality gained; undefined where nothing may be gained"),
}
"""Column of the table `costs` → the quantity, and what it is."""
