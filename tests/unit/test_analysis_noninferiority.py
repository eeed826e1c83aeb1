"""One-sided bounds of paired differences: worked by hand, and never more often wrong than they say."""

import math

import numpy as np
import pytest
from scipy.special import gammaln, ndtri

from modecollapse.analysis.noninferiority import Verdict, bounds, score_bound, verdict
from modecollapse.analysis.variance import Array

Z95 = 1.6448536269514722
"""Quantile of the standard normal distribution at 0.95."""


def test_without_a_changed_document_the_bound_is_that_of_a_share_that_was_never_seen() -> None:
    # The most likely fall at a difference −d is d, so (96 d − 1)² = z² · 96 d (1 − d): with x = 96 d,
    # (1 + z²/96) x² − (2 + z²) x + 1 = 0.
    a, b = 1 + Z95**2 / 96, 2 + Z95**2
    expected = -(b + math.sqrt(b * b - 4 * a)) / (2 * a) / 96
    assert score_bound(0, 0, 96, Z95) == pytest.approx(expected)
    assert expected == pytest.approx(-0.0453, abs=1e-4)


def test_the_score_that_a_bound_stands_for_is_the_quantile() -> None:
    # Of 20 documents 6 fell, 2 rose. The most likely fall p at the bound d: 40 p² + (44 d − 8) p − 6 d (1 − d) = 0.
    d = score_bound(6, 2, 20, Z95)
    p = (math.sqrt((44 * d - 8) ** 2 + 4 * 40 * 6 * d * (1 - d)) - (44 * d - 8)) / 80
    assert (2 - 6 - 20 * d - 1) / math.sqrt(20 * (2 * p + d * (1 - d))) == pytest.approx(Z95)
    assert d == pytest.approx(-0.46524, abs=1e-5)


def test_at_a_margin_of_nearly_zero_the_test_is_mcnemars_with_edwards_correction() -> None:
    rose, fell = 30, 10
    corrected = (rose - fell - 1) / math.sqrt(rose + fell)
    assert score_bound(fell, rose, 1000, corrected) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("fell", "rose"), [(20, 0), (0, 20), (10, 10), (0, 0)])
def test_bounds_stay_between_minus_one_and_one(fell: int, rose: int) -> None:
    assert -1 <= score_bound(fell, rose, 20, Z95) <= max(-1, (rose - fell - 1) / 20)


def test_bounds_of_a_fall_are_those_of_a_rise_turned_round() -> None:
    reference, candidate = answers(fell=7, rose=3, documents=50)
    low, high = bounds(candidate, reference, 0.95, 0.975)
    turned = bounds(reference, candidate, 0.975, 0.95)
    assert (low, high) == pytest.approx((-turned[1], -turned[0]))
    assert low == pytest.approx(score_bound(7, 3, 50, Z95))
    assert high == pytest.approx(-score_bound(3, 7, 50, float(ndtri(0.975))))


def test_bounds_of_log_likelihoods_are_students() -> None:
    reference, candidate = np.zeros((1, 4)), np.array([[-1.0, -2.0, -3.0, -2.0]])
    half = 2.3533634348 * np.std(candidate, ddof=1) / 2  # Student's t of 3 degrees of freedom at 0.95
    assert bounds(candidate, reference, 0.95, 0.95) == pytest.approx((-2 - half, -2 + half))


def test_one_document_says_nothing() -> None:
    assert all(math.isnan(bound) for bound in bounds(np.ones((3, 1)), np.zeros((3, 1)), 0.95, 0.95))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.019, 0.1, Verdict.PASSES),
        (-0.021, 0.1, Verdict.UNDECIDED),
        (-0.5, -0.019, Verdict.UNDECIDED),
        (-0.5, -0.021, Verdict.FAILS),
        (-0.02, -0.02, Verdict.UNDECIDED),
        (math.nan, math.nan, Verdict.UNDECIDED),
    ],
)
def test_a_verdict_needs_a_bound_beyond_the_margin(low: float, high: float, expected: Verdict) -> None:
    assert verdict(low, high, 0.02) is expected


