"""Win rates at equal length: what the regression gives, and what it gives where there is little to fit."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from modecollapse.analysis.length_control import PENALTY, controlled_rates, length_features


def by_the_library(wins, features, weights):
    """The same by scikit-learn, which penalises slopes and no intercept; a tie is half a win and half a loss."""
    twice = np.concatenate([features, features])[:, None]
    sides = np.concatenate([np.ones(len(wins)), np.zeros(len(wins))])
    shares = np.concatenate([weights * wins, weights * (1 - wins)])
    model = LogisticRegression(C=1 / PENALTY, tol=1e-10, max_iter=10_000).fit(twice, sides, shares)
    return model.predict_proba(np.zeros((1, 1)))[0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_rate_is_that_of_the_library_s_regression_whatever_the_weights(seed):
    generator = np.random.default_rng(seed)
    features = length_features(generator.normal(5, 20, 60))
    wins = generator.choice([0.0, 0.5, 1.0], 60, p=[0.3, 0.2, 0.5])
    weights = generator.integers(0, 4, (3, 60)).astype(float)
    expected = [by_the_library(wins, features, of) for of in weights]
    np.testing.assert_allclose(controlled_rates(wins, features, weights), expected, atol=1e-5)


def test_what_only_length_explains_is_no_win_at_equal_length():
    generator = np.random.default_rng(0)
    difference = generator.normal(30, 30, 4000)
    features = length_features(difference)
    wins = (generator.random(4000) < 1 / (1 + np.exp(-2 * features))).astype(float)
    (rate,) = controlled_rates(wins, features, np.ones((1, 4000)))
    assert wins.mean() > 0.65
    assert abs(rate - 0.5) < 0.04


def test_without_a_difference_of_lengths_it_is_the_plain_rate():
    wins = np.array([1.0, 1.0, 0.5, 0.0])
    features = length_features(np.zeros(4))
    assert features.tolist() == [0, 0, 0, 0]
    assert controlled_rates(wins, features, np.ones((1, 4))) == pytest.approx(wins.mean())


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_verdicts_that_are_all_alike_stay_so_and_finite(won):
    (rate,) = controlled_rates(np.full(5, won), length_features(np.arange(5.0)), np.ones((1, 5)))
    assert rate == pytest.approx(won, abs=1e-3)


def test_verdicts_that_length_separates_are_finite_and_even():
    differences = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    (rate,) = controlled_rates((differences > 0).astype(float), length_features(differences), np.ones((1, 6)))
    assert rate == pytest.approx(0.5)


def test_no_weight_is_no_rate():
    rates = controlled_rates(np.array([1.0, 0.0]), np.array([0.1, 0.2]), np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert np.isnan(rates).tolist() == [True, False]
    assert np.isnan(controlled_rates(np.zeros(0), length_features(np.zeros(0)), np.zeros((1, 0)))).all()
