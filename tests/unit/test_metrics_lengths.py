"""Lengths, rates and correctness of completions."""

import math

import pytest

from modecollapse.metrics import lengths
from modecollapse.metrics.quality import contains_answer


def test_lengths_and_rates_have_the_values_counted_by_hand() -> None:
    texts = ["one two three", "one", " \n", "one Human: two"]
    assert lengths.mean_length(texts) == 7 / 4
    assert lengths.empty_rate(texts) == 1 / 4
    assert lengths.short_rate(texts, 3) == 2 / 4
    assert lengths.leak_rate(texts, ["Human:", "Assistant:"]) == 1 / 4


def test_rates_of_no_texts_are_undefined() -> None:
    values = [lengths.mean_length([]), lengths.empty_rate([]), lengths.short_rate([], 5), lengths.leak_rate([], ["x"])]
    assert all(math.isnan(value) for value in values)


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
