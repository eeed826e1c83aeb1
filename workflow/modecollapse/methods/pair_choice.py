"""Which two of several answers to a prompt make a preference pair, and which of them is the better one.

As in `methods.selection`, rules look at texts, scores and ends alone. Only as an example of repetition an answer may be
taken that did not end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modecollapse.methods.answer_distances import Distance, most_different
from modecollapse.methods.selection import Answer, Counts, count_tie, usable_answers

Pair = tuple[Answer, Answer]


def best_and_worst(answers: Sequence[Sequence[Answer]]) -> tuple[list[Pair], Counts]:
    """(chosen, rejected) for each prompt: the usable answers that score highest and lowest, of equal scores the first.

    A prompt whose usable answers say or score all the same gives none.
    """
    return _pairs(answers, lambda usable: (max(usable, key=_score), min(usable, key=_score)), ties=False)


Choice = Callable[[Sequence[Answer]], Pair]
"""Two of the usable answers to a prompt, of which all say something else, in the order in which they were sampled."""


def first_two(usable: Sequence[Answer]) -> Pair:
    """The first two."""
    return usable[0], usable[1]


def farthest(distance: Distance) -> Choice:
    """The two that are most different, of equal distances the first."""

    def choice(usable: Sequence[Answer]) -> Pair:
        first, second = most_different([answer.text.strip() for answer in usable], distance)
        return usable[first], usable[second]

    return choice


def candidates(answers: Sequence[Sequence[Answer]], choice: Choice) -> tuple[list[Pair], Counts]:
    """A pair of answers to each prompt that has two different ones, for others to say which is better."""
    return _pairs(answers, choice, ties=True)


def better_and_worse(answers: Sequence[Sequence[Answer]], choice: Choice) -> tuple[list[Pair], Counts]:
    """(chosen, rejected) for each prompt: the chosen two in the order of their scores; none if these are equal."""
    pairs, counts = candidates(answers, choice)
    decided = [sorted(pair, key=_score, reverse=True) for pair in pairs if pair[0].score != pair[1].score]
    counts.tied, counts.taken = len(pairs) - len(decided), len(decided)
    return [(chosen, rejected) for chosen, rejected in decided], counts


def preferred(
    answers: Sequence[Sequence[Answer]],
    preference: Callable[[float, float], float],
    uniforms: NDArray[np.float64],
    choice: Choice = first_two,
) -> tuple[list[Pair], Counts]:
    """(chosen, rejected) for each prompt: two different usable answers, as annotators label them.

    Args:
        answers: with the annotators' utilities as scores.
        preference: the probability that an answer of the first utility is preferred to one of the second.
        uniforms: (prompts,) in [0, 1): the first answer is chosen where the number is below that probability.
        choice: which two.
    """

    def label(usable: Sequence[Answer]) -> Pair:
        first, second = choice(usable)
        chosen = uniforms[row_of[first.place]] < preference(first.score, second.score)
        return (first, second) if chosen else (second, first)

    row_of = {answer.place: row for row, each in enumerate(answers) for answer in each}
    return _pairs(answers, label, ties=True)


@dataclass
class RepetitionCounts(Counts):
    """The same where pairs are of a clean answer and a repetitive one."""

    repetitive: int = 0
    """Answers that repeat themselves, whether they ended or not."""

    def __str__(self) -> str:
        return (
            f"{self.answers} answers to {self.prompts} prompts: {self.taken} pairs taken; {self.repetitive} answers "
            f"repeat themselves, {self.unfinished} did not end, {self.empty} are empty; {self.without} prompts have no "
            "clean answer, or no repetitive one"
        )


def clean_and_repetitive(
    answers: Sequence[Sequence[Answer]], repeats: Callable[[str, bool], bool]
) -> tuple[list[Pair], RepetitionCounts]:
    """(chosen, rejected) for each prompt: its first usable answer that does not repeat itself, its first that does.

    Args:
        answers: whatever they score.
        repeats: whether an answer does, given its text and whether it ended. One that repeats itself is rejected
            although it did not end: a cycle up to the limit of tokens is just that.
    """
    counts = RepetitionCounts()
    pairs = []
    for each, usable in zip(answers, usable_answers(answers, counts, distinct=False), strict=True):
        repetitive = [answer for answer in each if answer.text.strip() and repeats(answer.text, answer.ended)]
        places = {answer.place for answer in repetitive}
        said = {answer.text.strip() for answer in repetitive}
        clean = [answer for answer in usable if answer.place not in places and answer.text.strip() not in said]
        counts.repetitive += len(repetitive)
        if clean and repetitive:
            pairs.append((clean[0], repetitive[0]))
        else:
            counts.without += 1
    counts.taken = len(pairs)
    return pairs, counts


def _pairs(answers: Sequence[Sequence[Answer]], pair: Choice, ties: bool) -> tuple[list[Pair], Counts]:
    counts = Counts()
    pairs = []
    for usable in usable_answers(answers, counts, distinct=True):
        if len(usable) < 2:
            counts.without += 1
        elif ties or not count_tie(usable, counts):
            pairs.append(pair(usable))
    counts.taken = len(pairs)
    return pairs, counts


def _score(answer: Answer) -> float:
    return answer.score
