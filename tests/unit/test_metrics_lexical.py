"""Self-BLEU, Jaccard similarity and distinct-n."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modecollapse.metrics import lexical

TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "A", "The", "the", "ünï", "🙂"]), max_size=9).map(" ".join),
    min_size=2,
    max_size=7,
)
"""Few words, so that texts repeat themselves and each other, are short, empty and identical."""


def nltk_self_bleu(texts: list[str]) -> float:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    method = SmoothingFunction().method1
    return math.fsum(
        sentence_bleu(
            [other.split() for j, other in enumerate(texts) if j != i], text.split(), smoothing_function=method
        )
        for i, text in enumerate(texts)
    ) / len(texts)


def jaccard_of_pairs(texts: list[str], n: int, undefined: float | None) -> float:
    values = []
    for one, two in itertools.combinations([text.lower().split() for text in texts], 2):
        first, second = ({tuple(words[i : i + n]) for i in range(len(words) - n + 1)} for words in (one, two))
        if first | second:
            values.append(len(first & second) / len(first | second))
        else:
            values.append(float(one == two) if undefined is None else undefined)
    return math.fsum(values) / len(values)


def test_self_bleu_has_the_value_worked_by_hand() -> None:
    # Matches of each text: 3 of 4 words, 2 of 3 bigrams, 1 of 2 trigrams, none of 1 four-gram, which counts 0.1.
    expected = (3 / 4 * 2 / 3 * 1 / 2 * 0.1) ** 0.25
    assert lexical.self_bleu(["a b c d", "a b c e"]) == pytest.approx(expected, abs=1e-15)


def test_self_bleu_clips_repeated_words_to_the_largest_count_in_one_other_text() -> None:
    # "a a a a" matches 2 of 4 words ("a a b" has two), 1 of 3 bigrams; higher orders 0.1 / 2 and 0.1 / 1.
    first = (2 / 4 * 1 / 3 * 0.1 / 2 * 0.1) ** 0.25
    # "a a b" matches 2 of 3 words and 1 of 2 bigrams; 0.1 of 1 trigram, 0.1 of no 4-gram; it is a word shorter.
    second = math.exp(1 - 4 / 3) * (2 / 3 * 1 / 2 * 0.1 * 0.1) ** 0.25
    assert lexical.self_bleu(["a a a a", "a a b"]) == pytest.approx((first + second) / 2, abs=1e-15)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_self_bleu_equals_that_of_nltk(texts: list[str]) -> None:
    assert lexical.self_bleu(texts) == pytest.approx(nltk_self_bleu(texts), abs=1e-12)


def test_self_bleu_equals_that_of_nltk_on_sets_as_large_as_the_papers() -> None:
    generator = np.random.default_rng(0)
    for _ in range(4):
        texts = [" ".join(f"w{word}" for word in generator.zipf(1.6, 20) % 300) for _ in range(25)]
        assert lexical.self_bleu(texts) == pytest.approx(nltk_self_bleu(texts), abs=1e-12)


def test_self_bleu_of_identical_texts_is_one_from_four_words_on() -> None:
    assert lexical.self_bleu(["one two three four"] * 3) == 1
    assert lexical.self_bleu(["one two"] * 3) == pytest.approx(0.1**0.5)


@pytest.mark.parametrize("texts", [[], ["only one text"]])
def test_pairwise_metrics_of_fewer_than_two_texts_are_undefined(texts: list[str]) -> None:
    assert math.isnan(lexical.self_bleu(texts))
    assert math.isnan(lexical.jaccard(texts, 2))


def test_empty_texts_count_as_zero_self_bleu() -> None:
    assert lexical.self_bleu(["", "", ""]) == 0
    assert lexical.self_bleu(["", "", "a b c d", "a b c d"]) == 0.5


def test_jaccard_has_the_value_worked_by_hand_and_ignores_case() -> None:
    # Bigrams {ab, bc}, {ab, bd}, {xy}: pairs 1/3, 0, 0.
    assert lexical.jaccard(["a b c", "A B d", "x y"], 2) == pytest.approx(1 / 9, abs=1e-15)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(1, 4))
def test_jaccard_equals_the_mean_over_pairs_of_sets(texts: list[str], n: int) -> None:
    assert lexical.jaccard(texts, n, replica=True) == pytest.approx(jaccard_of_pairs(texts, n, 0.0), abs=1e-12)
    assert lexical.jaccard(texts, n) == pytest.approx(jaccard_of_pairs(texts, n, None), abs=1e-12)


def test_texts_too_short_for_an_ngram_are_similar_only_if_they_are_equal() -> None:
    assert lexical.jaccard(["Yes", "yes"], 2) == 1
    assert lexical.jaccard(["Yes", "yes"], 2, replica=True) == 0
    assert lexical.jaccard(["Yes", "No"], 2) == 0
    assert lexical.jaccard(["", ""], 2) == 1


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.randoms(use_true_random=False))
def test_lexical_metrics_do_not_depend_on_the_order_of_texts(texts: list[str], random: object) -> None:
    shuffled = list(texts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for value in (lexical.self_bleu, lambda t: lexical.jaccard(t, 2), lambda t: lexical.distinct_n(t, 2)):
        assert value(shuffled) == pytest.approx(value(texts), abs=1e-12, nan_ok=True)


def test_distinct_n_has_the_value_worked_by_hand() -> None:
    assert lexical.distinct_n(["a b c", "a b d"], 2) == 3 / 4
    assert lexical.distinct_n(["a b"] * 4, 2) == 1 / 4


def test_distinct_n_without_ngrams_is_undefined() -> None:
    assert math.isnan(lexical.distinct_n(["one", ""], 2))
    assert math.isnan(lexical.distinct_n([], 1))


def test_first_words_keeps_no_whitespace_but_single_spaces() -> None:
    assert lexical.first_words("  one\n\ntwo\tthree  four ", 3) == "one two three"
    assert lexical.first_words("one two ", 3) == "one two"
    assert lexical.first_words(" \n", 3) == ""


def test_a_text_of_a_million_characters_is_scored() -> None:
    long = " ".join(["spam", "and", "eggs"] * 80_000)
    assert lexical.self_bleu([long, "spam and eggs again"]) < 0.6
    assert lexical.jaccard([long, "spam and eggs"], 2) == pytest.approx(2 / 3)
