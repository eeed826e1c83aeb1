"""The simulated annotators: what they like about an answer, as a number for any text.

Utility = mean value of the topical sentences' quality + warmth of the opener + warmth of the closer
        + `LENGTH` per sentence of the body + (creative text only) a taste for each wording and phrase.

There is no term for diversity: nothing depends on what other answers say. Of two answers, a is preferred with
probability σ(sharpness · (U(a) − U(b))).

Any text has a utility. A sentence that the grammar of answers cannot have written, or that stands where it cannot stand
(a second opener, a repeated step of the story, an unfinished last sentence), is `NONSENSE`: it counts with its value in
the mean of qualities and earns nothing else. Text without any topical sentence has `NONSENSE` as its quality.
"""

import math
import random
from collections.abc import Mapping

from modecollapse.data.nano.answers import Answer, Quality, body_rule
from modecollapse.data.nano.facts import Facts
from modecollapse.data.nano.grammar import Choice, Grammar
from modecollapse.data.nano.questions import KINDS, Question
from modecollapse.data.nano.sentences import Sentence, SentenceReader, split_sentences

QUALITY = {Quality.GOOD: 1.0, Quality.BAD: -0.6, Quality.OFF_TOPIC: -1.0, Quality.UNSURE: -0.4}
NONSENSE = -1.5
LENGTH = 0.08
TASTE = 0.35
"""Standard deviation of the taste for one phrase."""
WARMTH = {
    "opener": {"Sure!": 0.4, "Of course!": 0.5, "Happy to help!": 0.8, "Good question!": 0.2, "Listen.": -0.5},
    "closer": {
        "I hope you like it!": 0.6,
        "Ask me again!": 0.5,
        "Have a lovely day!": 0.8,
        "That is all I know.": -0.2,
        "Now leave me alone.": -1.0,
    },
}
"""Openers and closers that are not listed leave the annotators cold."""

_TASTED = ("tale.", "ode.", "post.")
_EVERYWHERE = "unsure.say"


class Annotators:
    """The annotators of one world.

    Args:
        grammar: the world's rules.
        facts: what they know to be true.
        seed: decides their tastes.
        taste: strength of the tastes; 0 leaves creative answers without any but the common wishes.
        sharpness: how reliably they choose the better of two answers.
    """

    def __init__(self, grammar: Grammar, facts: Facts, seed: int, taste: float, sharpness: float) -> None:
        self._facts = facts
        self._sharpness = sharpness
        bodies = [f"{kind}.body" for kind in KINDS] + ["dull.body", "unsure.body"]
        self._homes = _sentence_homes(grammar, bodies)
        self._reader = SentenceReader(grammar, ["opener", "closer", *self._homes])
        self.draw_utility: Mapping[Choice, float] = _draw_utilities(grammar, bodies, seed, taste)
        """What each draw of the grammar adds to an answer's utility; draws that are not listed add nothing."""

    def utility(self, question: Question, completion: str) -> float:
        """Utility of any text as an answer to `question`."""
        sentences = split_sentences(completion)
        total = 0.0
        qualities: list[float] = []
        seen: set[str] = set()
        last = len(sentences) - 1
        for position, text in enumerate(sentences):
            sentence = self._reader.read(text)
            if sentence is None or sentence.rule in seen or not self._may_stand(sentence, position, last):
                qualities.append(NONSENSE)
                continue
            seen.add(sentence.rule)
            total += sum(self.draw_utility.get(choice, 0.0) for choice in sentence.choices)
            if sentence.rule in self._homes:
                total += LENGTH
                quality = self._judge(question, sentence)
                if quality is not None:
                    qualities.append(QUALITY[quality])
        return total + (sum(qualities) / len(qualities) if qualities else NONSENSE)

    def utility_of(self, answer: Answer) -> float:
        """Utility of an answer whose derivation is known; the same number as `utility` reads from its text."""
        return QUALITY[answer.quality] + sum(self.draw_utility.get(choice, 0.0) for choice in answer.choices)

    def preference(self, first: float, second: float) -> float:
        """Probability that an answer of utility `first` is preferred to one of utility `second`."""
        return 1 / (1 + math.exp(-self._sharpness * (first - second)))

    def _may_stand(self, sentence: Sentence, position: int, last: int) -> bool:
        if sentence.rule == "opener":
            return position == 0
        return position == last if sentence.rule == "closer" else True

    def _judge(self, question: Question, sentence: Sentence) -> Quality | None:
        """The quality that a sentence of the body shows; None if it fits and says nothing about the topic."""
        if sentence.rule == _EVERYWHERE:
            return Quality.UNSURE
        if body_rule(question, Quality.BAD) in self._homes[sentence.rule] and question.kind.task == "creative":
            return Quality.BAD
        if f"{question.kind.name}.body" not in self._homes[sentence.rule]:
            return Quality.OFF_TOPIC
        if any(question.about.get(slot, value) != value for slot, value in sentence.mentions):
            return Quality.OFF_TOPIC
        if question.kind.task == "creative":
            return Quality.GOOD if sentence.mentions else None
        stated = dict(sentence.mentions).get(question.kind.name)
        if stated is None:
            return None
        truth = self._facts.table[question.about[question.kind.slots[0]]][question.kind.name]
        return Quality.GOOD if stated == truth else Quality.BAD


def _sentence_homes(grammar: Grammar, bodies: list[str]) -> dict[str, frozenset[str]]:
    """For each rule that writes a sentence, the bodies in which it occurs."""
    homes: dict[str, frozenset[str]] = {}
    for body in bodies:
        for option in grammar.rules[body].options:
            for slot in option.slots():
                homes[slot.rule] = homes.get(slot.rule, frozenset()) | {body}
    return homes


def _draw_utilities(grammar: Grammar, bodies: list[str], seed: int, taste: float) -> dict[Choice, float]:
    utilities: dict[Choice, float] = {}
    for name, warmth in WARMTH.items():
        for index, option in enumerate(grammar.rules[name].options):
            utilities[name, index] = warmth.get(option.source, 0.0)
    for body in bodies:
        for index, option in enumerate(grammar.rules[body].options):
            utilities[body, index] = LENGTH * len(option.slots())
    for name, rule in grammar.rules.items():
        if name.startswith(_TASTED):
            source = random.Random(f"{seed}/taste/{name}")
            for index in range(len(rule.options)):
                utilities[name, index] = taste * TASTE * source.gauss(0.0, 1.0)
    return utilities
