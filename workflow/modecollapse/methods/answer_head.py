"""Log-probabilities of answers only, from as few positions as the rows allow.

Without Triton, TRL scores every position of every row, and in tiles of 32,768 vocabulary entries whatever the
vocabulary: with one of 1,024 that takes three quarters of a training step. Everywhere it has attention look at a mask
of the padding, which the fastest kernels do not take. TRL itself, which is slow to import, is not needed here.
"""

import types
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers.utils import ModelOutput

from modecollapse.methods.rows import laid_out

_LARGEST_VOCABULARY = 8192
"""Beyond this, logits of a batch would take more memory than TRL's tiles."""
LAID_OUT = frozenset(
    {"gpt_neox", "llama", "gpt2", "opt", "qwen2", "gemma", "phi", "olmo", "falcon", "stablelm", "mistral"}
)
"""Types of model that are known to go by the positions and the mask that they are given (tested); of others every row
stays as it is. Windows of attention and alibi, which a mask would replace, are refused where a model is loaded
(`modecollapse.generation.models`)."""


@dataclass
class AnswerScores(ModelOutput):
    """What TRL's head returns (`trl.trainer.utils.FusedCausalLMOutput`), as far as there is a use for it."""

    loss: torch.Tensor | None = None
    log_probs: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    mean_logits: torch.Tensor | None = None
    is_top1: torch.Tensor | None = None
    label_mask: torch.Tensor | None = None


def needs_library_head(model: Any) -> bool:
    """Whether `model` needs TRL's head: for logits in tiles, on a GPU, which has a kernel, or if they are many;
    or for the further loss of a mixture of experts."""
    many = int(model.config.vocab_size) > _LARGEST_VOCABULARY
    return torch.cuda.is_available() or many or _has_experts(model)


def _has_experts(model: Any) -> bool:
    return hasattr(model.config.get_text_config(), "output_router_logits")


def add_answer_head(model: Any, statistics: bool, pairs: bool = False) -> None:
    """Make `model(..., labels=…, fused_lm_head=True)` score the labelled positions alone, with equal results.

    To be called after TRL has put its own head on `model`, unless it does without (`needs_library_head`). With
    `statistics`, entropy, mean logit and whether the target is the most probable token are returned too; from tiles
    comes what TRL's head was asked for. With `pairs`, row i of the first half of the rows follows the same prompt as
    row i of the second half, and it is computed once where that pays (`modecollapse.methods.rows`).
    """
    if _has_experts(model):
        return
    library_forward, tiled = model.forward, needs_library_head(model)

    def forward(self: Any, *args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return library_forward(*args, **kwargs)
        labels = kwargs["labels"]
        hidden = _hidden(self, kwargs["input_ids"], kwargs["attention_mask"], labels, pairs)
        targets = labels[:, 1:]
        answer = targets != -100
        if tiled:
            fields = _in_tiles(library_forward, self, hidden, targets[answer])
        else:
            fields = _at_once(self, hidden, targets[answer], statistics)
        placed = {name: value.new_zeros(answer.shape).masked_scatter(answer, value) for name, value in fields.items()}
        return AnswerScores(loss=-fields["log_probs"].mean(), label_mask=answer, **placed)

    model.forward = types.MethodType(forward, model)


def _hidden(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor, pairs: bool
) -> torch.Tensor:
    """(labelled tokens, hidden size): the states that predict them. Arguments: (rows, length), padded on the right."""
    if not bool(attention_mask[:, 0].all()):
        raise ValueError("rows must be padded on the right")
    rows = laid_out(input_ids, attention_mask, labels, pairs) if model.config.model_type in LAID_OUT else None
    if rows is None:
        # Causal attention never looks at padding on the right, so it needs no mask, and is faster without.
        hidden = model.base_model(input_ids, use_cache=False).last_hidden_state[:, :-1]
        return hidden[labels[:, 1:] != -100]
    kind = input_ids.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype
    states = model.base_model(
        rows.input_ids, attention_mask=rows.mask(dtype), position_ids=rows.position_ids, use_cache=False
    ).last_hidden_state
    return states.flatten(0, 1)[rows.scored]


def _at_once(model: Any, hidden: torch.Tensor, targets: torch.Tensor, statistics: bool) -> dict[str, torch.Tensor]:
    """Log-probabilities of `targets` and what goes with them, each (labelled tokens,)."""
    logits = model.get_output_embeddings()(hidden).float()
    log_probabilities = functional.log_softmax(logits, dim=-1)
    scored = -functional.nll_loss(log_probabilities, targets, reduction="none")
    fields = {"log_probs": scored}
    if statistics:
        with torch.no_grad():
            fields["entropy"] = -(log_probabilities.exp() * log_probabilities).sum(-1)
            fields["mean_logits"] = logits.mean(-1)
            fields["is_top1"] = scored >= log_probabilities.amax(-1)
    return fields


@dataclass(frozen=True)
class _Stated:
    """What TRL's head takes for a model, whose hidden states are there already."""

    model: Any
    hidden: torch.Tensor

    def base_model(self, **_: Any) -> Any:
        return types.SimpleNamespace(last_hidden_state=self.hidden[None])

    def get_output_embeddings(self) -> Any:
        return self.model.get_output_embeddings()


def _in_tiles(library_forward: Any, model: Any, hidden: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """As `_at_once`, by TRL's head, which also knows what some architectures do to their logits."""
    scores = library_forward.__func__(_Stated(model, hidden), shift_labels=targets[None], fused_lm_head=True)
    names = ("log_probs", "entropy", "mean_logits", "is_top1")
    return {name: scores[name][0] for name in names if scores.get(name) is not None}
