"""What sampled answers are worth in reinforcement learning, and whether the model that gave them is the one trained."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from modecollapse.data.nano.world import World, WorldSettings
from modecollapse.errors import StudyError
from modecollapse.generation.rollouts import Rollout
from modecollapse.methods.answer_judge import AnswerJudge
from modecollapse.methods.sampling_check import check_sampling
from tests.tiny_models import character_tokenizer

END, STOP = 0, 7


class Lengths:
    """Scores answers by the number of their tokens."""

    def score(self, prompts: Any, prompt_ids: Any, answer_ids: Any) -> Any:
        return np.array([len(ids) for ids in answer_ids], dtype=np.float32)


def judge(world: WorldSettings | None = None, penalty: float = 0.5) -> AnswerJudge:
    policy = SimpleNamespace(tokenizer=character_tokenizer(), end_tokens=(END, STOP))
    return AnswerJudge(Lengths(), policy, world, penalty)


def test_answers_without_one_of_the_policy_s_end_tokens_at_their_end_are_fined() -> None:
    answers = [[5, 6, END], [5, 6, 8], [STOP], [STOP, 5]]
    assert judge().scores(["any"] * 4, [[1]] * 4, answers).tolist() == [3, 2.5, 1, 1.5]
    assert judge().measured(["any"] * 4, answers) == {"share_ended": 0.5}


def test_the_utility_is_the_mean_over_the_answers_that_the_world_can_judge() -> None:
    settings = WorldSettings()
    world, tokenizer = World(settings), character_tokenizer()
    pairs = world.preferences(3, seed=3).to_pylist()
    prompts = [pair["prompt"] for pair in pairs]
    answers = [[*tokenizer(pair["chosen"])["input_ids"], END] for pair in pairs]
    expected = np.mean([world.utility(pair["prompt"], pair["chosen"]) for pair in pairs])
    found = judge(settings).measured([*prompts, "No question"], [*answers, [5]])
    assert found == {"share_ended": 0.75, "utility": pytest.approx(expected)}
    assert judge(settings).measured(["No question"], [[5]]) == {"share_ended": 0.0}


def test_a_model_whose_training_pass_gives_other_log_probabilities_than_its_sampling_is_refused() -> None:
    sampled = [np.array(row, dtype=np.float32) for row in ([-1.0, -2.0, -0.5], [-3.0])]
    rollouts = [Rollout([1] * len(row), row, True) for row in sampled]
    trained = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, 99.0, 99.0]])
    check_sampling("here", rollouts, trained, 1e-6)
    trained[0, 1] = -2.4  # by 0.1 on average
    check_sampling("here", rollouts, trained, 0.11)
    with pytest.raises(StudyError, match=r"The model in here .* differ by 0\.1 nats per token\. .*Use one of these"):
        check_sampling("here", rollouts, trained, 0.09)
    trained[0, 1] = float("nan")
    with pytest.raises(StudyError, match="nan nats"):
        check_sampling("here", rollouts, trained, 0.11)
