"""How far a stage has moved from a reference stage: the KL divergence of its answers, in nats per answer.

KL(π ‖ π_ref) = E_{y ~ π} Σ_t KL(π(· | x, y_<t) ‖ π_ref(· | x, y_<t)), with y sampled at temperature 1 until it ends or
has `max_new_tokens`. At every sampled position the divergence of the two next-token distributions is summed over the
whole vocabulary, which scatters less than the mean of log π(y) − log π_ref(y) and has the same expectation.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import Field

from modecollapse.errors import StudyError
from modecollapse.generation.progress import Progress, silent
from modecollapse.schema import Name, Strict

_ENTRIES = {"cpu": 2**22, "cuda": 2**26}
"""Probabilities of one model that are held at a time on a device."""


class DivergenceSettings(Strict):
    """KL divergence of every stage's answers from those of a reference, and what diversity each stage costs for it."""

    reference: Name
    """The stage that tuned ones are compared with, usually `sft`. Every stage that descends from it is measured."""
    samples: int = Field(10, ge=1)
    """Answers sampled for each prompt."""


def divergence_table(
    model: Path,
    reference: Path,
    prompts: Sequence[tuple[str, str]],
    samples: int,
    max_new_tokens: int,
    stream: str,
    threads: int,
    device: str = "cpu",
    progress: Progress = silent,
) -> Any:
    """One row per prompt and sample: prompt, sample, n_tokens, ended, kl, log_ratio.

    `kl` is the sum over the answer's positions of the divergence of next-token distributions, `log_ratio` that of
    log π − log π_ref of its tokens; both in nats, in float32 with sums in float64.

    Args:
        model: directory of the stage π.
        reference: directory of π_ref.
        prompts: pairs (id, rendered text).
        samples: answers for each prompt.
        max_new_tokens: tokens of an answer at most.
        stream: names the random numbers.
        threads: CPU threads of this process.
        device: where both are computed.
        progress: called with (answers measured, answers).

    Raises:
        StudyError: a model cannot be loaded or predicts what is no number, the two have different tokenizers, or a
            prompt does not fit the context.
        Stopped: the process was asked to stop.
    """
    import pyarrow as pa

    from modecollapse import stopping
    from modecollapse.generation.models import load_causal_model
    from modecollapse.generation.rollouts import sample_rollouts
    from modecollapse.generation.tokenized import tokenize_prompts

    policy = load_causal_model(model, "float32", threads, device)
    base = load_causal_model(reference, "float32", threads, device)
    if policy.tokenizer.get_vocab() != base.tokenizer.get_vocab() or policy.end_tokens != base.end_tokens:
        raise StudyError(
            f"measures.divergence: the tokenizers of {model} and of its reference {reference} differ, so their "
            "predictions cannot be compared. Name a reference with the same tokenizer."
        )
    ids, tokens = tokenize_prompts(policy, prompts)
    known = dict(zip(ids, tokens, strict=True))
    rows = [(prompt, sample) for prompt in ids for sample in range(samples)]
    answers = [
        rollout.tokens for rollout in sample_rollouts(policy, known, rows, 1.0, max_new_tokens, f"divergence/{stream}")
    ]
    whole = [[*known[prompt], *answer] for (prompt, _), answer in zip(rows, answers, strict=True)]
    order = sorted(range(len(rows)), key=lambda row: (-len(whole[row]), row))
    vocabulary = max(policy.vocabulary_size, base.vocabulary_size)
    sums: list[tuple[float, float]] = [(0.0, 0.0)] * len(rows)
    most = max(1, _ENTRIES[device.split(":")[0]] // vocabulary)
    for start, end in pairwise(batch_bounds([len(whole[row]) for row in order], most)):
        stopping.check()
        batch = order[start:end]
        found = _sums(policy, base, [whole[row] for row in batch], [len(answers[row]) for row in batch])
        for row, pair in zip(batch, found, strict=True):
            sums[row] = pair
        progress(end, len(order))
    ended = [answer[-1] in policy.end_tokens for answer in answers]
    return pa.table(
        {
            "prompt": [prompt for prompt, _ in rows],
            "sample": pa.array([sample for _, sample in rows], pa.int32()),
            "n_tokens": pa.array(list(map(len, answers)), pa.int32()),
            "ended": ended,
            "kl": pa.array([kl for kl, _ in sums], pa.float64()),
            "log_ratio": pa.array([ratio for _, ratio in sums], pa.float64()),
        }
    )


def batch_bounds(lengths: Sequence[int], positions: int) -> list[int]:
    """Where batches of falling lengths begin and end: padded, each has so many positions at most, or one row."""
    bounds = [0]
    while bounds[-1] < len(lengths):
        rows = max(1, positions // lengths[bounds[-1]])
        bounds.append(min(len(lengths), bounds[-1] + rows))
    return bounds


def _sums(policy: Any, base: Any, rows: Sequence[Sequence[int]], answers: Sequence[int]) -> list[tuple[float, float]]:
    import torch
    from torch.nn.utils.rnn import pad_sequence

    device = policy.device
    lengths = torch.tensor([len(row) for row in rows], device=device)
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(device)
    places = torch.arange(ids.shape[1], device=device)
    mask = places < lengths[:, None]
    # The token at a place is predicted by the place before.
    asked = (mask & (places >= (lengths - torch.tensor(answers, device=device))[:, None]))[:, 1:]
    with torch.inference_mode():
        own, other = (
            model.network(input_ids=ids, attention_mask=mask.long(), use_cache=False)
            .logits[:, :-1][..., : min(policy.vocabulary_size, base.vocabulary_size)]
            .float()
            .log_softmax(-1)
            for model in (policy, base)
        )
        kl = torch.nn.functional.kl_div(other, own, reduction="none", log_target=True).sum(-1, dtype=torch.float64)
        chosen = ids[:, 1:, None]
        ratio = (own.gather(-1, chosen) - other.gather(-1, chosen)).squeeze(-1).double()
        found = torch.stack([torch.where(asked, values, 0.0).sum(-1) for values in (kl, ratio)], -1)
    if not bool(found.isfinite().all()):
        raise StudyError(
            "measures.divergence: a divergence is not a finite number: one of the models predicts what is none, or a "
            "token that the reference holds for impossible. Look at the stage's training curves."
        )
    return [(float(kl), float(ratio)) for kl, ratio in found.tolist()]
