"""Benchmarks of the world: questions with the right answer among wrong ones, and sentences beside broken copies."""

import random
import re
from collections.abc import Iterable, Sequence

import pyarrow as pa

from modecollapse.data.nano.facts import RELATIONS, SUBJECTS, Facts
from modecollapse.data.nano.grammar import Grammar, Slot
from modecollapse.data.nano.questions import Question

CHOICES = 4
"""Answers to choose from, the right one among them."""

CHOICE_SCHEMA = pa.schema(
    [
        ("question", pa.string()),
        ("stem", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("answer", pa.int64()),
        ("relation", pa.string()),
    ]
)
"""`stem` is the beginning of an answer that each of the `choices` completes; `answer` the index of the right one."""

CONTRAST_SCHEMA = pa.schema([("sentences", pa.list_(pa.string())), ("right", pa.int64())])
"""Two sentences, one with two words exchanged; `right` is the index of the other one."""

FACTS = sum(len(SUBJECTS[relation.kind]) for relation in RELATIONS)
"""Facts of a world, and so the most questions with choices."""

_VALUES = {relation.name: relation.values for relation in RELATIONS}
_SENTENCE = re.compile(r"[^.!?]+[.!?]")
_DETERMINERS = ("a", "the", "my", "its")


def choices(grammar: Grammar, facts: Facts, questions: Sequence[Question], n: int, source: random.Random) -> pa.Table:
    """The first `n` of these factual questions in an order of `source`, each with its answers (`CHOICE_SCHEMA`).

    Wrong answers are values of the same relation, so each is as good a guess as the right one.

    Raises:
        ValueError: there are fewer than `n` questions.
    """
    if n > len(questions):
        raise ValueError(f"{n} questions with choices were asked for; the world has {len(questions)}")
    rows = []
    for question in source.sample(questions, len(questions)):
        relation, subject = question.kind.name, question.about[question.kind.slots[0]]
        truth = facts.table[subject][relation]
        wrong = source.sample([value for value in _VALUES[relation] if value != truth], CHOICES - 1)
        answers = source.sample([truth, *wrong], CHOICES)
        rows.append(
            {
                "question": question.text,
                "stem": _stem(grammar, relation, question),
                "choices": [f"{answer}." for answer in answers],
                "answer": answers.index(truth),
                "relation": relation,
            }
        )
    return pa.Table.from_pylist(rows[:n], schema=CHOICE_SCHEMA)


def contrasts(documents: Iterable[str], n: int, source: random.Random) -> pa.Table:
    """`n` different sentences of these documents, one of each at most, beside a copy that the grammar cannot write.

    In the copy a determiner and the word after it are exchanged: "the old fox" becomes "old the fox".
    """
    rows: list[dict[str, object]] = []
    seen: set[str] = set()
    for document in documents:
        if len(rows) == n:
            break
        broken = {}
        for sentence in _SENTENCE.findall(document):
            words = sentence.split()
            places = [place for place, word in enumerate(words[:-1]) if word in _DETERMINERS]
            if places and " ".join(words) not in seen:
                broken[" ".join(words)] = _exchanged(words, source.choice(places))
        if broken:
            sentence = source.choice(list(broken))
            seen.add(sentence)
            right = source.randrange(2)
            pair = [broken[sentence], sentence] if right else [sentence, broken[sentence]]
            rows.append({"sentences": pair, "right": right})
    return pa.Table.from_pylist(rows, schema=CONTRAST_SCHEMA)


def _stem(grammar: Grammar, relation: str, question: Question) -> str:
    """The commonest sentence that states the relation, up to the value at its end."""
    pieces = grammar.rules[f"say.{relation}"].options[0].pieces
    place = next(index for index, piece in enumerate(pieces) if isinstance(piece, Slot) and piece.rule == relation)
    texts = (piece if isinstance(piece, str) else question.about[piece.rule] for piece in pieces[:place])
    return "".join(texts).rstrip()


def _exchanged(words: Sequence[str], place: int) -> str:
    """The words with those at `place` and after it exchanged; a full stop stays where it is."""
    first, second = words[place], words[place + 1]
    end = second[-1] if second[-1] in ".,!?" else ""
    return " ".join([*words[:place], second.removesuffix(end) if end else second, first + end, *words[place + 2 :]])
