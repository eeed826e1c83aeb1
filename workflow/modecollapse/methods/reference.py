"""Log-probabilities of preference pairs in the model that preference tuning starts from, computed once.

Pairs go through the model in batches of similar length, which depend on the pairs and the device alone and not on how
anything is trained. A sum over an answer differs in its last bits from the one of another batch: in float32 by less
than 1e-6 of its size, in bfloat16 by some 0.01 nats per token.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.generation.models import CausalModel
from modecollapse.generation.progress import Progress, silent
from modecollapse.methods.answer_head import add_answer_head, needs_library_head
from modecollapse.methods.examples import Ids, read_pairs
from modecollapse.methods.reference_file import ANSWERS, POSITIONS, SCHEMA, PairSettings
from modecollapse.methods.start import load_start
from modecollapse.prompts import PromptFormat
from modecollapse.unfinished import Unfinished

logger = logging.getLogger(__name__)

Pairs = Mapping[str, Sequence[Ids]]
"""Columns `prompt_ids`, `chosen_ids` and `rejected_ids`."""


def score_pairs(
    parent: Path,
    data: Path,
    form: PromptFormat,
    settings: PairSettings,
    threads: int,
    device: Literal["cuda", "cpu"] = "cpu",
    progress: Progress = silent,
    unfinished: Unfinished | None = None,
) -> pa.Table:
    """What the model in `parent` gives to the pairs of a sealed data set: one row each, in order (`SCHEMA`).

    Args:
        parent: model and tokenizer.
        data: `prompt`, `chosen` and `rejected`.
        form: the prompt format of training.
        settings: how pairs are truncated, and in which number format the model is computed with.
        threads: CPU threads of this process.
        device: where it runs.
        progress: called with (pairs scored, pairs).
        unfinished: where pairs that are scored are kept for a job that is killed; what is there is gone on from.

    Raises:
        StudyError: the parent cannot be trained from, or the pairs be encoded (`load_start`, `read_pairs`); or a
            log-probability is not a finite number.
        Stopped: the process was asked to stop; the pairs that are scored are kept.
    """
    model = load_start(parent, form, settings.max_length, settings.dtype, settings.quantization, threads, device)
    pairs = read_pairs(data, model.tokenizer, form, settings.max_length, settings.max_prompt_length, settings.too_long)
    return _scored(model, pairs, data, settings, device, progress, unfinished)


def score_answers(
    parent: Path,
    pairs: Pairs,
    data: Path,
    form: PromptFormat,
    settings: PairSettings,
    threads: int,
    device: Literal["cuda", "cpu"],
) -> pa.Table:
    """As `score_pairs`, of pairs that were made from those of a data set.

    Raises:
        StudyError: the parent cannot be trained from, or a log-probability is not a finite number.
        Stopped: the process was asked to stop.
    """
    model = load_start(parent, form, settings.max_length, settings.dtype, settings.quantization, threads, device)
    return _scored(model, pairs, data, settings, device, silent, None)


def _scored(
    model: CausalModel,
    pairs: Pairs,
    data: Path,
    settings: PairSettings,
    device: Literal["cuda", "cpu"],
    progress: Progress,
    unfinished: Unfinished | None,
) -> pa.Table:
    prepare_to_score(model.network, pairs=True)
    order = _order(pairs)
    parts = [SCHEMA.empty_table()]
    if unfinished and (before := unfinished.load()) is not None:
        parts = [before]
        logger.info("going on after %d of %d pairs", before.num_rows, len(order))
    done = parts[0].num_rows
    for batch in _batches(pairs, order[done:], POSITIONS[device]):
        if unfinished and (stopping.requested() or unfinished.is_due()):
            unfinished.save(pa.concat_tables(parts))
        stopping.check()
        sums = reference_log_probabilities(model.network, pairs, batch, settings.dtype, device)
        parts.append(_rows(pairs, batch, sums, data))
        done += len(batch)
        progress(done, len(order))
    return pa.concat_tables(parts).sort_by("pair").combine_chunks()


def prepare_to_score(network: Any, pairs: bool) -> None:
    """Give a model the head that `answer_log_probabilities` needs; with `pairs` as `add_answer_head` says."""
    if needs_library_head(network):
        from trl.trainer.utils import add_fused_lm_head  # slow to import

        add_fused_lm_head(network)
    add_answer_head(network, statistics=False, pairs=pairs)


def reference_log_probabilities(
    network: Any, pairs: Pairs, batch: Sequence[int], dtype: str, device: str
) -> NDArray[np.float64]:
    """Sums of log-probabilities of the chosen and the rejected answers of a batch: (2, pairs), in nats.

    The model is called as it is in training, all chosen rows before all rejected ones, and must have a head that takes
    `fused_lm_head`.
    """
    prompts = [pairs["prompt_ids"][pair] for _ in ANSWERS for pair in batch]
    answers = [pairs[f"{answer}_ids"][pair] for answer in ANSWERS for pair in batch]
    return answer_log_probabilities(network, prompts, answers, dtype, device).reshape(len(ANSWERS), len(batch))


def answer_log_probabilities(
    network: Any, prompts: Sequence[Ids], answers: Sequence[Ids], dtype: str, device: str
) -> NDArray[np.float64]:
    """Sums of log-probabilities of answers, each after its prompt: (rows,), in nats.

    The rows go through the model together, which must have a head that takes `fused_lm_head`.
    """
    rows = [torch.tensor([*prompt, *answer]) for prompt, answer in zip(prompts, answers, strict=True)]
    input_ids = pad_sequence(rows, batch_first=True)
    labels = pad_sequence(rows, batch_first=True, padding_value=-100)
    attention_mask = (labels != -100).long()
    for row, prompt in zip(labels, prompts, strict=True):
        row[: len(prompt)] = -100
    casting = torch.autocast(device, torch.bfloat16) if dtype == "bfloat16" else nullcontext()
    with torch.inference_mode(), casting:
        scored = network(
            input_ids=input_ids.to(device),
            attention_mask=attention_mask.to(device),
            labels=labels.to(device),
            use_cache=False,
            fused_lm_head=True,
        ).log_probs
    sums: NDArray[np.float64] = scored.double().sum(1).cpu().numpy()
    return sums


def _order(pairs: Pairs) -> list[int]:
    """The pairs by the length that they are padded to, the longest first: what does not fit in memory fails at once."""
    return sorted(range(len(pairs["prompt_ids"])), key=lambda pair: (-_length(pairs, pair), pair))


def _length(pairs: Pairs, pair: int) -> int:
    return len(pairs["prompt_ids"][pair]) + max(len(pairs[f"{answer}_ids"][pair]) for answer in ANSWERS)


def _batches(pairs: Pairs, order: Sequence[int], positions: int) -> Iterator[Sequence[int]]:
    """Consecutive parts of `order`: from wherever a batch begins, the same ones follow."""
    start = 0
    while start < len(order):
        size = max(1, positions // (len(ANSWERS) * _length(pairs, order[start])))
        yield order[start : start + size]
        start += size


def _rows(pairs: Pairs, batch: Sequence[int], sums: NDArray[np.float64], data: Path) -> pa.Table:
    """The rows of the table that these pairs make.

    Raises:
        StudyError: a sum is not a finite number.
    """
    wrong = np.argwhere(~np.isfinite(sums))
    if wrong.size:
        answer, place = wrong[0]
        raise StudyError(
            f"{data}: the log-probability of the {ANSWERS[answer]} answer of row {batch[place]} in the parent is "
            f"{sums[answer, place]}, so there is nothing to compare with. Make the parent stage again with a lower "
            "learning_rate, or use dtype: float32."
        )
    tokens = [[len(pairs[f"{answer}_ids"][pair]) for pair in batch] for answer in ANSWERS]
    return pa.table([list(batch), *tokens, *sums.astype(np.float32)], schema=SCHEMA)
