"""Which of several scored answers are taken: the best of n, those to train on, and pairs."""

import numpy as np
import pytest

from modecollapse.methods.answer_distances import edit_distances
from modecollapse.methods.pair_choice import (
    best_and_worst,
    better_and_worse,
    candidates,
    clean_and_repetitive,
    farthest,
    first_two,
    preferred,
)
from modecollapse.methods.selection import Answer, best, keep_above, keep_best


def answers(*rows: list[tuple[str, float]]) -> list[list[Answer]]:
    """Answers of (text, score), numbered over all prompts; a text that ends with … did not end."""
    groups, place = [], 0
    for row in rows:
        group = []
        for text, score in row:
            group.append(Answer(place, text, not text.endswith("…"), score))
            place += 1
        groups.append(group)
    return groups


def texts(taken: list[Answer]) -> list[str]:
    return [answer.text for answer in taken]


def test_the_best_of_n_is_the_first_of_the_highest_scores():
    assert best(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, -1.0, 5.0]])).tolist() == [1, 0, 2]


def test_the_best_answers_to_each_prompt_are_kept_the_best_first():
    kept, counts = keep_best(answers([("a", 1), ("b", 3), ("c", 2)], [("d", 0), ("e", 9)]), keep=2, distinct=True)
    assert texts(kept) == ["b", "c", "e", "d"]
    assert (counts.prompts, counts.answers, counts.taken) == (2, 5, 4)


def test_answers_that_did_not_end_or_say_nothing_are_never_kept():
    kept, counts = keep_best(answers([("cut…", 9), (" \n", 8), ("a", 1)], [("", 0), ("cut…", 5)]), 1, True)
    assert texts(kept) == ["a"]
    assert (counts.unfinished, counts.empty, counts.without) == (2, 2, 1)


@pytest.mark.parametrize(("distinct", "expected"), [(True, [" b", "c"]), (False, [" b", "b", "c"])])
def test_an_answer_that_repeats_another_counts_once_if_answers_are_to_be_distinct(distinct, expected):
    kept, counts = keep_best(answers([(" b", 3), ("b", 3), ("c", 2), ("d", 1)]), len(expected), distinct)
    assert texts(kept) == expected
    assert counts.repeated == 1


def test_where_all_answers_score_the_same_the_first_is_kept_and_counted():
    kept, counts = keep_best(answers([("a", 2), ("b", 2)], [("c", 2)]), 1, True)
    assert texts(kept) == ["a", "c"]
    assert counts.tied == 1, "one answer alone is no tie"


def test_a_quantile_keeps_of_each_prompt_what_scores_at_least_as_much():
    scored = answers([("a", 1), ("b", 2), ("b", 2), ("c", 3), ("cut…", 99)], [("d", 8), ("e", 7)], [("cut…", 99)])
    kept, counts = keep_above(scored, 0.5, True)  # of 1, 2, 3: 2; of 8, 7: 7.5
    assert texts(kept) == ["b", "c", "d"]
    assert (counts.without, counts.taken, counts.tied) == (1, 3, 0)
    kept, counts = keep_above(answers([("a", 0.1), ("b", 0.1), ("c", 0.1)]), 0.7, True)
    assert (texts(kept), counts.tied) == (["a", "b", "c"], 1), "of equal scores all are kept"
    assert keep_above(answers([("cut…", 1)]), 0.5, True)[0] == []


def test_a_pair_is_the_best_and_the_worst_of_different_answers():
    pairs, counts = best_and_worst(answers([("a", 1), ("b", 3), ("c", 0), ("cut…", -9)], [("d", 1), ("e", 2)]))
    assert [texts(list(pair)) for pair in pairs] == [["b", "c"], ["e", "d"]]
    assert (counts.taken, counts.unfinished) == (2, 1)


def test_equal_texts_and_equal_scores_make_no_pair():
    pairs, counts = best_and_worst(answers([("a", 1), (" a ", 1)], [("b", 2), ("c", 2)], [("d", 1), ("e", 2)]))
    assert [texts(list(pair)) for pair in pairs] == [["e", "d"]]
    assert (counts.repeated, counts.without, counts.tied) == (1, 1, 1)


def test_annotators_choose_between_the_first_two_different_answers_with_their_noise():
    def certain_of_the_better(first: float, second: float) -> float:
        return 0.9 if first > second else 0.1

    scored = answers([("a", 2), ("a", 2), ("b", 1), ("c", 9)], [("d", 2), ("e", 1)], [("f", 1), ("g", 2)])
    pairs, counts = preferred(scored, certain_of_the_better, np.array([0.5, 0.95, 0.5]))
    assert [texts(list(pair)) for pair in pairs] == [["a", "b"], ["e", "d"], ["g", "f"]]
    assert counts.repeated == 1


def test_annotators_label_answers_of_equal_utility_too():
    pairs, counts = preferred(answers([("a", 1), ("b", 1)]), lambda first, second: 0.5, np.array([0.7]))
    assert texts(list(pairs[0])) == ["b", "a"]
    assert counts.tied == 0


def test_candidates_are_two_different_answers_whatever_they_score():
    scored = answers([("a b", 1), ("a b ", 1), ("a c", 1), ("x y", 1), ("cut…", 9)], [("b", 2)], [("d", 1), ("e", 1)])
    pairs, counts = candidates(scored, first_two)
    assert [texts(list(pair)) for pair in pairs] == [["a b", "a c"], ["d", "e"]]
    assert (counts.taken, counts.without, counts.repeated, counts.unfinished, counts.tied) == (2, 1, 1, 1, 0)
    pairs, _ = candidates(scored, farthest(edit_distances))
    assert [texts(list(pair)) for pair in pairs] == [["a b", "x y"], ["d", "e"]]


def test_of_the_two_most_different_answers_the_better_is_chosen_and_equal_scores_make_no_pair():
    scored = answers([("a b", 1), ("a c", 9), ("x y", 2)], [("b", 2), ("c", 2)])
    pairs, counts = better_and_worse(scored, farthest(edit_distances))
    assert [texts(list(pair)) for pair in pairs] == [["x y", "a b"]]
    assert (counts.taken, counts.tied) == (1, 1)


def test_annotators_choose_between_the_most_different_answers_if_asked_to():
    scored = answers([("a b", 1), ("a c", 9), ("x y", 2)])
    pairs, _ = preferred(scored, lambda first, second: 0.0, np.array([0.5]), farthest(edit_distances))
    assert [texts(list(pair)) for pair in pairs] == [["x y", "a b"]]


def loops(text: str, ended: bool) -> bool:
    return "loop loop" in text


def test_a_clean_answer_is_chosen_over_one_that_repeats_itself_even_up_to_the_limit():
    sampled = answers(
        [("a loop loop…", 0), ("fine", 0), ("loop loop", 0), ("good", 0)],
        [("loop loop", 0), ("cut…", 0), ("", 0)],
        [("fine", 0), ("good", 0)],
    )
    pairs, counts = clean_and_repetitive(sampled, loops)
    assert [texts(list(pair)) for pair in pairs] == [["fine", "a loop loop…"]]
    assert (counts.taken, counts.repetitive, counts.without, counts.unfinished, counts.empty) == (1, 3, 2, 2, 1)
    assert "3 answers repeat themselves" in str(counts)


def test_an_answer_is_never_clean_and_repetitive_at_once():
    sampled = [[Answer(0, "same", False, 0.0), Answer(1, "same ", True, 0.0)]]
    pairs, counts = clean_and_repetitive(sampled, lambda text, ended: not ended)
    assert (pairs, counts.without) == ([], 1)
