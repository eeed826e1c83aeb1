"""The nano world's own benchmarks: questions with one right answer, sentences with one broken copy."""

import random
import re

import pytest

from modecollapse.data.nano.benchmarks import CHOICES, contrasts
from modecollapse.data.nano.facts import RELATIONS
from modecollapse.data.nano.world import World, WorldSettings


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize("part", ["choices", "contrasts"])
def test_a_part_depends_on_its_seed_and_on_the_worlds_seed_alone(part: str) -> None:
    first = getattr(World(), part)(50, 1)
    assert first.num_rows == 50
    assert first.equals(getattr(World(), part)(50, 1))
    assert not first.equals(getattr(World(), part)(50, 2))
    assert not first.equals(getattr(World(WorldSettings(seed=1)), part)(50, 1))


@pytest.mark.parametrize("part", ["choices", "contrasts"])
def test_a_longer_part_begins_with_the_shorter_one(part: str, world: World) -> None:
    assert getattr(world, part)(60, 0).slice(0, 20).equals(getattr(world, part)(20, 0))


def test_one_choice_is_true_and_the_others_are_false_values_of_the_same_relation(world: World) -> None:
    values = {relation.name: relation.values for relation in RELATIONS}
    for row in world.choices(96, 0).to_pylist():
        assert len(set(row["choices"])) == CHOICES
        assert {choice.removesuffix(".") for choice in row["choices"]} <= set(values[row["relation"]])
        answers = [f"{row['stem']} {choice}" for choice in row["choices"]]
        assert [world.correct(row["question"], answer) for answer in answers] == [
            place == row["answer"] for place in range(CHOICES)
        ]


def test_every_fact_is_asked_for_once_in_a_wording_that_training_never_shows(world: World) -> None:
    asked = [world.understand(question) for question in world.choices(96, 0).column("question").to_pylist()]
    facts = {world.fact(question) for question in asked if question is not None}
    assert facts == set(world.facts.all())
    trained = {question.text for question in world.questions(20_000, random.Random(0))}
    assert not trained & {question.text for question in asked if question is not None}


def test_more_questions_than_facts_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match="97 questions with choices were asked for; the world has 96"):
        world.choices(97, 0)


def test_guessing_the_place_of_the_answer_helps_nobody(world: World) -> None:
    places = world.choices(96, 0).column("answer").to_pylist()
    assert all(12 <= places.count(place) <= 36 for place in range(CHOICES))
    right = world.contrasts(400, 0).column("right").to_pylist()
    assert 160 <= sum(right) <= 240


def test_the_broken_copy_has_the_same_words_in_an_order_that_the_grammar_cannot_write(world: World) -> None:
    rows = world.contrasts(300, 0).to_pylist()
    whole = [row["sentences"][row["right"]] for row in rows]
    assert len(set(whole)) == len(whole)
    for row in rows:
        good, bad = row["sentences"][row["right"]], row["sentences"][1 - row["right"]]
        assert good != bad
        assert sorted(re.findall(r"\w+|\W", good)) == sorted(re.findall(r"\w+|\W", bad))


def test_a_determiner_and_the_next_word_change_places_and_punctuation_stays() -> None:
    rows = contrasts(["The fox ate the pie.", "No more. He ran."], 5, random.Random(0)).to_pylist()
    assert [sorted(row["sentences"]) for row in rows] == [["The fox ate pie the.", "The fox ate the pie."]]
