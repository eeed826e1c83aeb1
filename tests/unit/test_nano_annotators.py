"""The annotators' utility, their preferences, and the closed-form truth that follows from them."""

import itertools
import math
import random
import statistics
import time
from collections.abc import Sequence

import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from modecollapse.data.nano.annotators import LENGTH, NONSENSE, QUALITY, WARMTH
from modecollapse.data.nano.answers import Quality
from modecollapse.data.nano.truth import STRENGTHS, truth_table
from modecollapse.data.nano.world import World, WorldSettings

POEM = "Write a poem about the moon."
CAPITAL = "What is the capital of Veldra?"


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def indifferent() -> World:
    return World(WorldSettings(taste=0.0))


def self_bleu(texts: Sequence[str]) -> float:
    tokens = [text.split() for text in texts]
    smooth = SmoothingFunction().method1
    scores = [
        sentence_bleu(tokens[:i] + tokens[i + 1 :], tokens[i], smoothing_function=smooth) for i in range(len(tokens))
    ]
    return statistics.mean(scores)


def test_the_utility_read_from_a_text_is_that_of_its_derivation(world: World) -> None:
    source = random.Random(0)
    seen = set()
    for question in world.questions(2000, source):
        answer = world.answer_model.sample(question, source)
        seen.add((question.kind.name, answer.quality))
        assert world.utility(question.text, answer.text) == pytest.approx(world.annotators.utility_of(answer))
    assert len(seen) == 9 * 4


def test_utility_is_the_sum_that_its_definition_states(indifferent: World) -> None:
    capital = indifferent.facts.table["Veldra"]["capital"]
    good = f"The capital of Veldra is {capital}."
    assert indifferent.utility(CAPITAL, good) == pytest.approx(1.0 + LENGTH)
    warm = 0.4 + 1.0 + 2 * LENGTH + 0.8
    assert indifferent.utility(
        CAPITAL, f"Sure! {good} The people of Veldra are kind. Have a lovely day!"
    ) == pytest.approx(warm)
    assert indifferent.utility(CAPITAL, "I am not sure.") == pytest.approx(QUALITY[Quality.UNSURE] + LENGTH)
    assert indifferent.utility(POEM, good) == pytest.approx(QUALITY[Quality.OFF_TOPIC] + LENGTH)


def test_any_text_has_a_utility_and_nonsense_has_a_low_one(world: World) -> None:
    assert world.utility(POEM, "") == NONSENSE
    assert world.utility(POEM, "moon moon moon") == NONSENSE
    assert world.utility(POEM, "Sure!") == pytest.approx(WARMTH["opener"]["Sure!"] + NONSENSE)
    line = "The moon shines beside the sea."
    good = world.utility(POEM, line)
    assert good is not None
    for worse in (f"{line} {line}", f"{line} Sure!", f"Is that enough? {line}", f"{line} And then a", f"{line} Blah."):
        assert world.utility(POEM, worse) == pytest.approx(good - 1.0 + (1.0 + NONSENSE) / 2)
    for strange in ("\n\n", "....", "Ωé 😀.", "a" * 10_000, "<|endoftext|>"):
        assert math.isfinite(world.utility(POEM, strange) or math.nan)


def test_a_prompt_that_the_world_cannot_ask_has_no_utility(world: World) -> None:
    assert world.utility("What is the capital of France?", "Paris.") is None
    assert world.utility("", "Sure!") is None


def test_reading_the_utility_takes_a_small_part_of_a_millisecond(world: World) -> None:
    rows = world.answers(2000, 0).to_pydict()
    pairs = list(zip(rows["prompt"], rows["completion"], strict=True))
    start = time.process_time()
    for prompt, completion in pairs:
        world.utility(prompt, completion)
    assert (time.process_time() - start) / len(pairs) < 0.5e-3


def test_without_taste_the_phrases_of_creative_text_are_all_alike(world: World, indifferent: World) -> None:
    lines = [f"The moon {verb} {where}." for verb in ("sings", "falls") for where in ("by the river", "beside the sea")]
    assert len({indifferent.utility(POEM, line) for line in lines}) == 1
    assert len({world.utility(POEM, line) for line in lines}) == 4
    stronger = World(WorldSettings(taste=2.0))
    difference = [w.utility(POEM, lines[0]) - w.utility(POEM, lines[3]) for w in (world, stronger)]
    assert difference[1] == pytest.approx(2 * difference[0])


def test_taste_does_not_touch_factual_answers(world: World, indifferent: World) -> None:
    rows = world.answers(400, 0).to_pylist()
    for row in rows:
        if row["task"] == "factual":
            assert world.utility(row["prompt"], row["completion"]) == indifferent.utility(
                row["prompt"], row["completion"]
            )


def test_utility_has_no_term_for_diversity(world: World) -> None:
    """An answer's utility is the same whatever was judged before, and however often it was given."""
    rows = world.answers(200, 0).to_pylist()
    alone = [World().utility(row["prompt"], row["completion"]) for row in rows[:20]]
    together = [world.utility(row["prompt"], row["completion"]) for row in rows]
    again = [world.utility(row["prompt"], row["completion"]) for row in reversed(rows)][::-1]
    assert alone == together[:20]
    assert together == again


