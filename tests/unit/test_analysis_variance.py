"""Variance components of a two-way layout, by hand."""

import numpy as np
import pytest

from modecollapse.analysis.variance import Spread, spread_of_mean

LAYOUT = np.array([[[1.0, 2.0, 6.0], [3.0, 8.0, 10.0]]])
"""Mean 5; seeds 3 and 7; prompts 2, 5 and 8. Sums of squares 24, 36 and 4 with 1, 2 and 2 degrees of freedom."""


def test_the_spread_is_that_of_the_mean_squares_by_hand() -> None:
    spread = spread_of_mean(LAYOUT)
    seeds, prompts, rest = 24.0, 18.0, 2.0
    assert spread.variance == pytest.approx([(seeds + prompts - rest) / 6])
    degrees = (seeds + prompts - rest) ** 2 / (seeds**2 / 1 + prompts**2 / 2 + rest**2 / 2)
    assert spread.degrees == pytest.approx([degrees])


def test_one_seed_leaves_the_prompts_and_one_prompt_the_seeds() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    for shape in ((1, 1, 4), (1, 4, 1)):
        spread = spread_of_mean(values.reshape(shape))
        assert spread.variance == pytest.approx([values.var(ddof=1) / 4])
        assert spread.degrees == pytest.approx([3])


def test_seeds_that_differ_no_more_than_the_rest_count_as_alike() -> None:
    # Seeds have the same mean, so their mean square (0) is below that of the rest (1).
    values = np.array([[[0.0, 5.0, 10.0], [1.0, 3.5, 10.5]]])
    spread = spread_of_mean(values)
    by_prompt = values[0].mean(axis=0)
    assert spread.variance == pytest.approx([by_prompt.var(ddof=1) / 3])
    assert spread.degrees == pytest.approx([2])


def test_a_prompt_that_is_undefined_for_all_seeds_is_no_prompt() -> None:
    with_gap = np.concatenate([LAYOUT, np.full((1, 2, 1), np.nan)], axis=2)
    whole, gap = spread_of_mean(LAYOUT), spread_of_mean(with_gap)
    assert gap.variance == pytest.approx(whole.variance)
    assert gap.degrees == pytest.approx(whole.degrees)


def test_with_scattered_gaps_the_variance_is_right_on_average() -> None:
    generator = np.random.default_rng(0)
    n = 20_000
    values = 0.4 * generator.normal(size=(n, 4, 1)) + generator.normal(size=(n, 1, 12))
    values = values + 0.5 * generator.normal(size=(n, 4, 12))
    values[:, 0, ::3] = values[:, 2, 1] = np.nan
    means = np.nanmean(values, axis=(1, 2))
    assert spread_of_mean(values).variance.mean() == pytest.approx(means.var(), rel=0.05)


def test_a_single_value_and_none_have_no_spread() -> None:
    values = np.full((2, 2, 2), np.nan)
    values[0, 0, 0] = 3.0
    spread = spread_of_mean(values)
    assert spread.variance == pytest.approx([0, 0])
    assert np.isnan(spread.degrees).all()


def test_the_spread_of_a_difference_of_independent_means_is_welchs() -> None:
    one, two = Spread(np.array([4.0]), np.array([10.0])), Spread(np.array([1.0]), np.array([5.0]))
    both = one.plus(two)
    assert both.variance == pytest.approx([5.0])
    assert both.degrees == pytest.approx([25 / (16 / 10 + 1 / 5)])
