"""Log-probabilities of answers only, for small vocabularies without a GPU.

Without Triton, TRL scores every position of every row, and in tiles of 32,768 vocabulary entries whatever the
vocabulary: with one of 1,024 that takes three quarters of a training step. TRL itself, which is slow to import, is not
needed here.
"""

import types
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers.utils import ModelOutput

_LARGEST_VOCABULARY = 8192
"""Beyond this, logits of a batch would take more memory than TRL's tiles."""


@dataclass
class AnswerScores(ModelOutput):
    """What TRL's head returns (`trl.trainer.utils.FusedCausalLMOutput`), as far as there is a use for it."""

    loss: torch.Tensor | None = None
    log_probs: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    mean_logits: torch.Tensor | None = None
    is_top1: torch.Tensor | None = None
    label_mask: torch.Tensor | None = None


def add_answer_head(model: Any, statistics: bool) -> bool:
    """Make `model(..., labels=…, fused_lm_head=True)` score the labelled positions alone, with equal results.

    To be called after TRL has put its own head on `model`. With `statistics`, entropy, mean logit and whether the
    target is the most probable token are returned too. Does nothing on a GPU or for a large vocabulary, where TRL's
    head is the better one; returns whether it did something.
    """
    if torch.cuda.is_available() or model.config.vocab_size > _LARGEST_VOCABULARY:
        return False
    library_forward = model.forward

    def forward(self: Any, *args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if fused_lm_head:
            return _score(self, kwargs["input_ids"], kwargs["attention_mask"], kwargs["labels"], statistics)
        return library_forward(*args, **kwargs)

    model.forward = types.MethodType(forward, model)
    return True


def _score(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor, statistics: bool
) -> AnswerScores:
    """`input_ids`, `attention_mask` and `labels`: (rows, length), padded on the right. Fields: (rows, length - 1)."""
    if not bool(attention_mask[:, 0].all()):
        raise ValueError("rows must be padded on the right")
    # Causal attention never looks at padding on the right, so it needs no mask, and is faster without.
    hidden = model.base_model(input_ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    answer = targets != -100
    logits = model.get_output_embeddings()(hidden[answer]).float()
    log_probabilities = functional.log_softmax(logits, dim=-1)
    scored = -functional.nll_loss(log_probabilities, targets[answer], reduction="none")
    fields: dict[str, torch.Tensor] = {}
    if statistics:
        with torch.no_grad():
            fields["entropy"] = -(log_probabilities.exp() * log_probabilities).sum(-1)
            fields["mean_logits"] = logits.mean(-1)
            fields["is_top1"] = scored >= log_probabilities.amax(-1)
    placed = {
        name: value.new_zeros(answer.shape).masked_scatter(answer, value)
        for name, value in {"log_probs": scored, **fields}.items()
    }
    return AnswerScores(loss=-scored.mean(), label_mask=answer, **placed)
