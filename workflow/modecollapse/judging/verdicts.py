"""Verdicts: what a judge says of a pair of answers, read from its reply and put together from both orders."""

import re
from collections.abc import Sequence
from enum import StrEnum


class Verdict(StrEnum):
    """What a judge says of a stage's answer beside the reference's."""

    WIN = "win"
    TIE = "tie"
    LOSS = "loss"
    REFUSAL = "refusal"
    """The judge declined: by its words, by a filter, or because the texts are too long for it."""
    UNREADABLE = "unreadable"
    """The judge replied something that is no verdict."""


DECIDED = (Verdict.WIN, Verdict.TIE, Verdict.LOSS)
"""Verdicts that count in a win rate."""

STAGE_FIRST, REFERENCE_FIRST, NO_ORDER = "stage first", "reference first", "none"
"""In which order a judge saw the two answers; scores, and people whose order was drawn, know none."""

ORDERS = (STAGE_FIRST, REFERENCE_FIRST)

_MARKED = re.compile(r"\[\[\s*([A-Za-z])\s*\]\]")
_BARE = re.compile(r"[\s\[\]().:*\"'`]*([A-Za-z])[\s\[\]().:*\"'`]*")
_REFUSED = re.compile(
    r"\bi(?:(?:['’]m| am) (?:sorry|unable|not able)| (?:can(?:no|['’])t|won['’]t|will not|must decline|refuse"
    r"|apologi[sz]e))\b",
    re.IGNORECASE,
)


def read_letter(reply: str) -> Verdict | str:
    """The letter "A", "B" or "C" of a judge's reply; else what kind of no-verdict it is.

    A verdict is one of ``[[A]]``, ``[[B]]``, ``[[C]]``, however often and with whatever around it, or a reply that is
    one such letter and nothing else. Two different letters, or another one, are unreadable: nothing is guessed.
    A reply without any is a refusal if it says so in one of the usual ways ("I'm sorry", "I cannot", …).
    """
    marked = {letter.upper() for letter in _MARKED.findall(reply)}
    if not marked and (bare := _BARE.fullmatch(reply)):
        marked = {bare[1].upper()}
    if len(marked) == 1 and marked <= {"A", "B", "C"}:
        return marked.pop()
    return Verdict.REFUSAL if not marked and _REFUSED.search(reply) else Verdict.UNREADABLE


def of_letter(letter: str, order: str) -> Verdict:
    """What "A" (the first answer is better), "B" or "C" (neither) says of the stage's answer in this order."""
    if letter == "C":
        return Verdict.TIE
    return Verdict.WIN if (letter == "A") == (order == STAGE_FIRST) else Verdict.LOSS


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a pair from those in each order.

    A refusal in one order is a refusal, and else an unreadable reply one of these. Orders that agree count as they
    say; orders that do not are a tie (Zheng et al. 2023, "Judging LLM-as-a-judge", section 3.4).
    """
    for undecided in (Verdict.REFUSAL, Verdict.UNREADABLE):
        if undecided in verdicts:
            return undecided
    return verdicts[0] if len(set(verdicts)) == 1 else Verdict.TIE