@pytest.mark.parametrize("documents", [15, 40, 96])
@pytest.mark.parametrize("margin", [0.02, 0.05, 0.2])
def test_a_candidate_that_is_worse_by_the_margin_passes_no_more_often_than_stated(
    documents: int, margin: float
) -> None:
    """Every outcome is enumerated, so this is the exact error of the test, for any share of documents that rise."""
    rose, fell = np.indices((documents + 1, documents + 1)).reshape(2, -1)
    rose, fell = rose[rose + fell <= documents], fell[rose + fell <= documents]
    found = {
        error: np.array([score_bound(f, r, documents, -ndtri(error)) for r, f in zip(rose, fell, strict=True)])
        for error in ((0.05, 0.01) if documents < 96 else (0.05,))
    }
    same = documents - rose - fell
    ways = gammaln(documents + 1) - gammaln(rose + 1) - gammaln(fell + 1) - gammaln(same + 1)
    for rises in (1e-12, 0.005, 0.01, 0.03, 0.1, 0.2, 0.39):
        falls = rises + margin
        probability = np.exp(ways + rose * np.log(rises) + fell * np.log(falls) + same * np.log(1 - rises - falls))
        assert probability.sum() == pytest.approx(1.0)
        for error, low in found.items():
            assert probability[low > -margin].sum() <= error


@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_with_three_seeds_the_error_at_the_margin_is_at_most_the_stated_one(spread: float) -> None:
    """Documents differ in difficulty and seeds in how they were trained; both, and the number of seeds, count."""
    rng, margin, trials, passed = np.random.default_rng(0), 0.05, 1500, 0
    for _ in range(trials):
        difficulty = rng.uniform(0.1, 0.85, 150)
        shift = spread * rng.standard_normal((3, 1))
        luck = rng.random((3, 150))
        again = np.where(rng.random((3, 150)) < 0.7, luck, rng.random((3, 150)))
        reference = (luck < difficulty + margin).astype(float)
        candidate = (again < np.clip(difficulty + shift, 0, 1)).astype(float)
        passed += verdict(*bounds(candidate, reference, 0.95, 0.95), margin) is Verdict.PASSES
    assert passed / trials <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / trials)


def test_with_log_likelihoods_the_error_at_the_margin_is_the_stated_one() -> None:
    rng, margin, trials = np.random.default_rng(1), 0.1, 3000
    said = [
        verdict(*bounds(rng.normal(-margin, 0.5, (1, 60)), np.zeros((1, 60)), 0.95, 0.95), margin)
        for _ in range(trials)
    ]
    for wrong in (Verdict.PASSES, Verdict.FAILS):
        assert said.count(wrong) / trials == pytest.approx(0.05, abs=2.6 * math.sqrt(0.05 * 0.95 / trials))


def test_a_candidate_as_good_as_the_reference_passes_given_enough_documents() -> None:
    reference, candidate = answers(fell=20, rose=20, documents=1000)
    assert verdict(*bounds(candidate, reference, 0.95, 0.95), 0.02) is Verdict.PASSES
    fallen = answers(fell=60, rose=20, documents=1000)[1]
    assert verdict(*bounds(fallen, answers(60, 20, 1000)[0], 0.95, 0.95), 0.02) is Verdict.FAILS


def answers(fell: int, rose: int, documents: int) -> tuple[Array, Array]:
    """Right and wrong answers of one seed, the reference's and the candidate's."""
    reference, candidate = np.zeros((1, documents)), np.zeros((1, documents))
    reference[0, :fell] = 1.0
    candidate[0, fell : fell + rose] = 1.0
    reference[0, fell + rose :: 2] = candidate[0, fell + rose :: 2] = 1.0
    return reference, candidate
