"""Tables of benchmarks: intervals that hold at 0 and 1, pooling over seeds, and paired tests worked by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from modecollapse.analysis.benchmarks import (
    benchmark_tests_table,
    benchmarks_pooled_table,
    benchmarks_table,
    mcnemar,
    paired_interval,
    score_interval,
)
from modecollapse.analysis.stage_tests import signed_rank
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model

PATHS = [["plm", "sft", "dpo"]]


def sampled(values: Sequence[float], task: str = "t", metric: str = "acc", shots: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": task,
            "shots": shots,
            "filter": "none",
            "metric": metric,
            "document": range(len(values)),
            "hash": [f"h{place}" for place in range(len(values))],
            "value": values,
        }
    )


def result(value: float, n: int, metric: str = "acc", aggregation: str = "mean", se: float = 0.1) -> pd.DataFrame:
    row = {
        **{"task": "t", "shots": 0, "filter": "none", "metric": metric, "value": value, "se": se, "n": n},
        **{"aggregation": aggregation, "higher_is_better": True, "chance": 0.5, "n_truncated": 0, "version": "1"},
    }
    return pd.DataFrame([row])


def stages(**values: Sequence[float]) -> dict[Model, pd.DataFrame]:
    return {Model("s", 0, stage): sampled(of_stage) for stage, of_stage in values.items()}


def test_mcnemars_exact_test_agrees_with_values_worked_by_hand() -> None:
    # Of 6 documents that changed 1 was gained: 2 · (C(6,0) + C(6,1)) / 2^6 = 14/64.
    assert mcnemar(5, 1) == pytest.approx(14 / 64)
    # All 5 lost: 2 / 2^5.
    assert mcnemar(5, 0) == pytest.approx(1 / 16)
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(0, 0) == 1.0


def test_mcnemars_test_is_the_signed_rank_test_of_answers_that_are_right_or_wrong() -> None:
    differences = np.array([1.0] * 2 + [-1.0] * 9 + [0.0] * 30)
    assert signed_rank(differences)[4] == pytest.approx(mcnemar(9, 2))


def test_the_score_interval_is_wilsons() -> None:
    expected = binomtest(7, 20).proportion_ci(method="wilson")
    assert score_interval(7 / 20, 20, 1.959963984540054) == pytest.approx((expected.low, expected.high))
    low, high = score_interval(0.0, 20, 1.959963984540054)
    assert low == 0.0
    assert 0.1 < high < 0.2


def test_the_interval_of_a_paired_difference_agrees_with_one_worked_by_hand() -> None:
    # n = 20, 6 lost, 2 gained: (7/22, 3/22), difference -4/22, se = sqrt((10/22 - (4/22)^2) / 22).
    half = 1.959963984540054 * math.sqrt((10 / 22 - (4 / 22) ** 2) / 22)
    assert paired_interval(6, 2, 20) == pytest.approx((-4 / 22 - half, -4 / 22 + half))
    low, high = paired_interval(0, 0, 20)
    assert low < 0 < high, "no document changed, which is no proof that none does"


def test_a_value_and_its_standard_error_are_the_harnesss_and_the_interval_holds_the_value() -> None:
    values = [1.0] * 12 + [0.0] * 8
    model = Model("s", 0, "plm")
    (row,) = benchmarks_table({model: result(0.6, 20)}, {model: sampled(values)}).to_dict("records")
    assert (row["value"], row["se"], row["n"]) == (0.6, 0.1, 20)
    assert row["low"] < 0.6 < row["high"]
    # Nearly Wilson's, with one document fewer and Student's t.
    wilson = binomtest(12, 20).proportion_ci(method="wilson")
    assert row["low"] == pytest.approx(wilson.low, abs=0.02)
    assert row["high"] == pytest.approx(wilson.high, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_accuracy_of_none_or_all_has_an_interval_with_width(share: float) -> None:
    model = Model("s", 0, "plm")
    row = benchmarks_table({model: result(share, 20)}, {model: sampled([share] * 20)}).iloc[0]
    assert 0.1 < row["high"] - row["low"] < 0.3


def test_the_interval_of_perplexity_is_that_of_the_mean_log_likelihood() -> None:
    values = [-1.0, -2.0, -3.0, -2.0]
    model = Model("s", 0, "plm")
    results = {model: result(math.exp(2), 4, "perplexity", "perplexity")}
    row = benchmarks_table(results, {model: sampled(values, metric="log_likelihood")}).iloc[0]
    half = 3.182446305 * np.std(values, ddof=1) / 2
    assert (row["low"], row["high"]) == pytest.approx((math.exp(2 - half), math.exp(2 + half)))


def test_an_aggregate_of_the_harness_has_an_interval_from_its_standard_error() -> None:
    model = Model("s", 0, "plm")
    row = benchmarks_table({model: result(0.3, 20, "f1", "f1")}, {model: sampled([0.0])}).iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((0.3 - 0.196, 0.3 + 0.196), abs=1e-3)
    row = benchmarks_table({model: result(0.3, 20, "f1", "f1", math.nan)}, {model: sampled([0.0])}).iloc[0]
    assert math.isnan(row["low"])


def test_pooling_averages_over_seeds_which_answered_the_same_documents() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.random(400)
    values = {Model("s", seed, "plm"): (rng.random(400) < difficulty).astype(float) for seed in range(3)}
    results = {model: result(of_model.mean(), 400) for model, of_model in values.items()}
    samples = {model: sampled(list(of_model)) for model, of_model in values.items()}
    (row,) = benchmarks_pooled_table(results, samples).to_dict("records")
    assert row["value"] == pytest.approx(np.mean(list(values.values())))
    assert (row["n"], row["n_seeds"]) == (400, 3)
    # Documents differ in difficulty, so three seeds know less than 1200 documents would tell.
    independent = binomtest(int(sum(one.sum() for one in values.values())), 1200).proportion_ci(method="wilson")
    assert row["high"] - row["low"] > independent.high - independent.low


def test_every_step_and_the_total_are_compared_on_the_same_documents() -> None:
    table = benchmark_tests_table(
        stages(plm=[1.0] * 8 + [0.0] * 2, sft=[1.0] * 3 + [0.0] * 6 + [1.0], dpo=[1.0] * 3 + [0.0] * 7), PATHS
    )
    assert list(table.columns) == SCHEMAS["benchmark_tests"].names
    assert list(table["step"]) == ["plm>sft", "sft>dpo", "total"]
    first = table.iloc[0]
    assert (first["lost"], first["gained"], first["n"], first["test"]) == (5, 1, 10, "mcnemar")
    assert first["difference"] == pytest.approx(-0.4)
    assert first["p"] == pytest.approx(14 / 64)
    assert list(table["p_holm"]) == pytest.approx([2 * 14 / 64, 1.0, 3 * 2 / 32])
    assert set(table["n_family"]) == {3}


def test_values_that_are_no_shares_get_the_signed_rank_test() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.normal(size=30), rng.normal(0.5, size=30)
    row = benchmark_tests_table(stages(plm=list(before), sft=list(after)), PATHS).iloc[0]
    assert row["test"] == "signed-rank"
    assert row["p"] == pytest.approx(signed_rank(after - before)[4])
    half = 2.045229642 * np.std(after - before, ddof=1) / math.sqrt(30)
    assert (row["low"], row["high"]) == pytest.approx((row["difference"] - half, row["difference"] + half))


def test_with_several_seeds_the_unit_is_the_document_averaged_over_them() -> None:
    samples = {
        Model("s", seed, stage): sampled(values)
        for stage, of_stage in {
            "plm": [[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]],
            "sft": [[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]],
        }.items()
        for seed, values in enumerate(of_stage)
    }
    row = benchmark_tests_table(samples, PATHS).iloc[0]
    assert (row["n"], row["n_seeds"], row["test"]) == (4, 2, "signed-rank")
    assert (row["lost"], row["gained"]) == (2, 1)
    assert row["difference"] == pytest.approx((0 - 0.5 + 0.5 - 1) / 4)


def test_documents_that_only_one_stage_answered_are_left_out() -> None:
    samples = stages(plm=[1.0] * 6, sft=[0.0] * 4)
    row = benchmark_tests_table(samples, PATHS).iloc[0]
    assert (row["n"], row["lost"]) == (4, 4)


def test_stages_without_a_common_path_are_not_compared() -> None:
    assert benchmark_tests_table(stages(plm=[1.0], other=[0.0]), PATHS).empty


def test_families_are_those_of_one_size_path_and_number_of_shots() -> None:
    def both(values: Sequence[float]) -> pd.DataFrame:
        return pd.concat([sampled(values), sampled(values, task="u"), sampled(values, shots=5)], ignore_index=True)

    samples = {Model("s", 0, "plm"): both([1.0] * 6), Model("s", 0, "sft"): both([0.0] * 6)}
    table = benchmark_tests_table(samples, PATHS)
    assert {(row.shots, row.family, row.n_family) for row in table.itertuples()} == {
        (0, "s/0 shots/plm>sft", 2),
        (5, "s/5 shots/plm>sft", 1),
    }


def test_the_total_of_two_stages_is_their_step_and_counts_once() -> None:
    both = [pd.concat([sampled(values), sampled(values, task="u")]) for values in ([1.0] * 6, [0.0] * 6)]
    table = benchmark_tests_table({Model("s", 0, "plm"): both[0], Model("s", 0, "sft"): both[1]}, PATHS)
    assert list(table["step"]) == ["plm>sft", "total"] * 2
    assert list(table["p_holm"]) == pytest.approx([2 * 2 / 64] * 4), "two tasks are two tests, each of them in two rows"
