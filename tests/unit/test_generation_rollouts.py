"""Rollouts: answers of a model in memory, against plain forward passes of the same network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from modecollapse.errors import StudyError
from modecollapse.generation.models import CausalModel, load_causal_model
from modecollapse.generation.rollouts import Rollout, sample_rollouts
from modecollapse.generation.streams import uniforms
from tests.tiny_models import save_llama, save_neox

PROMPTS = {"short": [5, 6], "long": [7, 8, 9, 10, 11, 12, 13]}
ROWS = [("long", 0), *[("short", number) for number in (0, 1, 7, *range(20, 28))], ("long", 1)]


@pytest.fixture(scope="module", params=["neox", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    save = {"neox": save_neox, "llama": save_llama}[request.param]
    return often_ending(save(tmp_path_factory.mktemp(request.param)))


def often_ending(directory: Path) -> CausalModel:
    model = load_causal_model(directory, "float32", 1, "cpu")
    with torch.no_grad():
        model.network.get_output_embeddings().weight[model.end_tokens[0]] += 0.1  # some rows end
    return model


def log_probabilities(network: Any, prompt: list[int], answer: list[int], temperature: float) -> np.ndarray:
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1)[torch.arange(len(answer)), torch.tensor(answer)].numpy()


def sample(model: CausalModel, **changes: Any) -> list[Rollout]:
    settings = {"temperature": 0.8, "max_new_tokens": 40, "stream": "run step 1", **changes}
    return sample_rollouts(model, PROMPTS, settings.pop("rows", ROWS), **settings)


def test_a_rollout_has_the_log_probabilities_that_a_plain_forward_pass_gives_its_tokens(model: CausalModel) -> None:
    rollouts = sample(model)
    assert {rollout.ended for rollout in rollouts} == {True, False}
    for (prompt, _), rollout in zip(ROWS, rollouts, strict=True):
        assert rollout.log_probs.shape == (len(rollout.tokens),)
        expected = log_probabilities(model.network, PROMPTS[prompt], rollout.tokens, 0.8)
        np.testing.assert_allclose(rollout.log_probs, expected, atol=2e-5)


def test_a_rollout_ends_with_its_first_end_of_text_token_or_at_the_length(model: CausalModel) -> None:
    for rollout in sample(model):
        within = [token in model.end_tokens for token in rollout.tokens]
        assert not any(within[:-1])
        assert within[-1] == rollout.ended
        assert rollout.ended or len(rollout.tokens) == 40


def test_the_first_token_is_the_inverse_of_the_cumulative_distribution_at_the_row_s_uniform(model: CausalModel) -> None:
    with torch.no_grad():
        logits = model.network(input_ids=torch.tensor([PROMPTS["short"]])).logits[0, -1]
    cumulative = (logits.double() / 0.8).softmax(-1).cumsum(-1)
    rows = [("short", number) for number in range(30)]
    expected = torch.searchsorted(cumulative, torch.from_numpy(uniforms("run step 1", rows, 1)[:, 0])).tolist()
    assert [rollout.tokens[0] for rollout in sample(model, rows=rows, max_new_tokens=1)] == expected


def test_rollouts_follow_from_names_alone_and_other_streams_give_others(model: CausalModel) -> None:
    first = [rollout.tokens for rollout in sample(model)]
    assert [rollout.tokens for rollout in sample(model)] == first
    assert [rollout.tokens for rollout in sample(model, rows=ROWS[::-1])] == first[::-1]
    assert [rollout.tokens for rollout in sample(model, rows_per_batch=2)] == first
    assert [rollout.tokens for rollout in sample(model, stream="run step 2")] != first


def test_rollouts_follow_the_weights_of_an_adapter_as_they_are_now(tmp_path: Path) -> None:
    model = often_ending(save_neox(tmp_path))
    plain = sample(model)
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["query_key_value"], task_type="CAUSAL_LM")
    wrapped = get_peft_model(model.network, config)
    adapted = CausalModel(wrapped, model.tokenizer, model.device, model.end_tokens, model.context)
    assert [rollout.tokens for rollout in sample(adapted)] == [rollout.tokens for rollout in plain]
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    rollouts = sample(adapted)
    assert [rollout.tokens for rollout in rollouts] != [rollout.tokens for rollout in plain]
    for (prompt, _), rollout in zip(ROWS, rollouts, strict=True):
        expected = log_probabilities(wrapped, PROMPTS[prompt], rollout.tokens, 0.8)
        np.testing.assert_allclose(rollout.log_probs, expected, atol=2e-5)


def test_a_prompt_that_leaves_no_room_is_refused(model: CausalModel) -> None:
    with pytest.raises(StudyError, match="max_new_tokens to at most 249"):
        sample(model, max_new_tokens=250)
    with pytest.raises(ValueError, match="distinct"):
        sample(model, rows=[("short", 0), ("short", 0)])
