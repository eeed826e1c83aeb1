"""Mean cosine, the Vendi score, and the diversity of order q."""

import itertools
import math

import numpy as np
import pytest

from modecollapse.metrics import similarity
from modecollapse.metrics.lexical import jaccard_kernel
from modecollapse.metrics.registry import ORDERS


def test_mean_cosine_has_the_value_worked_by_hand() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert similarity.mean_pairwise_cosine(vectors) == pytest.approx(2 * math.sqrt(0.5) / 3, abs=1e-15)


def test_mean_cosine_does_not_compare_a_text_with_itself() -> None:
    assert similarity.mean_pairwise_cosine(np.eye(4)) == 0
    assert similarity.mean_pairwise_cosine(np.ones((4, 3))) == pytest.approx(1)


def test_mean_cosine_of_fewer_than_two_vectors_is_undefined() -> None:
    assert math.isnan(similarity.mean_pairwise_cosine(np.ones((1, 3))))
    assert math.isnan(similarity.mean_pairwise_cosine(np.empty((0, 3))))


def test_a_vector_of_zeros_makes_the_mean_cosine_undefined() -> None:
    assert math.isnan(similarity.mean_pairwise_cosine(np.array([[0.0, 0.0], [1.0, 0.0]])))


def test_vendi_has_the_value_worked_by_hand() -> None:
    # Eigenvalues of [[1, ½], [½, 1]] / 2 are ¾ and ¼.
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert similarity.vendi(np.array([[1.0, 0.5], [0.5, 1.0]])) == pytest.approx(expected, abs=1e-14)


def test_vendi_counts_the_groups_of_identical_texts() -> None:
    groups = np.kron(np.eye(3), np.ones((4, 4)))
    assert similarity.vendi(groups) == pytest.approx(3)
    assert similarity.vendi(np.ones((5, 5))) == pytest.approx(1)
    assert similarity.vendi(np.eye(7)) == pytest.approx(7)
    assert similarity.vendi(np.ones((1, 1))) == 1


def test_vendi_of_nothing_or_of_an_undefined_kernel_is_undefined() -> None:
    assert math.isnan(similarity.vendi(np.empty((0, 0))))
    assert math.isnan(similarity.vendi(np.array([[1.0, math.nan], [math.nan, 1.0]])))


def test_vendi_with_the_jaccard_kernel_lies_between_one_and_the_number_of_texts() -> None:
    generator = np.random.default_rng(2)
    for _ in range(30):
        texts = [" ".join(generator.choice(list("abcd"), generator.integers(0, 6))) for _ in range(8)]
        assert 1 - 1e-12 <= similarity.vendi(jaccard_kernel(texts, 2)) <= 8 + 1e-12


def test_texts_without_ngrams_count_as_texts_except_in_the_replica() -> None:
    texts = ["yes", "no", "a b c"]
    assert similarity.vendi(jaccard_kernel(texts, 2)) == pytest.approx(3)
    # Only the third has a similarity with itself: the one eigenvalue is ⅓.
    assert similarity.vendi(jaccard_kernel(texts, 2, replica=True)) == pytest.approx(3 ** (1 / 3))


def order_by_tuples(kernel: np.ndarray, q: int) -> float:
    """The definition written out: the mean product over all tuples of q texts, with replacement."""
    n = len(kernel)
    products = [
        math.prod(kernel[first, other] for other in others) for first, *others in itertools.product(range(n), repeat=q)
    ]
    return (math.fsum(products) / n**q) ** (1 / (1 - q))


@pytest.mark.parametrize("q", ORDERS)
def test_diversity_of_order_q_is_the_mean_over_all_tuples(q: int) -> None:
    generator = np.random.default_rng(q)
    texts = [" ".join(generator.choice(list("abc"), generator.integers(0, 7))) for _ in range(5)]
    for kernel in (jaccard_kernel(texts, 2), similarity.cosine_kernel(np.abs(generator.normal(size=(5, 3))))):
        assert similarity.diversity_of_order(kernel, q) == pytest.approx(order_by_tuples(kernel, q), rel=1e-12)


def test_diversity_of_order_q_has_the_value_worked_by_hand() -> None:
    # Each of the two texts has the mean similarity ¾: μ = ¾ for q = 2 and 9/16 for q = 3.
    kernel = np.array([[1.0, 0.5], [0.5, 1.0]])
    assert similarity.diversity_of_order(kernel, 2) == pytest.approx(4 / 3, abs=1e-15)
    assert similarity.diversity_of_order(kernel, 3) == pytest.approx(4 / 3, abs=1e-15)
    # Mean similarities ½, ½ and ⅓: two of three texts are alike by ½.
    uneven = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert similarity.diversity_of_order(uneven, 2) == pytest.approx(1 / ((0.5 + 0.5 + 1 / 3) / 3), abs=1e-15)
    assert similarity.diversity_of_order(uneven, 3) == pytest.approx(((0.25 + 0.25 + 1 / 9) / 3) ** -0.5, abs=1e-15)


@pytest.mark.parametrize("q", ORDERS)
def test_diversity_of_order_q_counts_groups_of_identical_texts(q: int) -> None:
    assert similarity.diversity_of_order(np.kron(np.eye(3), np.ones((4, 4))), q) == pytest.approx(3)
    assert similarity.diversity_of_order(np.ones((5, 5)), q) == pytest.approx(1)
    assert similarity.diversity_of_order(np.ones((1, 1)), q) == 1


def test_diversity_of_order_q_is_undefined_where_nothing_has_a_similarity() -> None:
    assert math.isnan(similarity.diversity_of_order(np.empty((0, 0)), 2))
    assert math.isnan(similarity.diversity_of_order(np.full((2, 2), math.nan), 2))
    empty = ["", "one"]
    assert similarity.diversity_of_order(jaccard_kernel(empty, 2), 3) == pytest.approx(2)
    assert math.isnan(similarity.diversity_of_order(jaccard_kernel(empty, 2, replica=True), 3))
    opposed = similarity.cosine_kernel(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    assert math.isnan(similarity.diversity_of_order(opposed, 2))
