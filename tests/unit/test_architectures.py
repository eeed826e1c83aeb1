"""Which architectures completions can be generated with, and which are refused, on tiny random models."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from modecollapse.errors import StudyError
from modecollapse.generation.models import load_causal_model
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.transformers_engine import TransformersEngine
from tests.tiny_models import character_tokenizer

PROMPTS = [("bugs", "are bugs real"), ("cat", "a cat")]
IDS = {"vocab_size": 97, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
SHAPE = {**IDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
GATED = {**SHAPE, "intermediate_size": 64, "num_key_value_heads": 2}
OLD = {**IDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
HEADS = {"head_dim": 8}

SUPPORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", OLD),
    "opt": ("OPT", {**SHAPE, "ffn_dim": 64, "word_embed_proj_dim": 32}),
    "qwen2": ("Qwen2", GATED),
    "gemma": ("Gemma", {**GATED, **HEADS}),
    "phi": ("Phi", {**SHAPE, "intermediate_size": 64}),
    "olmo": ("Olmo", GATED),
    "falcon without alibi": ("Falcon", {**SHAPE, "alibi": False}),
    "stablelm": ("StableLm", GATED),
    "mistral without a sliding window": ("Mistral", {**GATED, "sliding_window": None}),
}
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "mistral with a sliding window": ("Mistral", {**GATED, "sliding_window": 16}),
    "gemma2": ("Gemma2", {**GATED, **HEADS}),
    "falcon with alibi": ("Falcon", {**SHAPE, "alibi": True}),
    "bloom": ("Bloom", {**IDS, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "mamba": ("Mamba", {**IDS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
    "gpt-j": ("GPTJ", {**OLD, "rotary_dim": 8}),
    "gpt-neo": (
        "GPTNeo",
        {**IDS, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
    ),
}
WHY = {
    "mistral with a sliding window": "has layers of the kinds ['full_attention'] (sliding window: 16)",
    "falcon with alibi": "tells positions by biases of its attention (alibi)",
    **dict.fromkeys(("gemma2", "bloom", "mamba", "gpt-j", "gpt-neo"), "has no attention that torch's "),
}


def save(name: str, options: dict[str, Any], directory: Path) -> Path:
    """Write a random model of this family, large enough to have opinions, to `directory`."""
    torch.manual_seed(0)
    family = getattr(transformers, f"{name}LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM")
    model = family(getattr(transformers, f"{name}Config")(**options))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, 0.25)
    model.save_pretrained(directory)
    character_tokenizer().save_pretrained(directory)
    return directory


@pytest.mark.parametrize("case", SUPPORTED)
def test_an_architecture_gives_the_tokens_of_generate_and_the_probabilities_of_a_forward_pass(
    case: str, tmp_path: Path
) -> None:
    directory = save(*SUPPORTED[case], tmp_path)
    engine = TransformersEngine(directory, SamplingSettings(completions=1, max_new_tokens=8), 1)
    prepared = engine.prepare(PROMPTS)
    greedy, drawn = engine.sample(prepared, 1e-7, "s"), engine.sample(prepared, 0.9, "s")
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    tokenizer = character_tokenizer()
    for i, (_, text) in enumerate(PROMPTS):
        before = tokenizer(text, return_tensors="pt")["input_ids"]
        output = model.generate(before, do_sample=False, max_new_tokens=8, pad_token_id=1, eos_token_id=0)
        new = output[0, before.shape[1] :]
        assert greedy["text"][i].as_py() == tokenizer.decode(new, skip_special_tokens=True)
        row = drawn.slice(i, 1).to_pylist()[0]
        after = tokenizer(row["text"])["input_ids"] + [0] * (row["finish_reason"] == "eos")
        ids = torch.tensor([[*before[0].tolist(), *after]])
        with torch.no_grad():
            log_probs = (model(ids).logits[0, before.shape[1] - 1 : -1] / 0.9).log_softmax(-1)
        expected = log_probs.gather(-1, ids[0, before.shape[1] :, None]).squeeze(-1)
        assert torch.allclose(torch.tensor(row["log_probs"]), expected, atol=1e-3)


@pytest.mark.parametrize("case", REFUSED)
def test_an_architecture_without_full_attention_is_refused_with_one_error(case: str, tmp_path: Path) -> None:
    directory = save(*REFUSED[case], tmp_path)
    with pytest.raises(StudyError) as caught:
        load_causal_model(directory, "float32", 1, "cpu")
    assert str(caught.value).startswith(f"The model in {directory} {WHY[case]}")
    assert "supported are models with full attention in every layer" in str(caught.value)
    assert "transformers" not in str(caught.value), "the library's own advice is no use here"