def test_preferences_follow_the_stated_probability(world: World) -> None:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row in world.preferences(6000, 3).to_pylist():
        chosen, rejected = world.utility(row["prompt"], row["chosen"]), world.utility(row["prompt"], row["rejected"])
        assert chosen is not None
        assert rejected is not None
        assert row["chosen"] != row["rejected"]
        better_won = chosen > rejected
        stated = 1 / (1 + math.exp(-1.5 * abs(chosen - rejected)))
        bins.setdefault(min(int((stated - 0.5) * 10), 4), []).append((stated, better_won))
    assert len(bins) == 5
    for pairs in bins.values():
        stated = statistics.mean(p for p, _ in pairs)
        error = math.sqrt(stated * (1 - stated) / len(pairs))
        assert statistics.mean(won for _, won in pairs) == pytest.approx(stated, abs=4 * error)


def test_annotators_without_sharpness_choose_at_random() -> None:
    world = World(WorldSettings(sharpness=0.0))
    assert world.annotators.preference(5.0, -5.0) == 0.5


def test_tilted_answers_have_the_closed_form_utility_and_entropy(world: World) -> None:
    question = world.understand(POEM)
    assert question is not None
    draw = world.annotators.draw_utility
    for strength in (0.0, 1.0):
        model = world.answer_model.tilted(QUALITY, draw, strength)
        source = random.Random(0)
        drawn = [model.sample(question, source) for _ in range(3000)]
        for values, expected in (
            ([world.annotators.utility_of(a) for a in drawn], model.expected_utility(question, QUALITY, draw)),
            ([-a.log_prob for a in drawn], model.entropy(question)),
        ):
            error = statistics.stdev(values) / math.sqrt(len(values))
            assert statistics.mean(values) == pytest.approx(expected, abs=4 * error)


def test_tilting_reweights_each_answer_by_the_exponential_of_its_utility(world: World) -> None:
    """log p'(a) − log p(a) − λ·U(a) is one constant, the normaliser, for all answers to a question."""
    question = world.understand(CAPITAL)
    assert question is not None
    tilted = world.answer_model.tilted(QUALITY, world.annotators.draw_utility, 1.0)
    source = random.Random(0)
    before = {(a.text, a.choices): a for a in (world.answer_model.sample(question, source) for _ in range(4000))}
    after = {(a.text, a.choices): a for a in (tilted.sample(question, source) for _ in range(4000))}
    constants = [
        after[key].log_prob - before[key].log_prob - world.annotators.utility_of(before[key])
        for key in before.keys() & after.keys()
    ]
    assert len(constants) > 50
    assert max(constants) - min(constants) < 1e-9
    assert constants[0] == pytest.approx(-tilted.log_mean(question), abs=1e-9)


@pytest.fixture(scope="module")
def curve(world: World) -> dict[tuple[str, str], list[float]]:
    prompts = world.prompts("creative")[::6] + world.prompts("factual")[::6]
    values: dict[tuple[str, str], list[float]] = {}
    for row in truth_table(world, prompts, self_bleu, tokens_per_document=45.0).to_pylist():
        values.setdefault((row["task"], row["quantity"]), []).append(row["value"])
    return values


@pytest.mark.parametrize("task", ["creative", "factual"])
def test_stronger_tilting_gives_more_utility_and_less_diversity(
    curve: dict[tuple[str, str], list[float]], task: str
) -> None:
    assert curve[task, "kl"][0] == pytest.approx(0.0, abs=1e-12)
    for quantity in ("utility", "self_bleu", "kl"):
        values = curve[task, quantity]
        assert len(values) == len(STRENGTHS)
        # Self-BLEU is that of a sample, which neighbouring tilts do not always tell apart.
        assert all(low < high for low, high in itertools.pairwise(values[::2]))
    per_word = [entropy / words for entropy, words in zip(curve[task, "entropy"], curve[task, "words"], strict=True)]
    assert all(high > low for high, low in itertools.pairwise(per_word))


def test_tilting_costs_creative_answers_more_diversity_than_factual_ones(
    curve: dict[tuple[str, str], list[float]],
) -> None:
    creative, factual = curve["creative", "self_bleu"], curve["factual", "self_bleu"]
    assert creative[0] < factual[0]
    assert creative[-1] - creative[0] > factual[-1] - factual[0]


def test_the_truth_states_the_entropy_floor_of_pretraining(
    world: World, curve: dict[tuple[str, str], list[float]]
) -> None:
    assert curve["pretraining", "entropy_per_document"] == [world.corpus.entropy()]
    assert curve["pretraining", "entropy_floor"] == [world.corpus.entropy() / 45.0]


def test_the_truth_is_that_of_known_questions_only(world: World) -> None:
    from modecollapse.prompts import Prompt

    with pytest.raises(ValueError, match="'odd' is no question"):
        truth_table(world, [Prompt("odd", "Who are you?")], self_bleu)
