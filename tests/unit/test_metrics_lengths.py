"""Lengths, rates and correctness of completions."""

import math

import pytest

from modecollapse.metrics import lengths
from modecollapse.metrics.quality import contains_answer


def test_lengths_and_rates_have_the_values_counted_by_hand() -> None:
    texts = ["one two three", "one", " \n", "one Human: two"]
    assert lengths.word_counts(texts) == [3, 1, 0, 3]
    assert lengths.empty(texts) == [0, 0, 1, 0]
    assert lengths.short(texts, 3) == [0, 1, 1, 0]
    assert lengths.leaking(texts, ["Human:", "Assistant:"]) == [0, 0, 0, 1]
    assert lengths.mean(lengths.word_counts(texts)) == 7 / 4


def test_the_mean_of_no_texts_is_undefined() -> None:
    assert math.isnan(lengths.mean(lengths.word_counts([])))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is PARIS, I think.", 1.0),
        ("The parisian way", 0.0),
        ("New York City", 1.0),
        ("", 0.0),
        ("C++", 1.0),
    ],
)
def test_an_answer_is_found_as_whole_words_in_any_case(text: str, expected: float) -> None:
    assert contains_answer(text, ("Paris", "new york", "C++")) == expected


def test_a_prompt_without_accepted_answers_has_no_correctness() -> None:
    assert contains_answer("Paris", ()) is None
