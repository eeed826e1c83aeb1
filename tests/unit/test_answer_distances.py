"""How far apart answers are, and which two are most different."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modecollapse.methods.answer_distances import (
    DISTANCES,
    cosine_distances,
    edit_distances,
    jaccard_distances,
    levenshtein,
    most_different,
)


def dynamic_programme(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(second, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (letter != other))
    return row[-1]


@pytest.mark.parametrize(
    ("first", "second", "expected"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("ab", "ba", 2)]
)
def test_the_edit_distance_has_its_known_values(first, second, expected):
    assert levenshtein(first, second) == expected


@given(st.text("ab c", max_size=90), st.text("ab c", max_size=90))
def test_the_bit_parallel_edit_distance_is_that_of_the_dynamic_programme(first, second):
    assert levenshtein(first, second) == dynamic_programme(first, second)
    assert levenshtein(second, first) == levenshtein(first, second)


def test_edit_distances_are_over_words_and_divided_by_the_longer_text():
    found = edit_distances(["the cat sat down", "the dog sat", "", "The cat sat down"])
    assert found[0, 1] == found[1, 0] == 2 / 4  # one word replaced, one removed
    assert found[0, 2] == 1.0
    assert found[0, 3] == 1 / 4  # case is kept
    assert np.diag(found).tolist() == [0.0] * 4


def test_jaccard_distances_are_one_minus_the_share_of_common_ngrams():
    texts = ["a b c", "A b d", "a"]
    assert jaccard_distances(texts, 1)[0, 1] == pytest.approx(1 - 2 / 4)
    assert jaccard_distances(texts, 2)[0, 1] == pytest.approx(1 - 1 / 3)
    assert jaccard_distances(texts, 2)[0, 2] == 1.0, "a text without bigrams shares none"


def test_cosine_distances_are_those_of_the_vectors():
    vectors = {"x": np.array([1, 0], np.float32), "y": np.array([0.6, 0.8], np.float32)}
    assert cosine_distances(vectors)(["x", "y"])[0, 1] == pytest.approx(0.4)


@pytest.mark.parametrize("name", DISTANCES)
def test_of_equal_distances_the_first_pair_is_taken(name):
    assert most_different(["a b c d e", "v w x y z", "k l m n o"], DISTANCES[name]) == (0, 1)


def test_the_two_most_different_texts_are_found():
    texts = ["one two three four", "one two three five", "six seven eight nine", "one two three four"]
    assert most_different(texts, edit_distances) == (0, 2)
    assert not math.isnan(edit_distances(texts).sum())
