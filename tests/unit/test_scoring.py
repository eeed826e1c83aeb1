"""Scores of answers, by reward models and by functions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modecollapse.data.nano.world import World, WorldSettings
from modecollapse.errors import StudyError
from modecollapse.methods.base import RewardSource
from tests.tiny_models import character_tokenizer, save_llama, save_neox, save_reward

PROMPTS = ["a", "b", "c", "d"]
PROMPT_IDS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [14, 15]]
ANSWER_IDS = [[20, 21, 22, 0], [23, 0], [24], []]


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reward(save_neox(tmp_path_factory.mktemp("base"), context=64), tmp_path_factory.mktemp("reward"))


def _open(reward: Path | None, name: str = "rm", world: WorldSettings | None = None, tokenizer: Any = None) -> Any:
    from modecollapse.methods.scoring import open_scorer

    return open_scorer(RewardSource(name, reward), world, tokenizer or character_tokenizer(), 1, "cpu")


def test_scores_are_those_of_the_library_one_row_at_a_time(reward: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    network = AutoModelForSequenceClassification.from_pretrained(reward)
    with torch.inference_mode():
        expected = [
            network(torch.tensor([[*prompt, *answer]])).logits.item()
            for prompt, answer in zip(PROMPT_IDS, ANSWER_IDS, strict=True)
        ]
    scores = _open(reward).score(PROMPTS, PROMPT_IDS, ANSWER_IDS)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_end_of_text_counts_though_it_is_the_padding_too(reward: Path) -> None:
    with_end, without = _open(reward).score(["a", "a"], [[5, 6], [5, 6]], [[20, 0], [20]])
    assert abs(with_end - without) > 1e-3


def test_a_score_does_not_depend_on_the_rows_beside_it(reward: Path) -> None:
    scorer = _open(reward)
    rows = [list(range(3, 3 + length)) for length in range(1, 60)]  # several batches of 2,048 positions
    together = scorer.score([""] * 590, [[7]] * 590, rows * 10)
    alone = [scorer.score([""], [[7]], [row])[0] for row in rows]
    assert together.reshape(10, 59) == pytest.approx(np.tile(alone, (10, 1)), rel=1e-5, abs=1e-5)


def test_rows_without_tokens_and_rows_beyond_the_context_are_refused(reward: Path) -> None:
    with pytest.raises(StudyError, match=r"rm is asked for a score of row 1, which has no tokens"):
        _open(reward).score(["a", "a"], [[5], []], [[6], []])
    with pytest.raises(StudyError, match=r"row 0, which has 65 tokens.*knows 64 positions"):
        _open(reward).score(["a"], [[5] * 60], [[6] * 5])


def test_another_tokenizer_is_refused_before_anything_is_scored(reward: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(save_llama(tmp_path))
    with pytest.raises(StudyError, match=r"rm has another tokenizer .* tokens differ, e\.g\. '!', id 1 instead of 3"):
        _open(reward, tokenizer=other)
    same = character_tokenizer()
    same.eos_token = "!"
    with pytest.raises(StudyError, match="text ends with token 0 instead of 1"):
        _open(reward, tokenizer=same)


def test_a_model_without_a_head_for_one_score_is_no_reward_model(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"missing keys score\.weight"):
        _open(save_neox(tmp_path / "lm"))
    with pytest.raises(StudyError, match="has 3 labels, so it is no reward model"):
        _open(save_reward(tmp_path / "lm", tmp_path / "three", labels=3))


def test_a_score_that_is_no_number_names_the_reward_and_the_row(reward: Path) -> None:
    scorer = _open(reward)
    scorer._model.network.gpt_neox.embed_in.weight.data[77] = float("nan")
    with pytest.raises(StudyError, match=r"rm gives nan to the answer of row 2 \(1 of 3 scores"):
        scorer.score([""] * 3, [[5]] * 3, [[6, 0], [7, 8, 0], [77]])


def test_functions_score_the_decoded_answer() -> None:
    settings = WorldSettings()
    world, tokenizer = World(settings), character_tokenizer()
    pairs = world.preferences(5, seed=3).to_pylist()
    ids = [[*tokenizer(" " + pair["chosen"])["input_ids"], tokenizer.eos_token_id] for pair in pairs]
    prompts = [pair["prompt"] for pair in pairs]
    expected = [world.utility(pair["prompt"], pair["chosen"]) for pair in pairs]
    assert _open(None, "utility", settings).score(prompts, ids, ids) == pytest.approx(expected)
    counts = [len(pair["chosen"].split()) for pair in pairs]
    assert _open(None, "words").score(prompts, ids, ids).tolist() == counts


def test_functions_that_do_not_exist_or_cannot_judge_are_refused() -> None:
    with pytest.raises(StudyError, match=r"'utilty' is no function. Allowed: utility, words"):
        _open(None, "utilty")
    with pytest.raises(StudyError, match="utility gives nan to the answer of row 0"):
        _open(None, "utility", WorldSettings()).score(["No question"], [[5]], [[6]])
