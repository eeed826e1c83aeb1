"""Quantities of personas: seeds averaged, values spelled alike, tests with defined edges, and the truth."""

import math

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis import persona_quantities
from modecollapse.analysis.persona_quantities import location_p, moment, pooled, share, spread_p, true_values
from modecollapse.analysis.personas import respelled
from modecollapse.metrics.categories import Estimated


def test_values_that_differ_in_case_are_written_as_most_are_or_as_the_world_has_them() -> None:
    values = ["thai", "Thai", "THAI", "Thai", "fox", None]
    answers = pd.DataFrame({"field": ["nationality"] * 4 + ["hero"] * 2, "value": values})
    found = respelled(answers, {"plain": {"hero": {"Fox": 1.0}}})
    assert found["value"].tolist()[:5] == ["Thai"] * 4 + ["Fox"]
    assert found["value"].isna().tolist() == [False] * 5 + [True]


def test_seeds_are_averaged_and_their_intervals_combined() -> None:
    both = pooled([Estimated(2.0, 0.3, 1.4, 2.6), Estimated(4.0, 0.4, 3.2, 4.8), Estimated(*[math.nan] * 4)])
    assert (both.value, both.error) == pytest.approx((3.0, 0.25))
    assert (both.low, both.high) == pytest.approx((2.5, 3.5))
    assert math.isnan(pooled([]).value)
    one = Estimated(0.0, 0.0, 0.0, 0.04)
    assert pooled([one]) == one, "of one model its own interval"


def test_shares_have_wilson_s_interval() -> None:
    none = share(np.zeros(10, dtype=bool))
    assert none.value == none.low == 0
    assert none.high == pytest.approx(1.96**2 / (10 + 1.96**2))
    assert math.isnan(share(np.zeros(0, dtype=bool)).value)


def test_means_and_deviations_of_few_numbers_are_defined() -> None:
    drawn = np.random.default_rng(0)
    sample = np.array([20.0, 30.0, 40.0, 50.0])
    found = moment(sample, False, drawn)
    assert found.value == 35
    assert found.low < 30 < 40 < found.high
    assert moment(sample, True, drawn).value == pytest.approx(math.sqrt(500 / 3))
    assert moment(np.array([3.0]), False, drawn).value == 3
    assert math.isnan(moment(np.array([3.0]), True, drawn).value)
    assert math.isnan(moment(np.zeros(0), False, drawn).value)


def test_tests_of_numbers_are_those_of_the_books_and_defined_where_nothing_varies() -> None:
    first, second = np.arange(1.0, 6.0), np.arange(6.0, 11.0)
    assert location_p(first, second) == pytest.approx(2 / 252), "exact: the most extreme of 252 orders, either way"
    assert location_p(np.ones(3), np.ones(4)) == 1
    assert math.isnan(location_p(np.ones(1), first))
    assert spread_p(first, second) == 1
    # Distances to medians (0, 1, 1) and (0, 10, 10): F = 54 / ((2/3 + 200/3) / 4) = 3.2079 on 1 and 4 degrees.
    assert spread_p(np.array([0.0, 1, 2]), np.array([0.0, 10, 20])) == pytest.approx(0.14776, abs=1e-4)
    assert spread_p(np.ones(3), np.full(4, 2.0)) == 1
    assert math.isnan(spread_p(np.array([0.0, 2.0]), np.array([0.0, 4.0])))


def test_the_truth_is_that_of_the_probabilities() -> None:
    found = true_values({"20": 0.5, "30": 0.25, "40": 0.25, "50": 0.0})
    assert found["entropy"] == 1.5
    assert found["support"] == 3
    assert found["effective"] == pytest.approx(2**1.5)
    assert (found["mean"], found["sd"]) == pytest.approx((27.5, math.sqrt(68.75)))
    assert "mean" not in true_values({"fox": 1.0})
    assert true_values(None) == {}


def test_a_deviation_is_called_after_its_mean() -> None:
    assert [persona_quantities.sd_of(name) for name in ("mean", "words")] == ["sd", "words_sd"]
