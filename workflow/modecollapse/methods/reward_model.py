"""A reward model: a network of the library's for sequence classification whose one label is the score of an answer.

The score is that of the last token: a linear head, in float32 whatever the rest is computed in, on the last hidden
state. The library looks for the last token that is not padding, and so passes over an answer's end-of-text token where
that serves as padding; here it is found by length. Slow to import (torch, transformers).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from modecollapse.errors import StudyError
from modecollapse.generation.models import load_network, load_tokenizer
from modecollapse.methods.lora import LoraSettings, quantization

Ids = Sequence[int]

_OUTPUT_LAYERS = ("lm_head.", "embed_out.")
"""Beginnings of the names that output layers of causal models have on disk."""

HEAD = "score"
"""What the library calls the head of its classifiers of text."""


@dataclass(frozen=True)
class RewardModel:
    """A reward model in evaluation mode and its tokenizer."""

    network: Any
    tokenizer: Any
    context: int | None
    """Positions that the model knows; None if it has no limit."""


def load_reward_model(directory: Path, threads: int, device: str) -> RewardModel:
    """The reward model in `directory`, in float32 on `device`; sets the process's number of CPU threads.

    Raises:
        StudyError: the directory holds no loadable safetensors model with a head for one score and tokenizer, weights
            are missing, left over or of another shape, or the attention is of a kind that is not supported.
    """
    torch.set_num_threads(threads)
    network = load_network(AutoModelForSequenceClassification, directory, "float32", device)
    head_of(network, directory)
    return RewardModel(network, load_tokenizer(directory), _context(network))


def start_reward_model(
    directory: Path, seed: int, threads: int, device: str, lora: LoraSettings | None = None, dtype: str = "float32"
) -> RewardModel:
    """The causal model in `directory` in float32, with a new head in place of its output layer.

    With `lora`, it may be quantized, to be computed with in `dtype`; sets the process's number of CPU threads.

    The head has no bias. Its weights are drawn from N(0, 1 / (hidden size + 1)) with the seed (Stiennon et al., 2020):
    scores then begin with a spread of about 1 over states that a last norm has scaled.

    Raises:
        StudyError: the directory holds no loadable safetensors model, or the library has no classifier of texts of its
            type.
    """
    torch.set_num_threads(threads)
    network = load_network(
        AutoModelForSequenceClassification,
        directory,
        "float32",
        device,
        None if lora is None else quantization(lora, dtype),
        missing=(f"{HEAD}.",),
        unexpected=_OUTPUT_LAYERS,
        num_labels=1,
    )
    head = head_of(network, directory)
    weights = torch.empty(head.weight.shape)
    spread = (head.in_features + 1) ** -0.5
    weights.normal_(0.0, spread, generator=torch.Generator().manual_seed(seed))
    # Under quantization, it may have been made in another number format.
    head.weight = torch.nn.Parameter(weights.to(device), requires_grad=False)
    tokenizer, settings = load_tokenizer(directory), network.config.get_text_config()
    if (
        settings.pad_token_id == tokenizer.eos_token_id
    ):  # the library would pass over the end of an answer; without one, it refuses
        settings.pad_token_id = None
    return RewardModel(network, tokenizer, _context(network))


def head_of(network: Any, directory: Path) -> torch.nn.Linear:
    """The head of a network for sequence classification that was read from `directory`.

    Raises:
        StudyError: it has none that gives one score.
    """
    head = getattr(network, HEAD, None)
    if not isinstance(head, torch.nn.Linear) or head.out_features != 1:
        found = "no linear layer `score`" if head is None else f"{network.config.num_labels} labels"
        raise StudyError(
            f"The model in {directory} ({network.config.model_type}) has {found}, so it is no reward model, which "
            "gives one score. Name a stage of the method reward."
        )
    return head


def _context(network: Any) -> int | None:
    return getattr(network.config, "max_position_embeddings", None)


def last_scores(network: Any, input_ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(rows,) float32 scores of rows padded on the right, (rows, longest), of which `lengths` (rows,) are tokens.

    Causal attention never looks at padding on the right, so no mask is needed, and what padding is does not matter.
    """
    hidden = network.base_model(input_ids, use_cache=False).last_hidden_state
    last = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
    with torch.autocast(last.device.type, enabled=False):
        scores: torch.Tensor = getattr(network, HEAD)(last.float()).squeeze(-1)
    return scores
