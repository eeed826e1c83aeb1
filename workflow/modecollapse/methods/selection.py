"""Which of several scored answers to a prompt are taken: rules on numbers and texts, without any model.

Rules never look at anything but an answer's text, score and end, so two equal answers count as one. An answer can be
taken to train on if it ended and says something: `usable`. Only as an example of repetition one may be taken that did
not end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modecollapse.methods.answer_distances import Distance, most_different


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
    for usable in _usable(answers, counts, distinct):
        if not usable:
            counts.without += 1
            continue
        _count_tie(usable, counts)
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
    for usable in _usable(answers, counts, distinct):
        if not usable:
            counts.without += 1
            continue
        _count_tie(usable, counts)
        scores = np.array([answer.score for answer in usable])
        # Not linear's own rounding: of equal scores the quantile could come out above them all.
        least = min(float(np.quantile(scores, quantile)), float(scores.max()))
        taken += [answer for answer in usable if answer.score >= least]
    counts.taken = len(taken)
    return taken, counts


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
    for each, usable in zip(answers, _usable(answers, counts, distinct=False), strict=True):
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
    for usable in _usable(answers, counts, distinct=True):
        if len(usable) < 2:
            counts.without += 1
        elif ties or not _count_tie(usable, counts):
            pairs.append(pair(usable))
    counts.taken = len(pairs)
    return pairs, counts


def _usable(answers: Sequence[Sequence[Answer]], counts: Counts, distinct: bool) -> Iterator[list[Answer]]:
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


def _count_tie(usable: Sequence[Answer], counts: Counts) -> bool:
    """Whether there are several answers and all score the same."""
    tie = len(usable) > 1 and len({answer.score for answer in usable}) == 1
    counts.tied += tie
    return tie


def _score(answer: Answer) -> float:
    return answer.score
