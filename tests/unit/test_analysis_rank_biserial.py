"""The rank-biserial effect size and its interval: by hand, by brute force, by bootstrap, and how often it covers."""

import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from modecollapse.analysis.rank_biserial import NEEDED, _standard_error, paired_test


def by_walsh_pairs(differences: np.ndarray) -> float:
    d = differences[differences != 0]
    signs = [np.sign(d[i] + d[j]) for i in range(len(d)) for j in range(i, len(d))]
    return float(np.mean(signs))


def test_the_effect_is_that_of_the_ranks_worked_by_hand() -> None:
    # Ranks of 1, 2, 3, 4.5, 4.5, 6: W+ = 1 + 3 + 4.5 + 6 = 14.5, W- = 6.5, of 21.
    _, effect, low, high = paired_test(np.array([0.1, -0.2, 0.3, 0.5, -0.5, 0.9, 0.0]))
    assert effect == pytest.approx((14.5 - 6.5) / 21)
    assert -1 < low < effect < high < 1


@pytest.mark.parametrize("ties", [False, True])
def test_effect_and_error_are_those_of_all_walsh_pairs_and_p_is_wilcoxons(ties: bool) -> None:
    source = np.random.default_rng(3)
    d = source.normal(0.2, 1.0, 200)
    d = np.round(d * 2) / 2 if ties else d
    p, effect, _, _ = paired_test(d)
    assert effect == pytest.approx(by_walsh_pairs(d))
    assert p == pytest.approx(wilcoxon(d, method="asymptotic", correction=False).pvalue)
    m = d[d != 0]
    influence = [2 * sum(np.sign(one + other) for other in m) / (len(m) + 1) for one in m]
    assert _standard_error(m) == pytest.approx(np.std(influence, ddof=1) / math.sqrt(len(m)))


def test_the_interval_is_about_that_of_a_bootstrap() -> None:
    source = np.random.default_rng(0)
    d = source.exponential(1.0, 150) - 0.6
    _, effect, low, high = paired_test(d)
    drawn = [paired_test(source.choice(d, len(d)))[1] for _ in range(1500)]
    assert [low, high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)
    assert low < effect < high


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    source = np.random.default_rng(1)
    for n, shift in ((12, 0.5), (40, 1.0), (100, 0.2)):
        # Of normal differences: P(d1 + d2 > 0) = Φ(√2 shift), beside each difference's own sign.
        own, pairs = math.erf(shift / math.sqrt(2)), math.erf(shift)
        truth = (2 * own + (n - 1) * pairs) / (n + 1)
        found = [paired_test(source.normal(shift, 1.0, n)) for _ in range(400)]
        covered = np.mean([low <= truth <= high for _, _, low, high in found])
        assert 0.92 <= covered <= 0.99, (n, shift, covered)


def test_where_all_pairs_differ_one_way_the_interval_ends_at_one_and_shrinks_with_more_of_them() -> None:
    _, effect, low, high = paired_test(np.arange(1.0, 11.0))
    assert (effect, high) == (1.0, 1.0)
    assert low == pytest.approx(2 * (0.025**0.1) ** 2 - 1)
    assert paired_test(-np.arange(1.0, 11.0))[1:] == pytest.approx((-1.0, -1.0, -low))
    assert paired_test(np.arange(1.0, 1001.0))[2] > 0.98


def test_fewer_than_six_pairs_that_differ_have_no_test() -> None:
    assert all(math.isnan(each) for each in paired_test(np.array([1.0, 2, 3, 4, 5, 0, 0, 0])))
    assert paired_test(np.arange(1.0, NEEDED + 1))[0] == pytest.approx(2 / 2**NEEDED)


def test_differences_over_hundreds_of_orders_of_magnitude_keep_their_ranks() -> None:
    d = np.array([1e-9, -1e-3, 2.0, 1e9, -1e40, 1e200, 1e290])
    assert paired_test(d)[1] == pytest.approx((28 - 2 * (2 + 5)) / 28)


def test_ties_but_for_rounding_are_ties() -> None:
    d = np.array([0.1 + 0.2, -0.3, 0.3, 0.3, -0.3, 0.3, 0.7])
    assert paired_test(d)[1] == pytest.approx(by_walsh_pairs(np.round(d, 9)))
