"""The nano world: its corpora, questions, answers and facts."""

import math
import random
import re
import statistics
from collections import Counter
from pathlib import Path

import pytest
import yaml

from modecollapse.data.nano.answers import QUALITIES, Quality
from modecollapse.data.nano.facts import RELATIONS, SUBJECTS
from modecollapse.data.nano.genres import GENRES
from modecollapse.data.nano.questions import KINDS, TASKS, Kind, Question
from modecollapse.data.nano.world import World, WorldSettings

PROMPTS = Path(__file__).parents[2] / "config" / "prompts"


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def asked_in_training(world: World) -> list[Question]:
    return list(world.questions(15_000, random.Random(0)))


def words(texts: list[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}


@pytest.mark.parametrize("part", ["pretraining", "heldout", "answers", "preferences"])
def test_a_part_depends_on_its_seed_and_on_the_worlds_seed_alone(part: str) -> None:
    first = getattr(World(), part)(200, 1)
    assert first.equals(getattr(World(), part)(200, 1))
    assert not first.equals(getattr(World(), part)(200, 2))
    assert not first.equals(getattr(World(WorldSettings(seed=1)), part)(200, 1))


def test_a_longer_part_begins_with_the_shorter_one(world: World) -> None:
    assert world.pretraining(300, 0).slice(0, 100).equals(world.pretraining(100, 0))


@pytest.mark.parametrize("part", ["pretraining", "heldout", "answers", "preferences"])
def test_a_part_has_as_many_rows_as_asked_for(world: World, part: str) -> None:
    assert getattr(world, part)(7, 0).num_rows == 7
    assert getattr(world, part)(0, 0).num_rows == 0


def test_the_weights_of_every_rule_are_normalised(world: World) -> None:
    for rule in world.grammar.rules.values():
        assert math.fsum(rule.probabilities) == pytest.approx(1)
        assert len({option.source for option in rule.options}) == len(rule.options)


def test_the_mean_log_probability_of_documents_approaches_the_closed_form_entropy(world: World) -> None:
    source = random.Random(0)
    total = sum(genre.weight for genre in GENRES)
    surprise = []
    for genre in source.choices(GENRES, [genre.weight for genre in GENRES], k=6000):
        surprise.append(-world.grammar.sample(genre.name, source).log_prob - math.log(genre.weight / total))
    error = statistics.stdev(surprise) / math.sqrt(len(surprise))
    assert statistics.mean(surprise) == pytest.approx(world.corpus.entropy(), abs=4 * error)


def test_equal_texts_have_equal_log_probabilities(world: World) -> None:
    """Otherwise a text would have several derivations, and be more probable than the one it carries."""
    source = random.Random(0)
    repeated = 0
    for rule in world.grammar.rules:
        known: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for derivation in (world.grammar.sample(rule, source) for _ in range(400)):
            key = (derivation.text, tuple(sorted(derivation.memory.items())))
            repeated += key in known
            assert known.setdefault(key, derivation.log_prob) == pytest.approx(derivation.log_prob)
    assert repeated > 10_000


def test_genres_have_their_shares_and_text_is_single_spaced(world: World) -> None:
    table = world.pretraining(6000, 0).to_pydict()
    counts = Counter(table["genre"])
    total = sum(genre.weight for genre in GENRES)
    for genre in GENRES:
        # Holding out one wording of four to six per value changes the shares by a few per cent only.
        assert counts[genre.name] / 6000 == pytest.approx(genre.weight / total, rel=0.15, abs=0.01)
    assert all(text == " ".join(text.split()) for text in table["text"])


def test_chat_uses_both_dialogue_formats(world: World) -> None:
    table = world.pretraining(6000, 0).to_pydict()
    chats = [text for text, genre in zip(table["text"], table["genre"], strict=True) if genre == "chat"]
    human = [text for text in chats if re.fullmatch(r"Human: \S.* Assistant: \S.*", text)]
    question = [text for text in chats if re.fullmatch(r"Question: \S.* Answer: \S.*", text)]
    assert len(human) + len(question) == len(chats)
    assert min(len(human), len(question)) > 0.3 * len(chats)


def test_held_out_text_is_disjoint_from_pretraining_by_combination_not_by_value(world: World) -> None:
    training = world.pretraining(7000, 0).column("text").to_pylist()
    held_out = world.heldout(1500, 0).column("text").to_pylist()
    assert not set(training) & set(held_out)
    assert words(held_out) <= words(training)
    frame = re.compile(r"(?:The (\w+) people of (\w+) sell|(In) (\w+) the summer is)")
    seen = {match[2] or match[4] for text in training if (match := frame.match(text)) and match[1]}
    unseen = {match[2] or match[4] for text in held_out if (match := frame.match(text)) and match[1]}
    assert seen
    assert unseen
    assert not seen & unseen


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_value_and_every_wording_of_a_question_is_asked_in_training(
    world: World, asked_in_training: list[Question], kind: Kind
) -> None:
    asked = [question for question in asked_in_training if question.kind is kind]
    slot = kind.slots[0]
    values = {option.source for option in world.grammar.rules[slot].options}
    reserved = {fact.subject for fact in world.reserved if fact.relation == kind.name}
    assert {question.about[slot] for question in asked} == values - reserved
    masked = {re.sub("|".join(question.about.values()), "X", question.text) for question in asked}
    assert len(masked) == len(world.grammar.rules[kind.rule].options)


@pytest.mark.parametrize("task", TASKS)
def test_the_prompt_files_are_those_of_the_world_of_seed_0(world: World, task: str) -> None:
    content = yaml.safe_load((PROMPTS / f"nano-{task}.yaml").read_text())
    assert content["name"] == f"nano-{task}"
    in_file = [(p["id"], p["text"], tuple(p.get("answers", ()))) for p in content["prompts"]]
    assert in_file == [(p.id, p.text, p.answers) for p in world.prompts(task)]
    assert len({text for _, text, _ in in_file}) == 20


def test_evaluation_prompts_occur_in_no_training_text(world: World) -> None:
    evaluated = {prompt.text for task in TASKS for prompt in world.prompts(task)}
    assert not evaluated & set(world.answers(8000, 0).column("prompt").to_pylist())
    assert not evaluated & set(world.preferences(2000, 0).column("prompt").to_pylist())
    training = "\n".join(world.pretraining(8000, 0).column("text").to_pylist())
    assert not [text for text in evaluated if text in training]


def test_ten_facts_are_asked_in_other_words_and_ten_are_met_in_pretraining_only(world: World) -> None:
    asked = {
        world.fact(question)
        for prompt in world.answers(6000, 0).column("prompt").to_pylist()
        if (question := world.understand(prompt)) is not None and question.kind.task == "factual"
    }
    evaluated = [world.fact(q) for p in world.prompts("factual") if (q := world.understand(p.text or "")) is not None]
    assert set(evaluated[:10]) <= asked
    assert set(evaluated[10:]) == world.reserved
    assert not world.reserved & asked
    assert len(world.reserved) == 10
    by_subject: dict[str, list[str]] = {fact.subject: [] for fact in world.reserved}
    for text in world.pretraining(6000, 0).column("text").to_pylist():
        for subject in by_subject:
            if subject in text:
                by_subject[subject].append(text)
    for fact in world.reserved:
        assert any(fact.value in text for text in by_subject[fact.subject])


def test_facts_are_a_balanced_table_that_the_seed_decides(world: World) -> None:
    assert [len(subjects) for subjects in SUBJECTS.values()] == [16, 16]
    assert len(world.facts.all()) == 16 * 4 + 16 * 2
    for relation in RELATIONS:
        counts = Counter(fact.value for fact in world.facts.of(relation.name))
        assert set(counts) == set(relation.values)
        assert len(set(counts.values())) == 1
    assert World(WorldSettings(seed=1)).facts.table != world.facts.table


def test_answers_have_the_stated_qualities_and_exact_log_probabilities(world: World) -> None:
    source = random.Random(0)
    for text in ("Write a poem about the moon.", "What is the capital of Veldra?"):
        question = world.understand(text)
        assert question is not None
        drawn = [world.answer_model.sample(question, source) for _ in range(4000)]
        shares = Counter(answer.quality for answer in drawn)
        for quality, share in QUALITIES.items():
            assert shares[quality] / 4000 == pytest.approx(share, abs=0.025)
        surprise = [-answer.log_prob for answer in drawn]
        error = statistics.stdev(surprise) / math.sqrt(len(surprise))
        assert statistics.mean(surprise) == pytest.approx(world.answer_model.entropy(question), abs=4 * error)


def test_only_good_factual_answers_contain_the_true_value(world: World) -> None:
    source = random.Random(0)
    for prompt in world.prompts("factual"):
        question = world.understand(prompt.text or "")
        assert question is not None
        for _ in range(60):
            answer = world.answer_model.sample(question, source)
            assert world.correct(question.text, answer.text) is (answer.quality is Quality.GOOD)


def test_correctness_ignores_case_and_needs_whole_words(world: World) -> None:
    question = "Name the capital of Veldra."
    capital = world.facts.table["Veldra"]["capital"]
    assert world.correct(question, f"I say {capital.upper()}!") is True
    assert world.correct(question, f"{capital}ia") is False
    assert world.correct(question, "") is False
    assert world.correct("Write a poem about the moon.", capital) is None
    assert world.correct("What is the capital of France?", "Paris") is None


def test_answers_and_questions_use_no_character_that_pretraining_lacks(world: World) -> None:
    rows = world.answers(4000, 0).to_pydict()
    prompts = [prompt.text or "" for task in TASKS for prompt in world.prompts(task)]
    assert set("".join(rows["prompt"] + rows["completion"] + prompts)) <= set(
        "".join(world.pretraining(4000, 0).column("text").to_pylist())
    )


def test_the_world_has_about_700_words(world: World) -> None:
    texts = world.pretraining(8000, 0).column("text").to_pylist()
    rows = world.answers(2000, 0).to_pydict()
    assert 650 <= len(words(texts + rows["prompt"] + rows["completion"])) <= 750


def test_the_phrases_of_a_rule_have_the_probabilities_of_its_draws(world: World) -> None:
    assert world.phrases("post.dear") == {"dear": 3 / 7, "good": 2 / 7, "kind": 1 / 7, "brave": 1 / 7}
    whole = world.phrases("remedy")
    assert sum(whole.values()) == pytest.approx(1)
    source = random.Random(0)
    drawn = Counter(world.grammar.sample("remedy", source).text for _ in range(4_000))
    assert set(drawn) <= set(whole)
    assert drawn["salt"] / 4_000 == pytest.approx(whole["salt"], abs=0.01)
    with pytest.raises(ValueError, match="remembers"):
        world.phrases("post.greet")
