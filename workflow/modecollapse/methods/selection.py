"""Which of several scored answers to a prompt are taken: rules on numbers and texts, without any model.

Rules never look at anything but an answer's text, score and end, so two equal answers count as one. An answer can be
taken to train on if it ended and says something: `usable`. Which answers make a pair is said in `methods.pair_choice`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def best(scores: NDArray[np.floating]) -> NDArray[np.intp]:
    """The place of the highest score in each row of (rows, n): (rows,). Of equal ones the first."""
    return scores.argmax(1)


@dataclass(frozen=True)
class Answer:
    """A sampled answer to a prompt."""

    place: int
    """Its row in the table of all answers."""
    text: str
    ended: bool
    """Whether the model ended it itself."""
    score: float

    @property
    def usable(self) -> bool:
        """Whether it ended and says something."""
        return self.ended and bool(self.text.strip())


@dataclass
class Counts:
    """What became of the answers that were sampled."""

    prompts: int = 0
    answers: int = 0
    unfinished: int = 0
    """Answers that did not end."""
    empty: int = 0
    """Answers that ended without a word."""
    repeated: int = 0
    """Usable answers that say what an earlier answer to their prompt says."""
    without: int = 0
    """Prompts of which too few answers can be used."""
    tied: int = 0
    """Prompts with several answers, or a pair of them, that all score the same."""
    taken: int = 0
    """Answers, or pairs, that were taken."""

    def __str__(self) -> str:
        return (
            f"{self.answers} answers to {self.prompts} prompts: {self.taken} taken; {self.unfinished} did not end, "
            f"{self.empty} are empty, {self.repeated} repeat another; {self.without} prompts have too few that can be "
            f"used, {self.tied} only answers that score the same"
        )


def keep_best(answers: Sequence[Sequence[Answer]], keep: int, distinct: bool) -> tuple[list[Answer], Counts]:
    """The `keep` best usable answers to each prompt, the best first, of equal scores the earlier.

    A prompt with fewer gives all that it has. With `distinct`, an answer that repeats another is left out.
    """
    counts = Counts()
    taken: list[Answer] = []
    for usable in usable_answers(answers, counts, distinct):
        if not usable:
            counts.without += 1
            continue
        count_tie(usable, counts)
        taken += sorted(usable, key=lambda answer: (-answer.score, answer.place))[:keep]
    counts.taken = len(taken)
    return taken, counts


def keep_above(answers: Sequence[Sequence[Answer]], quantile: float, distinct: bool) -> tuple[list[Answer], Counts]:
    """The usable answers to each prompt that score at least as much as this quantile of them, in their order.

    The quantile is interpolated linearly. A prompt gives none only if it has no usable answer: scores of answers to
    different prompts are not comparable. With `distinct`, an answer that repeats another is left out first.
    """
    counts = Counts()
    taken: list[Answer] = []
    for usable in usable_answers(answers, counts, distinct):
        if not usable:
            counts.without += 1
            continue
        count_tie(usable, counts)
        scores = np.array([answer.score for answer in usable])
        # Not linear's own rounding: of equal scores the quantile could come out above them all.
        least = min(float(np.quantile(scores, quantile)), float(scores.max()))
        taken += [answer for answer in usable if answer.score >= least]
    counts.taken = len(taken)
    return taken, counts


def usable_answers(answers: Sequence[Sequence[Answer]], counts: Counts, distinct: bool) -> Iterator[list[Answer]]:
    """The usable answers to each prompt, counting what becomes of all."""
    for each in answers:
        counts.prompts += 1
        counts.answers += len(each)
        counts.unfinished += sum(not answer.ended for answer in each)
        counts.empty += sum(answer.ended and not answer.usable for answer in each)
        usable = [answer for answer in each if answer.usable]
        first = list({answer.text.strip(): answer for answer in reversed(usable)}.values())[::-1]
        counts.repeated += len(usable) - len(first)
        yield first if distinct else usable


def count_tie(usable: Sequence[Answer], counts: Counts) -> bool:
    """Whether there are several answers and all score the same."""
    tie = len(usable) > 1 and len({answer.score for answer in usable}) == 1
    counts.tied += tie
    return tie
