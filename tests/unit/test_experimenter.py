"""A model that is asked, continued and looked at token by token."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from modecollapse.errors import StudyError
from modecollapse.generation.models import CausalModel, load_causal_model
from modecollapse.measures.asking import AskingSettings
from modecollapse.measures.experimenter import Experimenter
from tests.tiny_models import save_llama, save_neox

ASKING = AskingSettings(completions=6, max_new_tokens=12)
PROBABILITIES = {"<|end|>": 0.05, "4": 0.2, "2": 0.1, "42": 0.15, "Ġ": 0.1, "Ġ4": 0.1, "x": 0.1, "a": 0.1, ".": 0.1}
"""Of every next token, whatever stands before."""


@pytest.fixture(scope="module", params=["neox", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    save = {"neox": save_neox, "llama": save_llama}[request.param]
    return load_causal_model(save(tmp_path_factory.mktemp(request.param)), "float32", 1, "cpu")


def memoryless() -> CausalModel:
    """A model that gives every next token its probability in `PROBABILITIES`."""
    raw = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(PROBABILITIES)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    logits = torch.tensor(list(PROBABILITIES.values())).log()

    def network(input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=logits.expand(*input_ids.shape, -1))

    network.config = SimpleNamespace(vocab_size=len(PROBABILITIES))  # type: ignore[attr-defined]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>")
    return CausalModel(network, tokenizer, torch.device("cpu"), (0,), 64)


def test_tokens_are_described_by_the_distribution_that_a_plain_forward_pass_gives(model: CausalModel) -> None:
    asked = Experimenter(model)
    outputs = asked.outputs({"who": "Who?", "what": "What is it, then?"}, ASKING, "x")
    assert [(output.prompt, output.sample) for output in outputs] == [(p, n) for p in ("who", "what") for n in range(6)]
    for output, tokens in zip(outputs, asked.token_rows(outputs, 0.7, 3), strict=True):
        ids = output.rollout.tokens
        with torch.no_grad():
            logits = model.network(input_ids=torch.tensor([[*output.context, *ids]])).logits[0]
        expected = (logits[len(output.context) - 1 : -1].double() / 0.7).softmax(-1).numpy()
        assert len(tokens) == len(ids)
        for token, p, drawn in zip(tokens, expected, ids, strict=True):
            assert token.log_prob == pytest.approx(math.log(p[drawn]), abs=1e-5)
            assert token.entropy == pytest.approx(-(p * np.log2(p)).sum(), abs=1e-5)
            assert [value for _, value in token.top] == pytest.approx(sorted(p, reverse=True)[:3], abs=1e-6)


def test_the_texts_of_tokens_join_to_the_text(model: CausalModel) -> None:
    asked = Experimenter(model)
    for output in asked.outputs({"who": "Who?"}, ASKING, "x"):
        tokens = output.rollout.tokens[: len(output.rollout.tokens) - output.rollout.ended]
        assert "".join(map(asked.token_text, tokens)) == output.completion.text


def test_outputs_are_the_same_twice_and_others_for_another_stream(model: CausalModel) -> None:
    asked = Experimenter(model)
    texts = [[o.completion.text for o in asked.outputs({"who": "Who?"}, ASKING, name)] for name in ("x", "x", "y")]
    assert texts[0] == texts[1] != texts[2]


def test_a_prompt_longer_than_the_context_is_an_error_that_says_what_fits(model: CausalModel) -> None:
    with pytest.raises(StudyError, match="more than the 256 positions of the model"):
        Experimenter(model).outputs({"long": "x" * 300}, ASKING, "x")
    for look in (
        lambda asked: asked.next_tokens("x" * 300, 3),
        lambda asked: asked.choice_probabilities("x" * 300, "12"),
    ):
        with pytest.raises(StudyError, match=r"Prompt 'x+…' has .* more than the 256 positions of the model"):
            look(Experimenter(model))


def test_the_room_is_what_a_prompt_leaves(model: CausalModel) -> None:
    extra = len(model.tokenizer("")["input_ids"])
    assert Experimenter(model).room("abcdefghij") == 256 - 10 - extra


def test_a_choice_has_the_probability_of_all_ways_to_write_it() -> None:
    p = PROBABILITIES
    found = Experimenter(memoryless()).choice_probabilities("x", ["4", "42", "2"])
    ends = p["<|end|>"] + p["Ġ"] + p["Ġ4"] + p["."]
    # Nothing, a space, or for 4 a token with its space stands before; split or whole; and the number is over.
    fours = p["4"] + p["Ġ"] * p["4"] + p["Ġ4"]
    assert found["4"] == pytest.approx(fours * ends)
    assert found["42"] == pytest.approx((fours * p["2"] + (1 + p["Ġ"]) * p["42"]) * ends)
    assert found["2"] == pytest.approx((1 + p["Ġ"]) * p["2"] * ends)


def test_next_tokens_are_sorted(model: CausalModel) -> None:
    found = Experimenter(model).next_tokens("Who?", 1000)
    assert len(found) == model.vocabulary_size
    assert sum(value for _, value in found) == pytest.approx(1)
    assert [value for _, value in found] == sorted((value for _, value in found), reverse=True)
    assert Experimenter(model).next_tokens("Who?", 5) == found[:5]


def test_a_prediction_that_is_no_number_is_an_error() -> None:
    model = memoryless()
    broken = CausalModel(
        lambda input_ids, **_: SimpleNamespace(logits=torch.full((*input_ids.shape, 9), math.nan)),
        model.tokenizer, model.device, model.end_tokens, 64,
    )  # fmt: skip
    object.__setattr__(broken.network, "config", SimpleNamespace(vocab_size=9))
    with pytest.raises(StudyError, match="not a number"):
        Experimenter(broken).next_tokens("x", 3)
