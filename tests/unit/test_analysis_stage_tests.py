"""Paired tests between stages: p-values, families and effect sizes against hand-worked values and scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from modecollapse.analysis.stage_tests import EXACT_UNTIL, holm, signed_rank, tests_table
from tests.unit.test_analysis_attribution import PATH, scores, study

# pytest would take it for a test.
make_table = tests_table
del tests_table


def test_a_small_case_by_hand() -> None:
    n, zeros, mean, w, p, biserial, d_z = signed_rank(np.array([1.0, 2.0, -3.0, 4.0, 0.0]))
    assert (n, zeros, mean) == (5, 1, 0.8)
    assert w == 1 + 2 + 4
    # Of the 16 sign patterns of the ranks 1 to 4, those with a sum of 7 or more or of 3 or less: 5 on each side.
    assert p == pytest.approx(10 / 16)
    assert biserial == pytest.approx((7 - 3) / 10)
    # Hedges' correction with four degrees of freedom is Γ(2) / (√2 Γ(1.5)) = 0.797885.
    assert d_z == pytest.approx(0.797885 * 0.8 / np.std([1, 2, -3, 4, 0], ddof=1), rel=1e-6)


@pytest.mark.parametrize("n", [5, 20, 40])
def test_p_values_are_those_of_scipys_exact_test(n: int) -> None:
    for seed in range(20):
        differences = np.random.default_rng(seed).normal(0.3, size=n)
        expected = stats.wilcoxon(differences, method="exact")
        found = signed_rank(differences)
        assert found[4] == pytest.approx(expected.pvalue, rel=1e-9)
        assert min(found[3], n * (n + 1) / 2 - found[3]) == expected.statistic


def test_with_ties_and_zeros_p_is_the_share_of_sign_patterns() -> None:
    differences = np.array([0.0, 0.1, 0.1, -0.1, 0.2, 0.2, 0.3, -0.2, 0.0])
    ranked = stats.rankdata(np.abs(differences[differences != 0]))
    patterns = np.array(np.meshgrid(*[[0, 1]] * len(ranked))).reshape(len(ranked), -1).T @ ranked
    w = ranked[differences[differences != 0] > 0].sum()
    expected = np.mean(np.abs(patterns - ranked.sum() / 2) >= abs(w - ranked.sum() / 2) - 1e-9)
    assert signed_rank(differences)[4] == pytest.approx(expected)


def test_beyond_the_exact_range_p_is_scipys_normal_approximation() -> None:
    differences = np.round(np.random.default_rng(0).normal(0.2, size=EXACT_UNTIL + 30), 1)
    expected = stats.wilcoxon(differences, zero_method="wilcox", correction=False, method="approx")
    assert signed_rank(differences)[4] == pytest.approx(expected.pvalue)


def test_differences_that_are_equal_but_for_rounding_are_ties() -> None:
    assert signed_rank(np.array([0.1 + 0.2 - 0.3, 0.3, 0.1 + 0.2, -0.7]))[1] == 1
    assert signed_rank(np.array([0.3, 0.1 + 0.2, -0.7]))[3] == 3.0


def test_what_nothing_can_be_said_about() -> None:
    assert signed_rank(np.array([]))[:2] == (0, 0)
    assert np.isnan(signed_rank(np.array([]))[2:]).all()
    n, zeros, mean, w, p, biserial, d_z = signed_rank(np.zeros(6))
    assert (n, zeros, mean, w, p, biserial) == (6, 6, 0.0, 0.0, 1.0, 0.0)
    assert np.isnan(d_z)
    assert np.isnan(signed_rank(np.full(6, 0.1))[6]), "no variation"


def test_swapping_the_stages_turns_the_signs_and_keeps_p() -> None:
    differences = np.random.default_rng(1).normal(size=15)
    one, other = signed_rank(differences), signed_rank(-differences)
    assert one[4] == pytest.approx(other[4])
    assert (one[2], one[5], one[6]) == pytest.approx((-other[2], -other[5], -other[6]))


def test_holm_by_hand() -> None:
    adjusted = holm(np.array([0.04, np.nan, 0.01, 0.03, 0.005]))
    # Sorted 0.005·4 = 0.02, 0.01·3 = 0.03, 0.03·2 = 0.06, 0.04·1 = 0.04, which may not be below the one before.
    assert adjusted == pytest.approx([0.06, np.nan, 0.03, 0.06, 0.02], nan_ok=True)
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]


def test_the_table_averages_seeds_first_and_adjusts_within_its_families() -> None:
    frames = [pd.concat([frame, frame.assign(metric="ncd", value=0.5)]) for frame in study(seeds=3)]
    table = make_table(frames, [PATH], {})
    assert len(table) == 3 * 2 * 3
    assert set(table["n_prompts"]) == {20}
    assert set(table["n_seeds"]) == {3}
    assert table["family"].nunique() == 3
    assert set(table["n_family"]) == {6}
    for _, family in table.groupby("family"):
        assert family["p_holm"].to_numpy() == pytest.approx(holm(family["p"].to_numpy()))
    row = table[(table["metric"] == "self_bleu") & (table["temperature"] == "0.5") & (table["step"] == "total")].iloc[0]
    last, first = (
        np.mean([f["value"][(f["metric"] == "self_bleu") & (f["temperature"] == "0.5")] for f in frames[k::3]], axis=0)
        for k in (2, 0)
    )
    assert row["difference"] == pytest.approx((last - first).mean())
    assert row["p"] == pytest.approx(stats.wilcoxon(last - first, method="exact").pvalue)
    unchanged = table[table["metric"] == "ncd"]
    assert set(unchanged["p"]) == {1.0}
    assert set(unchanged["n_zero"]) == {20}


def test_the_total_of_two_stages_is_their_step_and_counts_once() -> None:
    frames = [pd.concat([frame, frame.assign(metric="ncd", value=0.5)]) for frame in study(seeds=3)]
    table = make_table(frames, [PATH[:2]], {})
    assert set(table["n_family"]) == {2}
    steps, totals = (
        table[of].set_index(["temperature", "metric"]) for of in (table["step"] != "total", table["step"] == "total")
    )
    pd.testing.assert_series_equal(steps["p_holm"], totals["p_holm"])
    for _, family in steps.groupby("family"):
        assert family["p_holm"].to_numpy() == pytest.approx(holm(family["p"].to_numpy()))


def test_a_prompt_undefined_at_one_stage_is_in_no_test() -> None:
    frames = [scores(stage, np.ones((2, 4)) * place) for place, stage in enumerate(PATH)]
    frames[1].loc[frames[1]["prompt"] == "p0", "value"] = np.nan
    assert set(make_table(frames, [PATH], {})["n_prompts"]) == {3}
