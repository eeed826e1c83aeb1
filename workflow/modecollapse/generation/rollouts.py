"""Answers of a model in memory, whose weights change from one call to the next: what reinforcement learning samples.

The bits are a function of the weights, the prompts, the rows, their stream, the number of threads and the rows per
batch. No generator has a state: a run that is resumed draws the very numbers of one that nothing disturbed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from modecollapse.errors import StudyError
from modecollapse.generation.cache import PrefixLayer
from modecollapse.generation.completions import Finisher
from modecollapse.generation.decoding import Decoding, PreparedPrompts
from modecollapse.generation.models import CausalModel
from modecollapse.generation.prefill import RowMemory, even_bounds, prefill, rows_that_fit
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.tokenized import check_context

_PROMPTS_PER_PREFILL = 64


@dataclass(frozen=True)
class Rollout:
    """One sampled answer."""

    tokens: list[int]
    """Ids of at least one token, the end-of-text token included if it ended."""
    log_probs: NDArray[np.float32]
    """(tokens,) in nats, under the distribution that was drawn from."""
    ended: bool
    """Whether the last token is an end-of-text token; otherwise the answer has `max_new_tokens`."""


def sample_rollouts(
    model: CausalModel,
    prompts: Mapping[str, Sequence[int]],
    rows: Sequence[tuple[str, int]],
    temperature: float,
    max_new_tokens: int,
    stream: str,
    rows_per_batch: int | None = None,
    memory: RowMemory | None = None,
) -> list[Rollout]:
    """One answer for each of `rows`, in their order, by plain sampling at `temperature`.

    Args:
        model: as its weights are now; its network may be wrapped by PEFT.
        prompts: id → token ids, at least one, just as the model is shown them.
        rows: distinct pairs (prompt id, sample number): they and `stream` decide a row's random numbers
            (`modecollapse.generation.streams`).
        temperature: above 0.
        max_new_tokens: where answers that do not end are cut.
        stream: e.g. the name of the run and the number of the iteration.
        rows_per_batch: how many are sampled side by side; None for as many as memory allows.
        memory: what they may take, where several calls are to agree on it.

    Raises:
        StudyError: a prompt and `max_new_tokens` exceed the model's context, or memory does not do.
        BrokenWeights: the model predicts something that is not a number.
        Stopped: the process was asked to stop.
    """
    used = list(dict.fromkeys(prompt for prompt, _ in rows))
    tokens = [list(prompts[prompt]) for prompt in used]
    if not rows or len(set(rows)) < len(rows) or not all(tokens):
        raise ValueError("rows must be distinct, at least one, and no prompt without a token")
    check_context(used, tokens, max_new_tokens, model.context)
    settings = SamplingSettings(max_new_tokens=max_new_tokens)
    finisher = Finisher(model.tokenizer, model.end_tokens, ())
    places = {prompt: place for place, prompt in enumerate(used)}
    numbered = [(places[prompt], sample) for prompt, sample in rows]
    rollouts: list[Rollout] = []
    try:
        prepared = _prepared(model, used, tokens, max_new_tokens, rows_per_batch, memory)
        for start, end in even_bounds(len(rows), prepared.rows_per_batch):
            decoding = Decoding(model, settings, finisher, prepared, numbered[start:end], stream)
            for _ in decoding.run(temperature):
                pass
            rollouts += _cut(*decoding.tokens(), frozenset(model.end_tokens))
    except torch.OutOfMemoryError as error:
        raise StudyError(
            f"The memory of the device does not do for sampling {len(rows)} answers of up to {max_new_tokens} tokens "
            "beside the weights. Use a device with more memory that is free, fewer max_new_tokens, or dtype bfloat16."
        ) from error
    return rollouts


def _prepared(
    model: CausalModel,
    ids: list[str],
    tokens: list[list[int]],
    new: int,
    rows_per_batch: int | None,
    memory: RowMemory | None,
) -> PreparedPrompts:
    width = max(map(len, tokens))
    bounds = range(0, len(tokens), _PROMPTS_PER_PREFILL)
    parts = [prefill(model, tokens[start : start + _PROMPTS_PER_PREFILL], width) for start in bounds]
    layers = tuple(
        PrefixLayer(torch.cat([part.keys for part in layer]), torch.cat([part.values for part in layer]))
        for layer in zip(*(layers for layers, _ in parts), strict=True)
    )
    return PreparedPrompts(
        ids=tuple(ids),
        lengths=torch.tensor([len(row) for row in tokens], device=model.device),
        layers=layers,
        logits=torch.cat([logits for _, logits in parts]),
        rows_per_batch=rows_per_batch or rows_that_fit(model, layers, new, memory),
    )


def _cut(rows: list[list[int]], log_probs: NDArray[np.float32], ends: frozenset[int]) -> list[Rollout]:
    rollouts = []
    for row, scored in zip(rows, log_probs, strict=True):
        end = next((place for place, token in enumerate(row) if token in ends), None)
        length = len(row) if end is None else end + 1
        rollouts.append(Rollout(row[:length], scored[:length].copy(), end is not None))
    return rollouts
