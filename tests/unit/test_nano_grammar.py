"""The grammar's probabilities against plain enumeration, and the sentence reader against the sampler."""

import math
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from modecollapse.data.nano.grammar import Grammar, Rule
from modecollapse.data.nano.sentences import SentenceReader, split_sentences

RULES = """
letter = 3* Dear {@name}, {news} Yours, {@sender}. | Hello {@name}, {@name.trade}! {news} | {news}

news = 2* I saw {@name}. | We {did} and {did}. | {}

did = sang | 2* danced

name = Tilda | 3* Bram

sender = Pia | Otto
"""
ATTRIBUTES = {"Tilda": {"trade": "miller"}, "Bram": {"trade": "baker"}}


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar.parse(RULES, ATTRIBUTES)


def enumerate_texts(
    grammar: Grammar,
    rule: str,
    memory: dict[str, str] | None = None,
    utility: dict[tuple[str, int], float] | None = None,
) -> Iterator[tuple[str, float, float, dict[str, str]]]:
    """Every derivation: text, probability, utility, memory. Written independently of the sampler."""
    for index, (option, probability) in enumerate(
        zip(grammar.rules[rule].options, grammar.rules[rule].probabilities, strict=True)
    ):
        partial = [("", probability, (utility or {}).get((rule, index), 0.0), memory or {})]
        for piece in option.pieces:
            following = []
            for text, p, u, known in partial:
                if isinstance(piece, str):
                    following.append((text + piece, p, u, known))
                elif piece.remembered:
                    values = [(known[piece.rule], 1.0)] if piece.rule in known else []
                    values = values or [(t, q) for t, q, _, _ in enumerate_texts(grammar, piece.rule)]
                    for value, q in values:
                        shown = grammar.attributes[value][piece.attribute] if piece.attribute else value
                        following.append((text + shown, p * q, u, {**known, piece.rule: value}))
                else:
                    following += [
                        (text + t, p * q, u + v, then)
                        for t, q, v, then in enumerate_texts(grammar, piece.rule, known, utility)
                    ]
            partial = following
        yield from partial


def test_the_probabilities_of_all_derivations_sum_to_one(grammar: Grammar) -> None:
    assert sum(p for _, p, _, _ in enumerate_texts(grammar, "letter")) == pytest.approx(1)


def test_a_sample_carries_the_probability_that_enumeration_gives_its_text(grammar: Grammar) -> None:
    by_text: Counter[str] = Counter()
    for text, p, _, _ in enumerate_texts(grammar, "letter"):
        by_text[" ".join(text.split())] += p
    source = random.Random(0)
    drawn = [grammar.sample("letter", source) for _ in range(4000)]
    for derivation in drawn:
        assert math.exp(derivation.log_prob) == pytest.approx(by_text[derivation.text])
    counts = Counter(derivation.text for derivation in drawn)
    for text, p in by_text.items():
        assert counts[text] / 4000 == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 4000))


def test_entropy_in_closed_form_equals_the_enumerated_entropy(grammar: Grammar) -> None:
    enumerated = -sum(p * math.log(p) for _, p, _, _ in enumerate_texts(grammar, "letter"))
    assert grammar.entropy("letter") == pytest.approx(enumerated)


def test_what_is_remembered_beforehand_costs_no_entropy_and_no_probability(grammar: Grammar) -> None:
    given = {"name": "Tilda"}
    enumerated = -sum(p * math.log(p) for _, p, _, _ in enumerate_texts(grammar, "letter", given))
    assert grammar.entropy("letter", given) == pytest.approx(enumerated)
    assert grammar.entropy("letter", given) < grammar.entropy("letter")
    assert "Bram" not in "".join(grammar.sample("letter", random.Random(i), given).text for i in range(50))


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0, -1.0])
def test_tilting_multiplies_each_probability_by_the_exponential_of_its_utility(
    grammar: Grammar, strength: float
) -> None:
    utility = {("letter", 0): 0.3, ("news", 1): -0.7, ("did", 0): 1.1}
    tilted, log_normaliser = grammar.tilted(utility, strength)
    before = list(enumerate_texts(grammar, "letter", utility=utility))
    after = list(enumerate_texts(tilted, "letter"))
    normaliser = sum(p * math.exp(strength * u) for _, p, u, _ in before)
    assert log_normaliser["letter"] == pytest.approx(math.log(normaliser))
    for (_, p, u, _), (_, tilted_p, _, _) in zip(before, after, strict=True):
        assert tilted_p == pytest.approx(p * math.exp(strength * u) / normaliser)
    expected = sum(p * u for (_, _, u, _), (_, p, _, _) in zip(before, after, strict=True))
    assert tilted.expected_utility("letter", utility) == pytest.approx(expected)


def test_a_remembered_rule_cannot_be_tilted(grammar: Grammar) -> None:
    with pytest.raises(ValueError, match="remembered rule 'name'"):
        grammar.tilted({("name", 0): 1.0}, 1.0)


def test_a_slot_with_an_at_sign_keeps_its_value_and_looks_its_attributes_up(grammar: Grammar) -> None:
    source = random.Random(1)
    for text in (grammar.sample("letter", source).text for _ in range(200)):
        assert not ("Tilda" in text and "Bram" in text)
        assert "Tilda, baker" not in text
        assert "Bram, miller" not in text


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("a = {b}", "which is no rule"),
        ("a = {b}\n\nb = x {a}", "a → b → a goes round in a circle"),
        ("a = x\n\na = y", "second rule 'a'"),
        ("a = x {b", "makes no slot"),
        ("a x", "no `=`"),
    ],
)
def test_a_mistake_in_the_rules_is_named(rules: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grammar.parse(rules)


def test_the_last_option_takes_what_rounding_leaves_of_the_unit_interval() -> None:
    options = Grammar.parse("a = x | y").rules["a"].options

    class Highest(random.Random):
        def random(self) -> float:
            return 1 - 2**-53

    assert Grammar({"a": Rule(options, (0.5, 0.5 - 1e-12))}).sample("a", Highest()).text == "y"


def test_a_sentence_is_read_back_to_the_draws_that_wrote_it() -> None:
    grammar = Grammar.parse(
        "go = {@hero} went {where}. | {where.to} {@hero} ran, {@hero} fell {where}! | {}\n\n"
        "where = by the sea | by the sea side | home\n\nwhere.to = Home | Off\n\nhero = fox | foxglove"
    )
    reader = SentenceReader(grammar, ["go"])
    source = random.Random(0)
    for derivation in (grammar.sample("go", source) for _ in range(200)):
        sentence = reader.read(derivation.text)
        if not derivation.text:
            assert sentence is None
            continue
        assert sentence is not None
        assert sentence.choices == tuple(choice for choice in derivation.choices if choice[0] != "hero")
        assert set(sentence.mentions) == {("hero", derivation.memory["hero"])}
    assert reader.read("fox went away.") is None


def test_a_reader_refuses_slots_that_have_slots() -> None:
    grammar = Grammar.parse("a = {b}.\n\nb = x {c}\n\nc = y")
    with pytest.raises(ValueError, match="'b', which has slots itself"):
        SentenceReader(grammar, ["a"])


def test_text_is_split_after_each_end_mark_and_an_unfinished_rest_is_kept() -> None:
    assert split_sentences(" Sure! A fox ran.  Is that enough? And th") == [
        "Sure!",
        "A fox ran.",
        "Is that enough?",
        "And th",
    ]
    assert split_sentences("  ") == []
