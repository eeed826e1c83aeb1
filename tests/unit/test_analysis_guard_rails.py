"""The table of candidates: differences, bounds and verdicts worked by hand, and what stands beside them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from modecollapse.analysis.guard_rails import candidates_table, merits_table
from modecollapse.analysis.noninferiority import score_bound
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from tests.figure_tables import cost_tables

Z95, Z975 = (float(ndtri(share)) for share in (0.95, 0.975))


def sampled(**metrics: Sequence[float]) -> pd.DataFrame:
    parts = []
    for name, values in metrics.items():
        task, _, metric = name.partition("__")
        keys = {"task": task, "shots": 0, "filter": "none", "metric": metric, "value": values}
        places = range(len(values))
        parts.append(pd.DataFrame({**keys, "document": places, "hash": [f"h{place}" for place in places]}))
    return pd.concat(parts, ignore_index=True)


def rail(task: str, metric: str = "acc", margin: float = 0.1, sign: int = 1) -> dict[str, Any]:
    known = {"task": task, "shots": 0, "filter": "none", "metric": metric, "margin": margin}
    return {**known, "sign": sign, "definition": "mean acc"}


def judged(samples: dict[str, pd.DataFrame], *rails: dict[str, Any], seeds: Sequence[int] = (0,)) -> pd.DataFrame:
    tables = {Model("s", seed, stage): frame for stage, frame in samples.items() for seed in seeds}
    stages = [stage for stage in samples if stage != "sft"]
    return candidates_table(tables, list(rails), "sft", stages, 0.95)


def test_a_row_of_a_task_is_worked_by_hand() -> None:
    # Of 40 documents 2 fell and 6 rose.
    before, after = [1.0] * 2 + [0.0] * 6 + [1.0] * 32, [0.0] * 2 + [1.0] * 6 + [1.0] * 32
    table = judged({"sft": sampled(a__acc=before), "dpo": sampled(a__acc=after)}, rail("a"))
    assert list(table.columns) == SCHEMAS["candidates"].names
    task, overall = table.to_dict("records")
    assert (task["size"], task["stage"], task["reference"], task["level"], task["task"]) == (
        *("s", "dpo", "sft", "task", "a"),
    )
    assert (task["value"], task["n"], task["n_seeds"]) == (4 / 40, 40, 1)
    assert task["low"] == pytest.approx(score_bound(2, 6, 40, Z95))
    assert task["high"] == pytest.approx(-score_bound(6, 2, 40, Z95))
    assert task["verdict"] == overall["verdict"] == "passes"
    assert (overall["level"], overall["task"], overall["definition"]) == ("overall", "", "passes every task")
    assert np.isnan(overall["value"])


def test_a_stage_fails_if_it_fails_any_task_and_passes_only_if_it_passes_all() -> None:
    same, fallen = [1.0] * 100, [0.0] * 40 + [1.0] * 60
    reference = sampled(a__acc=same, b__acc=same)
    stages = {
        "sft": reference,
        "good": reference,
        "bad": sampled(a__acc=same, b__acc=fallen),
        "unsure": sampled(a__acc=same, b__acc=[0.0] * 8 + [1.0] * 92),
    }
    table = judged(stages, rail("a"), rail("b"))
    verdicts = {stage: list(rows["verdict"]) for stage, rows in table.groupby("stage", sort=False)}
    assert verdicts == {
        "good": ["passes", "passes", "passes"],
        "bad": ["passes", "fails", "fails"],
        "unsure": ["passes", "undecided", "undecided"],
    }
    said = table[table["level"] == "overall"].set_index("stage")["definition"]
    assert list(said) == ["passes every task", "fails b", "undecided: b"]


def test_upper_bounds_share_their_error_over_tasks_and_lower_ones_do_not() -> None:
    before, after = [1.0] * 10 + [0.0] * 30, [0.0] * 10 + [0.0] * 30
    stages = {"sft": sampled(a__acc=before, b__acc=before), "dpo": sampled(a__acc=after, b__acc=after)}
    row = judged(stages, rail("a"), rail("b")).iloc[0]
    assert (row["low_confidence"], row["high_confidence"]) == (0.95, 0.975)
    assert row["low"] == pytest.approx(score_bound(10, 0, 40, Z95))
    assert row["high"] == pytest.approx(-score_bound(0, 10, 40, Z975))


def test_where_lower_is_better_a_rise_is_a_fall() -> None:
    rng = np.random.default_rng(0)
    before, noise = rng.random(50), 0.01 * rng.standard_normal(50)
    stages = {"sft": sampled(a__ter=before), "dpo": sampled(a__ter=before + 0.5 + noise)}
    row = judged(stages, rail("a", "ter", 0.1, sign=-1)).iloc[0]
    assert row["value"] == pytest.approx(-0.5, abs=0.01)
    assert row["verdict"] == "fails"
    assert judged(stages, rail("a", "ter", 0.1, sign=1)).iloc[0]["verdict"] == "passes"


def test_seeds_are_pooled_and_only_common_documents_count() -> None:
    before, after = sampled(a__acc=[1.0] * 60), sampled(a__acc=[1.0] * 50)
    table = judged({"sft": before, "dpo": after}, rail("a"), seeds=(0, 1, 2))
    assert list(table["n"]) == [50, 50]
    assert list(table["n_seeds"]) == [3, 3]
    assert table["low"].iloc[0] == pytest.approx(score_bound(0, 0, 50, Z95)), "what never varies has its documents only"


def test_without_common_documents_nothing_is_decided() -> None:
    other = sampled(a__acc=[1.0] * 20)
    other["hash"] += "x"
    table = judged({"sft": sampled(a__acc=[1.0] * 20), "dpo": other}, rail("a"))
    assert list(table["verdict"]) == ["undecided", "undecided"]
    assert list(table["n"]) == [0, 0]


def test_stages_that_are_not_judged_have_no_rows_and_sizes_are_judged_alone() -> None:
    same = sampled(a__acc=[1.0] * 60)
    tables = {Model(size, 0, stage): same for size in ("s", "m") for stage in ("plm", "sft", "dpo")}
    del tables[Model("m", 0, "dpo")]
    table = candidates_table(tables, [rail("a")], "sft", ["dpo"], 0.95)
    assert set(zip(table["size"], table["stage"], strict=True)) == {("s", "dpo")}


def test_costs_stand_beside_the_verdict() -> None:
    same = sampled(a__acc=[1.0] * 100)
    tables = {Model(size, 0, stage): same for size in ("small", "large") for stage in ("plm", "sft", "dpo")}
    candidates = candidates_table(tables, [rail("a")], "plm", ["dpo"], 0.95)
    costs = cost_tables(("sft", "dpo"), "plm")["costs"]
    merits = merits_table(candidates, costs, None, "1.0")
    assert list(merits.columns) == SCHEMAS["candidate_merits"].names
    assert set(merits["stage"]) == {"dpo"}
    assert set(merits["verdict"]) == {"passes"}
    assert list(merits["quantity"].unique()) == ["diversity lost", "quality gained", "cost"]
    found = merits[(merits["quantity"] == "cost") & (merits["size"] == "small") & (merits["prompts"] == "creative")]
    known = costs[(costs["stage"] == "dpo") & (costs["size"] == "small") & (costs["prompts"] == "creative")]
    assert list(found["value"]) == list(known["cost"])
    assert merits_table(candidates, None, None, "1.0").empty
    assert merits_table(candidates, costs, None, "0.5").empty, "nothing was measured at this temperature"


def test_win_rates_stand_beside_the_verdict_too() -> None:
    same = sampled(a__acc=[1.0] * 100)
    candidates = judged({"sft": same, "dpo": same}, rail("a"))
    row = {"judge": "rm", "size": "s", "stage": "dpo", "reference": "sft", "task": "all", "n_seeds": 1, "n_prompts": 9}
    won = {"value": 0.6, "low": 0.5, "high": 0.7, "controlled": 0.55, "controlled_low": 0.4, "controlled_high": 0.65}
    win_rates = pd.DataFrame(
        [{**row, **won, "temperature": t} for t in ("0.5", "1.0")] + [{**row, "stage": "rm", **won}]
    )
    merits = merits_table(candidates, None, win_rates, "1.0")
    assert list(merits["quantity"]) == ["win rate", "win rate at equal length"]
    assert list(merits["value"]) == [0.6, 0.55]
    assert list(merits["high"]) == [0.7, 0.65]
    assert set(merits["prompts"]) == {"all"}
    assert set(merits["metric"]) == {"rm"}
    assert merits["definition"].iloc[0] == "win rate against sft at T = 1.0, judged by rm"
    assert len(merits_table(candidates, None, win_rates, "0.7")) == 4, "all at which answers were judged"
