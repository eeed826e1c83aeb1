"""The nano world: everything that the embedded study learns from, is asked, and is measured against."""

import itertools
import random
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from modecollapse.data.nano import answer_rules, benchmarks, facts, genre_rules, lexicon, questions
from modecollapse.data.nano.annotators import Annotators
from modecollapse.data.nano.answers import AnswerModel
from modecollapse.data.nano.corpus import Corpus
from modecollapse.data.nano.facts import Fact, Facts
from modecollapse.data.nano.frames import Frames
from modecollapse.data.nano.grammar import Grammar
from modecollapse.data.nano.questions import FACTUAL, TASKS, Kind, Question
from modecollapse.data.nano.sentences import SentenceReader
from modecollapse.prompts import Prompt
from modecollapse.schema import Strict

TOKENS_PER_DOCUMENT = 44.0
"""Mean tokens of a pretraining document under a BPE of 1,024, EOS not counted: turns token budgets into documents."""

ANSWER_SCHEMA = pa.schema([("prompt", pa.string()), ("completion", pa.string()), ("task", pa.string())])
PREFERENCE_SCHEMA = pa.schema(
    [("prompt", pa.string()), ("chosen", pa.string()), ("rejected", pa.string()), ("task", pa.string())]
)
_EVALUATED = {"story": 8, "poem": 6, "letter": 6, "capital": 4, "river": 4, "crop": 4, "flag": 4, "food": 2, "home": 2}
"""Evaluation prompts of each kind. Half of the facts asked for are never asked about in fine-tuning."""


class WorldSettings(Strict):
    """Settings of a nano world."""

    seed: int = 0
    """Decides the fictional facts, the annotators' tastes, the held-out combinations and the evaluation prompts."""
    taste: Annotated[float, Field(ge=0)] = 1.0
    """Strength of the annotators' taste for single phrases of creative text; 0 is the ablation."""
    sharpness: Annotated[float, Field(ge=0)] = 1.5
    """An answer a is preferred to b with probability σ(sharpness · (U(a) − U(b)))."""


