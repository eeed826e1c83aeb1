"""The true distribution of fine-tuning's answers: quality × opener × body × closer.

Its quality decides what an answer's body is about; opener, closer, length and every phrase are then drawn independently
of each other. So entropy, expected utility and tilting by the utility have closed forms.
"""

import math
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from modecollapse.data.nano.facts import Facts
from modecollapse.data.nano.grammar import Choice, Grammar
from modecollapse.data.nano.questions import Question


class Quality(StrEnum):
    """What is right or wrong with an answer's body."""

    GOOD = "good"
    """About what was asked and, if a fact was asked, true."""
    BAD = "bad"
    """A false value, or dull sentences instead of a story, poem or letter."""
    OFF_TOPIC = "off-topic"
    """True or well told, but of something else."""
    UNSURE = "unsure"
    """An evasion."""


QUALITIES = {Quality.GOOD: 0.76, Quality.BAD: 0.10, Quality.OFF_TOPIC: 0.08, Quality.UNSURE: 0.06}
"""Their probabilities in fine-tuning's answers."""


@dataclass(frozen=True)
class Answer:
    """One answer and how it came to be."""

    text: str
    log_prob: float
    """Exact log-probability (nats) of its derivation, given the question."""
    quality: Quality
    choices: tuple[Choice, ...]
    """The grammar's draws."""


class AnswerModel:
    """p(answer | question).

    Args:
        grammar: the world's rules, or a tilted copy of them.
        facts: the world's facts.
        weigh: gives, for a question, the probability of each quality.
        log_mean: of a tilted model, log E[exp(strength · utility)] of an answer to a question under the model that was
            tilted, in nats.
    """

    def __init__(
        self,
        grammar: Grammar,
        facts: Facts,
        weigh: Callable[[Question], Mapping[Quality, float]] = lambda _: QUALITIES,
        log_mean: Callable[[Question], float] = lambda _: 0.0,
    ) -> None:
        self.log_mean = log_mean
        self._grammar = grammar
        self._facts = facts
        self._weigh = weigh

    def sample(self, question: Question, source: random.Random) -> Answer:
        """Draw an answer to `question`."""
        weights = self._weigh(question)
        quality = source.choices(list(weights), list(weights.values()))[0]
        subjects = self.subjects(question, quality)
        parts = [
            self._grammar.sample(rule, source, source.choice(subjects) if rule.endswith(".body") else None)
            for rule in ("opener", body_rule(question, quality), "closer")
        ]
        return Answer(
            text=" ".join(part.text for part in parts if part.text),
            log_prob=math.log(weights[quality]) - math.log(len(subjects)) + sum(part.log_prob for part in parts),
            quality=quality,
            choices=tuple(choice for part in parts for choice in part.choices),
        )

    def subjects(self, question: Question, quality: Quality) -> list[dict[str, str]]:
        """What a body of this quality may speak of, all equally likely: values of the slots in its sentences."""
        kind, about = question.kind, dict(question.about)
        if kind.task == "creative":
            return self._other_topics(question) if quality is Quality.OFF_TOPIC else [about]
        facts = self._facts.of(kind.name)
        slot = kind.slots[0]
        truth = self._facts.table[about[slot]][kind.name]
        if quality is Quality.OFF_TOPIC:
            return [{slot: fact.subject, kind.name: fact.value} for fact in facts if fact.value != truth]
        if quality is Quality.BAD:
            return [{**about, kind.name: value} for value in sorted({fact.value for fact in facts} - {truth})]
        return [{**about, kind.name: truth}]

    def entropy(self, question: Question) -> float:
        """Entropy (nats) of the derivation of an answer to `question`, in closed form."""
        total = self._grammar.entropy("opener") + self._grammar.entropy("closer")
        for quality, weight in self._weigh(question).items():
            subjects = self.subjects(question, quality)
            body = self._grammar.entropy(body_rule(question, quality), subjects[0])
            total += weight * (math.log(len(subjects)) + body - math.log(weight))
        return total

    def expected_utility(
        self, question: Question, quality: Mapping[Quality, float], draw: Mapping[Choice, float]
    ) -> float:
        """Expected utility of an answer, in closed form: of its quality and of the grammar's draws."""
        frame = sum(self._grammar.expected_utility(rule, draw) for rule in ("opener", "closer"))
        return frame + sum(
            weight * (quality[name] + self._grammar.expected_utility(body_rule(question, name), draw))
            for name, weight in self._weigh(question).items()
        )

    def tilted(self, quality: Mapping[Quality, float], draw: Mapping[Choice, float], strength: float) -> "AnswerModel":
        """The model with p'(answer) ∝ p(answer) · exp(strength · utility), exactly.

        This is also what any optimiser of E[utility] − KL(p' ‖ p) / strength converges to, hence the reference for
        preference tuning.
        """
        grammar, log_normaliser = self._grammar.tilted(draw, strength)

        def log_weights(question: Question) -> dict[Quality, float]:
            return {
                name: math.log(weight) + strength * quality[name] + log_normaliser[body_rule(question, name)]
                for name, weight in self._weigh(question).items()
            }

        def weigh(question: Question) -> Mapping[Quality, float]:
            logs = log_weights(question)
            total = _log_sum(logs.values())
            return {name: math.exp(value - total) for name, value in logs.items()}

        def log_mean(question: Question) -> float:
            return _log_sum(log_weights(question).values()) + log_normaliser["opener"] + log_normaliser["closer"]

        return AnswerModel(grammar, self._facts, weigh, log_mean)

    def _other_topics(self, question: Question) -> list[dict[str, str]]:
        """All combinations of slot values that differ from the question's in every slot."""
        topics: list[dict[str, str]] = [{}]
        for slot in question.kind.slots:
            others = [o.source for o in self._grammar.rules[slot].options if o.source != question.about[slot]]
            topics = [{**topic, slot: other} for topic in topics for other in others]
        return topics


def _log_sum(logs: Collection[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs))


def body_rule(question: Question, quality: Quality) -> str:
    """The rule that writes a body of this quality."""
    if quality is Quality.UNSURE:
        return "unsure.body"
    if quality is Quality.BAD and question.kind.task == "creative":
        return "dull.body"
    return f"{question.kind.name}.body"
