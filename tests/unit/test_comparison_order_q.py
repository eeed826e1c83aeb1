"""Stored diversities of order q are judged as what they are: estimates from randomly drawn tuples."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from modecollapse.comparison.order_q import ALL, Moments, Sample, kernel_moments, order_table
from modecollapse.comparison.residuals import Assignment
from modecollapse.comparison.stored_results import STORED, Kind
from modecollapse.metrics.lexical import jaccard_kernel
from modecollapse.metrics.registry import ORDERS

MODEL = Model("S", 0, "plm")


def kernels(seed: int, number: int) -> list[np.ndarray]:
    """Replica kernels of texts that have little in common, some of them empty."""
    generator = np.random.default_rng(seed)
    return [
        jaccard_kernel(
            [" ".join(generator.choice(list("abcdef"), generator.integers(0, 7))) for _ in range(8)], 2, replica=True
        )
        for _ in range(number)
    ]


def drawn(kernel: np.ndarray, q: int, draws: int, generator: np.random.Generator, distinct: bool = False) -> float:
    """The authors' estimate of D_q: tuples with replacement (or of texts other than the first)."""
    n = len(kernel)
    first = generator.integers(n, size=draws)
    others = generator.integers(n, size=(draws, q - 1))
    if distinct:
        others = (first[:, None] + generator.integers(1, n, size=(draws, q - 1))) % n
    mean = float(kernel[first[:, None], others].prod(axis=1).mean())
    return mean ** (1 / (1 - q)) if mean > 0 else math.nan


def stored_by(draws: int, distinct: bool = False, number: int = 400) -> dict[int, Any]:
    """The table's pooled rows by order, for estimates with so many draws."""
    generator = np.random.default_rng(5)
    by_set = {"creative": kernels(1, number), "factual": kernels(2, number)}
    stored = {
        key: {
            entry.metric: np.array([[drawn(k, entry.order, draws, generator, distinct) for k in by_set[held]]])
            for entry in STORED.values()
            if entry.kind is Kind.MONTE_CARLO
        }
        for key, held in (("creative", "factual"), ("factual", "creative"))
    }
    table = order_table({MODEL: by_set}, {MODEL: stored}, {"S": Assignment.SWAPPED})
    assert list(table.columns) == SCHEMAS["order_q"].names
    return {int(row["order"]): row for _, row in table[table["stage"] == ALL].iterrows()}


@pytest.mark.parametrize("q", ORDERS)
def test_moments_are_those_of_all_tuples(q: int) -> None:
    kernel = kernels(3, 1)[0][:4, :4]
    products = np.array(
        [math.prod(kernel[i, j] for j in others) for i, *others in itertools.product(range(4), repeat=q)]
    )
    moments = kernel_moments([kernel], q)
    assert moments.mean[0] == pytest.approx(products.mean())
    assert moments.variance[0] == pytest.approx(products.var())
    assert moments.hit[0] == pytest.approx((products > 0).mean())


def test_estimates_from_tuples_with_replacement_have_no_bias_and_imply_their_number_of_draws() -> None:
    rows = stored_by(draws=50)
    for order in (2, 3):
        row = rows[order]
        assert abs(row["mean_z"]) < 4 * row["se_z"]
        assert row["sd_z"] == pytest.approx(1, abs=0.2)
        assert row["draws_scatter"] == pytest.approx(50, rel=0.25)
    every = rows[0]
    assert every["draws_zeros_low"] < 50 < every["draws_zeros_high"]
    assert every["n_undefined"] == pytest.approx(every["expected_undefined"], rel=0.1)
    assert every["n_undefined"] > 100


def test_twice_the_draws_are_told_from_once() -> None:
    assert stored_by(draws=100)[0]["draws_zeros_low"] > 60


def test_tuples_that_never_repeat_the_first_text_are_told_from_those_that_may() -> None:
    rows = stored_by(draws=50, distinct=True, number=100)
    assert rows[2]["mean_z"] < -8 * rows[2]["se_z"]
    assert abs(rows[2]["mean_z_distinct"]) < abs(rows[2]["mean_z"]) / 3


def test_zeros_imply_the_number_of_draws_worked_by_hand() -> None:
    # A fifth of the estimates is zero where a tuple misses with probability ½: (½)^N = ⅕.
    ones = np.ones(10)
    sample = Sample(np.array([0.0] * 2 + [1.0] * 8), Moments(ones, ones, ones / 2, ones, ones))
    draws, low, high = sample.draws_of_zeros()
    assert draws == pytest.approx(math.log(5) / math.log(2), rel=1e-9)
    assert low < draws < high


def test_where_no_estimate_or_every_one_is_zero_they_imply_nothing() -> None:
    ones = np.ones(3)
    for found in (np.zeros(3), ones):
        assert all(map(math.isnan, Sample(found, Moments(ones, ones, ones / 2, ones, ones)).draws_of_zeros()))


def test_a_size_whose_keys_are_not_established_has_no_rows() -> None:
    assert order_table({MODEL: {}}, {MODEL: {}}, {}).empty
