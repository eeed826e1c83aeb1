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

Ids = Sequence[int]

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
    context = getattr(network.config, "max_position_embeddings", None)
    return RewardModel(network, load_tokenizer(directory), context)


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


def last_scores(network: Any, input_ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(rows,) float32 scores of rows padded on the right, (rows, longest), of which `lengths` (rows,) are tokens.

    Causal attention never looks at padding on the right, so no mask is needed, and what padding is does not matter.
    """
    hidden = network.base_model(input_ids, use_cache=False).last_hidden_state
    last = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
    with torch.autocast(last.device.type, enabled=False):
        scores: torch.Tensor = getattr(network, HEAD)(last.float()).squeeze(-1)
    return scores
