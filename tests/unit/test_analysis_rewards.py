"""The table of reward models: shares and correlations by hand, subsets, ties, and intervals that cover."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.rewards import rewards_table
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model

BOOTSTRAP = Bootstrap(resamples=500, seed=0)
RM = Model("S", 0, "rm")

# chosen score, rejected score, chosen tokens, rejected tokens, chosen utility, rejected utility, task
PAIRS = [
    (2.0, 1.0, 9, 5, 1.0, 0.0, "tale"),
    (1.0, 3.0, 4, 8, 2.0, 1.0, "tale"),
    (5.0, 5.0, 7, 6, 0.0, 1.0, "fact"),
    (4.0, 1.0, 3, 3, 1.0, 1.0, "fact"),
]
COLUMNS = [f"{answer}_{of}" for of in ("score", "tokens", "utility") for answer in ("chosen", "rejected")]


def frame(rows: list[tuple[Any, ...]] = PAIRS, data: str = "held", prompts: list[int] | None = None) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=[*COLUMNS, "task"])
    return found.assign(data=data, pair=range(len(rows)), prompt=prompts or list(range(len(rows))))


def value(table: pd.DataFrame, quantity: str, task: str = "all", better: str = "all", data: str = "held") -> Any:
    rows = table.query("quantity == @quantity and task == @task and better == @better and data == @data")
    assert len(rows) == 1
    return rows.iloc[0]


def test_shares_and_correlations_are_those_worked_by_hand() -> None:
    table = rewards_table({RM: frame()}, BOOTSTRAP)
    assert list(table.columns) == SCHEMAS["rewards"].names
    accuracy = value(table, "accuracy")
    assert (accuracy["value"], accuracy["n_pairs"], accuracy["n_ties"]) == (2.5 / 4, 4, 1)
    assert value(table, "contradicted")["value"] == 1.5 / 4
    # Of the three pairs with different utilities: right, wrong, and a tie.
    assert value(table, "utility_accuracy")["value"] == pytest.approx(1.5 / 3)
    assert value(table, "utility_accuracy")["n_pairs"] == 3
    # Differences of scores 1, -2, 0, 3 and of utilities 1, 1, -1, 0, each pair in both orders.
    assert value(table, "pearson")["value"] == pytest.approx((1 - 2) / math.sqrt(14 * 3))
    # Ranks among both orders, centred: of scores 1.5, -2.5, 0, 3.5; of utilities, where 1 and -1 come thrice, 2.5, 2.5,
    # -2.5, 0.
    expected = (1.5 * 2.5 - 2.5 * 2.5) / math.sqrt((1.5**2 + 2.5**2 + 3.5**2) * 3 * 2.5**2)
    assert value(table, "spearman")["value"] == pytest.approx(expected)


def test_intervals_end_where_shares_and_correlations_do() -> None:
    right = [(2.0 + n, 1.0, 9, 5, 1.0 + n, 0.0, "tale") for n in range(4)]
    wrong = [(1.0, 2.0 + n, 4, 8, 1.0 + n, 0.0, "tale") for n in range(4)]
    table = rewards_table({RM: frame(right), Model("S", 1, "rm"): frame([*right[:3], wrong[3]])}, BOOTSTRAP)
    accuracy, pearson = value(table, "accuracy"), value(table, "pearson")
    assert 0 <= accuracy["low"] < accuracy["value"] < accuracy["high"] == 1
    assert -1 <= pearson["low"] < 0 < pearson["value"] < pearson["high"] == 1


def test_subsets_are_tasks_lengths_and_both() -> None:
    table = rewards_table({RM: frame()}, BOOTSTRAP)
    assert value(table, "accuracy", better="longer")["value"] == 0.75
    assert value(table, "accuracy", better="shorter")["value"] == 0.0
    assert value(table, "accuracy", task="tale")["value"] == 0.5
    assert value(table, "accuracy", task="tale", better="longer")["n_pairs"] == 1
    found = set(zip(table["task"], table["better"], strict=True))
    assert ("fact", "shorter") not in found, "no pair is such"
    untold = frame().assign(task=None, chosen_utility=np.nan, rejected_utility=np.nan)
    table = rewards_table({RM: untold}, BOOTSTRAP)
    assert set(table["task"]) == {"all"}
    assert set(table["quantity"]) == {"accuracy", "contradicted"}


def test_which_answer_was_labelled_better_does_not_matter_to_correlations() -> None:
    turned = [
        (*(row[i] for i in (1, 0, 3, 2, 5, 4)), row[6]) if number % 2 else row for number, row in enumerate(PAIRS)
    ]
    tables = [rewards_table({RM: frame(rows)}, BOOTSTRAP) for rows in (PAIRS, turned)]
    for quantity in ("pearson", "spearman", "utility_accuracy"):
        first, second = (value(table, quantity)["value"] for table in tables)
        assert first == pytest.approx(second), quantity


def test_seeds_are_averaged_and_sets_kept_apart() -> None:
    better = [(9.0, *row[1:]) for row in PAIRS]
    models = {
        Model("S", seed, "rm"): pd.concat([frame(rows), frame(rows[:2], data="train")], ignore_index=True)
        for seed, rows in enumerate((PAIRS, better))
    }
    table = rewards_table(models, BOOTSTRAP)
    assert value(table, "accuracy")["value"] == pytest.approx((2.5 / 4 + 1) / 2)
    assert value(table, "accuracy", data="train")["value"] == pytest.approx(0.75)
    assert set(table["n_seeds"]) == {2}


def test_intervals_cover_and_widen_where_pairs_share_prompts() -> None:
    generator = np.random.default_rng(0)
    covered, alone, shared = 0, [], []
    for _ in range(60):
        scores = generator.normal(0.5, 1.0, 200)
        rows = [(score, 0.0, 5, 4, 1.0, 0.0, None) for score in scores]
        row = value(rewards_table({RM: frame(rows)}, BOOTSTRAP), "accuracy")
        covered += row["low"] <= 0.69146 <= row["high"]  # Φ(0.5)
        alone.append(row["high"] - row["low"])
        five = [row for row in rows[:40] for _ in range(5)]
        row = value(rewards_table({RM: frame(five, prompts=[n // 5 for n in range(200)])}, BOOTSTRAP), "accuracy")
        shared.append(row["high"] - row["low"])
        assert row["n_prompts"] == 40
    assert covered >= 52  # 95 % of 60 is 57
    assert np.mean(shared) == pytest.approx(np.sqrt(5) * np.mean(alone), rel=0.1)


def test_a_model_that_is_always_right_is_not_certain_and_one_prompt_tells_nothing() -> None:
    rows = [(1.0, 0.0, 5, 4, np.nan, np.nan, None)] * 20
    row = value(rewards_table({RM: frame(rows)}, BOOTSTRAP), "accuracy")
    assert row["value"] == row["high"] == 1.0
    assert row["low"] == pytest.approx(20 / (20 + 1.96**2), abs=1e-3)  # Wilson
    row = value(rewards_table({RM: frame(rows, prompts=[0] * 20)}, BOOTSTRAP), "accuracy")
    assert math.isnan(row["low"])


def test_pairs_that_a_stage_wrote_may_differ_by_seed() -> None:
    more = [*PAIRS, (3.0, 1.0, 9, 5, 1.0, 0.0, "tale"), (2.0, 1.0, 9, 5, 1.0, 0.0, "tale")]
    table = rewards_table({RM: frame(), Model("S", 1, "rm"): frame(more, prompts=[9, 8, 7, 6, 5, 4])}, BOOTSTRAP)
    row = value(table, "accuracy")
    assert row["value"] == pytest.approx((2.5 / 4 + 4.5 / 6) / 2)
    assert (row["n_seeds"], row["n_pairs"], row["n_prompts"]) == (2, 5, 10)
    alone = rewards_table({Model("S", 1, "rm"): frame(more)}, BOOTSTRAP)
    both = value(table, "pearson")["value"]
    first = value(rewards_table({RM: frame()}, BOOTSTRAP), "pearson")["value"]
    assert both == pytest.approx((first + value(alone, "pearson")["value"]) / 2)