class World:
    """One world. All of its methods are pure functions of the settings and their arguments."""

    def __init__(self, settings: WorldSettings | None = None) -> None:
        self.settings = settings or WorldSettings()
        seed = self.settings.seed
        self.facts = Facts(seed)
        rules = (lexicon.LEXICON, facts.rules(), genre_rules.RULES, questions.RULES, answer_rules.RULES)
        self.grammar = Grammar.parse("\n".join(rules), self.facts.table)
        self.frames = Frames(self.grammar, seed)
        self.corpus = Corpus(self.grammar, self.frames)
        self.answer_model = AnswerModel(self.grammar, self.facts)
        self.annotators = Annotators(self.grammar, self.facts, seed, self.settings.taste, self.settings.sharpness)
        self._questions = {kind.rule: kind for kinds in TASKS.values() for kind in kinds}
        self._question_reader = SentenceReader(self.grammar, list(self._questions))

    def pretraining(self, n: int, seed: int) -> pa.Table:
        """`n` documents: text, log_prob (nats, of the derivation), genre. See `TOKENS_PER_DOCUMENT`."""
        return self.corpus.documents(n, self._source("pretraining", seed), held_out=False)

    def heldout(self, n: int, seed: int) -> pa.Table:
        """As `pretraining`, of documents each with a combination of wording and slot that no pretraining text has."""
        return self.corpus.documents(n, self._source("heldout", seed), held_out=True)

    def answers(self, n: int, seed: int) -> pa.Table:
        """`n` examples for supervised fine-tuning: prompt, completion, task (creative and factual equally likely)."""
        source = self._source("answers", seed)
        rows = [
            {"prompt": question.text, "completion": self._answer(question, source)[0], "task": question.kind.task}
            for question in self.questions(n, source)
        ]
        return pa.Table.from_pylist(rows, schema=ANSWER_SCHEMA)

    def preferences(self, n: int, seed: int) -> pa.Table:
        """`n` pairs of different answers from the distribution of `answers`: prompt, chosen, rejected, task."""
        source = self._source("preferences", seed)
        rows = []
        for question in self.questions(n, source):
            first, first_utility = self._answer(question, source)
            second, second_utility = first, first_utility
            while second == first:
                second, second_utility = self._answer(question, source)
            chosen, rejected = first, second
            if source.random() >= self.annotators.preference(first_utility, second_utility):
                chosen, rejected = second, first
            rows.append({"prompt": question.text, "chosen": chosen, "rejected": rejected, "task": question.kind.task})
        return pa.Table.from_pylist(rows, schema=PREFERENCE_SCHEMA)

    def choices(self, n: int, seed: int) -> pa.Table:
        """`n` factual questions of a benchmark, each with answers to choose from: see `benchmarks.CHOICE_SCHEMA`.

        Every fact is asked for once, in the wording that is held out for its subject, so 96 is the most.
        """
        asked = [
            question
            for kind in FACTUAL
            for question in self._held_out_questions(
                kind, len(self.grammar.rules[kind.slots[0]].options), self._source("choices of questions", seed)
            )
        ]
        return benchmarks.choices(self.grammar, self.facts, asked, n, self._source("choices", seed))

    def contrasts(self, n: int, seed: int) -> pa.Table:
        """`n` sentences of held-out documents, each beside a broken copy: see `benchmarks.CONTRAST_SCHEMA`."""
        source = self._source("contrasts of documents", seed)
        documents = (
            text
            for _ in itertools.count()
            for text in self.corpus.documents(100, source, held_out=True).column("text").to_pylist()
        )
        return benchmarks.contrasts(documents, n, self._source("contrasts", seed))

    def utility(self, prompt_text: str, completion: str) -> float | None:
        """The annotators' utility of any text as an answer (see `annotators.py` for text outside the grammar).

        None if this world cannot ask `prompt_text`.
        """
        question = self.understand(prompt_text)
        return None if question is None else self.annotators.utility(question, completion)

    def correct(self, prompt_text: str, completion: str) -> bool | None:
        """Whether the completion contains the true value as a whole word, ignoring case.

        None for creative prompts and for prompts that this world cannot ask.
        """
        question = self.understand(prompt_text)
        if question is None or question.kind.task == "creative":
            return None
        return re.search(rf"\b{re.escape(self.fact(question).value)}\b", completion, re.IGNORECASE) is not None

    def prompts(self, task: str) -> tuple[Prompt, ...]:
        """The 20 evaluation prompts of a task: held-out combinations of wording and slot, asked nowhere else.

        Of the factual ones, the first ten ask for facts that fine-tuning asks for in other words; the others for facts
        that occur in pretraining only (`reserved`).
        """
        asked = self._evaluation_questions
        if task == "factual":
            asked = sorted((q for q in asked if q.kind in FACTUAL), key=lambda q: self.fact(q) in self.reserved)
        else:
            asked = [question for question in asked if question.kind.task == task]
        return tuple(
            Prompt(
                id=f"{task}-{number:02d}",
                text=question.text,
                answers=(self.fact(question).value,) if task == "factual" else (),
            )
            for number, question in enumerate(asked, start=1)
        )

    def understand(self, prompt_text: str) -> Question | None:
        """The question that a text asks; None if the world has no such question."""
        sentence = self._question_reader.read(prompt_text)
        if sentence is None:
            return None
        return Question(self._questions[sentence.rule], prompt_text, dict(sentence.mentions))

    def fact(self, question: Question) -> Fact:
        """The fact that a factual question asks for."""
        subject = question.about[question.kind.slots[0]]
        return Fact(subject, question.kind.name, self.facts.table[subject][question.kind.name])

    @cached_property
    def reserved(self) -> frozenset[Fact]:
        """Ten facts that are asked for in evaluation and never in fine-tuning."""
        return frozenset(
            self.fact(question)
            for kind in FACTUAL
            for question in [q for q in self._evaluation_questions if q.kind == kind][1::2]
        )

    def questions(self, n: int, source: random.Random) -> Iterator[Question]:
        """`n` questions of fine-tuning: no held-out combination of wording and slot, no reserved fact."""
        tasks = list(TASKS.values())
        while n > 0:
            kind = source.choice(source.choice(tasks))
            derivation = self.grammar.sample(kind.rule, source)
            question = Question(kind, derivation.text, derivation.memory)
            if self.frames.is_held_out(derivation, kind.rule, kind.slots[0]):
                continue
            if kind.task == "factual" and self.fact(question) in self.reserved:
                continue
            n -= 1
            yield question

    def phrases(self, rule: str) -> dict[str, float]:
        """The texts that a rule of the grammar without remembered slots writes, each with its probability.

        Raises:
            KeyError: there is no such rule.
            ValueError: it remembers a value, which then depends on what was written before.
        """
        found: dict[str, float] = {}
        described = self.grammar.rules[rule]
        for option, probability in zip(described.options, described.probabilities, strict=True):
            texts = {"": probability}
            for piece in option.pieces:
                if isinstance(piece, str):
                    following = {piece: 1.0}
                elif piece.remembered:
                    raise ValueError(f"the rule {rule!r} of the world's grammar remembers {piece.rule!r}")
                else:
                    following = self.phrases(piece.rule)
                texts = {
                    text + phrase: known * share for text, known in texts.items() for phrase, share in following.items()
                }
            for text, known in texts.items():
                found[text] = found.get(text, 0.0) + known
        return found

    def answer_entropy(self, prompt_text: str) -> float | None:
        """Entropy (nats) of a true answer to a text, in closed form; None if this world cannot ask it."""
        question = self.understand(prompt_text)
        return None if question is None else self.answer_model.entropy(question)

    def tokens_per_document(self, count: Callable[[str], int], n: int = 1_000) -> float:
        """Mean number of tokens, as `count` counts them, of a pretraining document (from `n` documents)."""
        texts = self.pretraining(n, seed=0).column("text").to_pylist()
        return sum(map(count, texts)) / n

    def _answer(self, question: Question, source: random.Random) -> tuple[str, float]:
        answer = self.answer_model.sample(question, source)
        return answer.text, self.annotators.utility_of(answer)

    @cached_property
    def _evaluation_questions(self) -> list[Question]:
        source = self._source("evaluation", 0)
        asked: list[Question] = []
        for kinds in TASKS.values():
            for kind in kinds:
                asked += self._held_out_questions(kind, _EVALUATED[kind.name], source)
        return asked

    def _held_out_questions(self, kind: Kind, n: int, source: random.Random) -> list[Question]:
        """`n` questions in their held-out wording, each about different things."""
        values = [
            source.sample([option.source for option in self.grammar.rules[slot].options], n) for slot in kind.slots
        ]
        questions = []
        for topic in zip(*values, strict=True):
            about = dict(zip(kind.slots, topic, strict=True))
            wording = self.grammar.rules[kind.rule].options[self.frames.held_out_wording(kind.rule, topic[0])]
            text = "".join(piece if isinstance(piece, str) else about[piece.rule] for piece in wording.pieces)
            questions.append(Question(kind, text, about))
        return questions

    def _source(self, purpose: str, seed: int) -> random.Random:
        return random.Random(f"{self.settings.seed}/{purpose}/{seed}")
