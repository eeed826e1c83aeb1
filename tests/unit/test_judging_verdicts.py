"""Reading a judge's reply, and putting verdicts together."""

import pytest

from modecollapse.judging.verdicts import (
    ORDERS,
    REFERENCE_FIRST,
    STAGE_FIRST,
    Verdict,
    of_letter,
    read_letter,
    together,
)

WIN, TIE, LOSS, REFUSAL, UNREADABLE = Verdict


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("[[A]]", "A"),
        ("  [[ b ]]\n", "B"),
        ("Answer B repeats itself, A does not.\nVerdict: [[A]], yes: [[A]]", "A"),
        ("C", "C"),
        ("**B**.", "B"),
        ("(A)", "A"),
        ("I can't find a difference: [[C]]", "C"),
        ("[[A]][[C]]", UNREADABLE),
        ("[[D]]", UNREADABLE),
        ("A or B", UNREADABLE),
        ("I", UNREADABLE),
        ("Answer A is better", UNREADABLE),
        ("", UNREADABLE),
        ("[[A", "A"),
        ("[[A and", UNREADABLE),
        ("I’m sorry, I can’t help with that.", REFUSAL),
        ("As a model I cannot judge this", REFUSAL),
        ("I am unable to", REFUSAL),
    ],
)
def test_only_what_is_clearly_a_verdict_is_read_as_one(reply, read):
    assert read_letter(reply) == read


def test_a_letter_is_about_the_answer_that_stood_first():
    assert [of_letter("A", order) for order in ORDERS] == [WIN, LOSS]
    assert [of_letter("B", order) for order in (STAGE_FIRST, REFERENCE_FIRST)] == [LOSS, WIN]
    assert {of_letter("C", order) for order in ORDERS} == {TIE}


@pytest.mark.parametrize(
    ("both", "verdict"),
    [
        ((WIN, WIN), WIN),
        ((LOSS, LOSS), LOSS),
        ((TIE, TIE), TIE),
        ((WIN, LOSS), TIE),
        ((WIN, TIE), TIE),
        ((LOSS, TIE), TIE),
        ((WIN, REFUSAL), REFUSAL),
        ((UNREADABLE, WIN), UNREADABLE),
        ((UNREADABLE, REFUSAL), REFUSAL),
        ((WIN,), WIN),
    ],
)
def test_orders_that_disagree_are_a_tie_and_what_one_does_not_say_is_not_guessed(both, verdict):
    assert together(both) == verdict == together(both[::-1])
