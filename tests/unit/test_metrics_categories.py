"""Entropy, support and effective number of categories: worked by hand, corrected for what a sample misses."""

import math

import numpy as np
import pytest

from modecollapse.metrics import categories
from modecollapse.metrics.categories import STATISTICS


def counts(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def one(name: str, *values: int) -> float:
    return float(STATISTICS[name](counts(*values)))


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_statistics_of_a_small_sample_are_those_worked_by_hand() -> None:
    # n = 4, X = (2, 1, 1), f1 = 2, f2 = 1: A = 2 / (3·2 + 2) = 1/4.
    assert one("entropy_plugin", 2, 1, 1, 0) == pytest.approx(1.5)
    seen = 2 / 4 * (1 / 2 + 1 / 3) + 2 * (1 / 4) * (1 + 1 / 2 + 1 / 3)
    series = 0.75 + 0.75**2 / 2 + 0.75**3 / 3
    missed = 2 / 4 * 0.75**-3 * (math.log(4) - series)
    assert one("entropy", 2, 1, 1, 0) == pytest.approx((seen + missed) / math.log(2))
    assert one("effective", 2, 1, 1, 0) == pytest.approx(math.exp(seen + missed))
    assert one("support", 2, 1, 1, 0) == 3
    assert one("support_chao1", 2, 1, 1, 0) == pytest.approx(3 + 3 / 4 * 4 / 2)
    # Without doubles, n = 3, f1 = 3: A = 2 / (2·2 + 2) = 1/3, and Chao1 adds 2/3 · 3·2/2.
    missed = 1.5**2 * (math.log(3) - 2 / 3 - 2 / 9)
    assert one("entropy", 1, 1, 1) == pytest.approx((1.5 + missed) / math.log(2))
    assert one("support_chao1", 1, 1, 1) == pytest.approx(5)


def test_what_is_missed_is_the_same_by_the_closed_form_and_by_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    by_form = one("entropy", 20, 6, 3, 2, 2, 1, 1, 1)
    monkeypatch.setattr(categories, "_CANCELLED", -1.0)
    assert one("entropy", 20, 6, 3, 2, 2, 1, 1, 1) == pytest.approx(by_form, rel=1e-10)


def test_no_value_is_undefined_and_identical_values_are_one_kind() -> None:
    assert {name: one(name) for name in STATISTICS} == pytest.approx(
        dict.fromkeys(STATISTICS, math.nan) | {"support": 0.0}, nan_ok=True
    )
    single = {name: one(name, 1) for name in STATISTICS}
    assert (single["entropy_plugin"], single["support"]) == (0, 1)
    assert all(math.isnan(single[name]) for name in ("entropy", "effective", "support_chao1"))
    for found in categories.estimates(counts(1), generator()).values():
        assert math.isnan(found.error)
    identical = categories.estimates(counts(30), generator())
    assert {name: found.value for name, found in identical.items()} == {
        "entropy": 0, "entropy_plugin": 0, "support": 1, "support_chao1": 1, "effective": 1,
    }  # fmt: skip
    assert all((found.low, found.high) == (found.value, found.value) for found in identical.values())


def test_the_population_that_is_estimated_keeps_room_for_what_was_not_seen() -> None:
    # X = (2, 1, 1): f0 = 3/4 · 4/2 = 1.5, so two unseen kinds share C = 2/4 · 6/8 = 0.375.
    found = categories.assemblage(counts(2, 0, 1, 1))
    assert found[3:] == pytest.approx([0.1875, 0.1875])
    w = 0.375 / (0.5**5 + 2 * 0.25 * 0.75**4)
    assert found[:3] == pytest.approx([0.5 * (1 - w * 0.5**4), *[0.25 * (1 - w * 0.75**4)] * 2])
    assert found.sum() == pytest.approx(1)
    assert categories.assemblage(counts(5, 5)) == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match="no counts"):
        categories.assemblage(counts(0, 0))


def test_the_estimate_is_closer_to_the_truth_than_what_is_seen_and_its_interval_holds_it() -> None:
    draws, source = 100, generator()
    probabilities = np.full(40, 1 / 40)
    samples = source.multinomial(60, probabilities, size=draws)
    truth = math.log2(40)
    estimated, seen = categories.entropy(samples), categories.entropy_plugin(samples)
    assert abs(estimated.mean() - truth) < 0.1 < 0.3 < truth - seen.mean()
    found = [categories.estimates(sample, source, 200)["entropy"] for sample in samples]
    assert sum(each.low <= truth <= each.high for each in found) >= 88


def test_intervals_end_where_the_statistic_does() -> None:
    found = categories.estimates(counts(40, 1, 1), generator())
    assert found["entropy"].low >= 0
    assert found["support_chao1"].low == 3
    assert found["effective"].low >= 1
    assert found["support"].low >= 1
    assert found == categories.estimates(counts(40, 1, 1), generator()), "seeded"


def test_the_permutation_test_tells_entropies_apart_and_is_level_under_one_population() -> None:
    def p(first: np.ndarray, second: np.ndarray) -> float:
        return categories.entropy_difference_p(first[None], second[None], generator(), 999)

    varied, poor = counts(*[5] * 20), counts(60, 40, *[0] * 18)
    assert p(varied, poor) == pytest.approx(0.001)
    assert p(counts(10, 10), counts(10, 10)) == 1
    assert p(counts(10, 0), counts(20, 0)) == 1
    assert math.isnan(p(counts(1, 0), counts(20, 5)))
    # By hand: of {a, a} and {b, b} the six splits are 2 of the same and 4 of "ab, ab"; all differ by 0.
    assert p(counts(2, 0), counts(0, 2)) == 1
    pairs = np.stack([varied, varied]), np.stack([poor, counts(1, *[0] * 19)])
    assert categories.entropy_difference_p(*pairs, generator(), 99) == 0.01, "a pair of too few values is left out"
    source = np.random.default_rng(1)
    pairs = source.multinomial(50, np.full(8, 1 / 8), size=(100, 2))
    small = sum(categories.entropy_difference_p(a[None], b[None], source, 99) <= 0.1 for a, b in pairs)
    assert 2 <= small <= 20
