"""Answers of a model to the prompts of a data set, each with its score: what is selected from to train on.

Prompts go through the model in parts, each sampled and scored before the next, so that what a killed job has kept is
whole. The bits of a part depend on its own prompts, not on where a run began. Slow to import (torch).
"""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.generation.models import CausalModel
from modecollapse.generation.progress import Progress, silent
from modecollapse.generation.rollouts import sample_rollouts
from modecollapse.methods import answers_file
from modecollapse.methods.answers_file import SCHEMA
from modecollapse.methods.examples import encode
from modecollapse.methods.scoring import Scorer
from modecollapse.prompts import PromptFormat
from modecollapse.unfinished import Unfinished

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """The prompts that are answered."""

    rows: list[int]
    """Where they stand in the data, ascending."""
    texts: list[str]
    """As they stand there."""
    ids: list[list[int]]
    """Rendered and tokenized."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn."""

    n: int
    """Answers to each prompt."""
    temperature: float
    max_new_tokens: int
    stream: str
    """Names their random numbers, together with the row of a prompt and the number of an answer."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the forward passes; weights are left as they are."""


def ask(
    model: CausalModel,
    form: PromptFormat,
    texts: Sequence[str],
    number: int | None,
    seed: int,
    room: int | None,
    too_long: Literal["error", "truncate"],
    path: Path,
) -> Asked:
    """The prompts of a data set that are answered.

    Args:
        model: whose answers are asked for.
        form: the prompt format.
        texts: the prompts as they stand in the data.
        number: how many are drawn, all alike probable and in their order; None for all. Fewer are a part of more.
        seed: decides the draw.
        room: tokens that a prompt may have; None for any number.
        too_long: what becomes of a longer one: an error, or it is left out and counted (a part of a prompt asks
            something else). One without tokens is left out and counted whatever this is.
        path: the data's file, for messages.

    Raises:
        StudyError: a prompt is too long, or all are, or all are empty; or as `encode`.
    """
    rows = list(range(len(texts)))
    if number is not None and number < len(texts):
        rows = sorted(np.random.default_rng(seed).permutation(len(texts))[:number].tolist())
    elif number is not None and number > len(texts):
        logger.warning("%s has %d prompts; %d are asked for", path, len(texts), number)
    found = encode(model.tokenizer, form, [texts[row] for row in rows], []).prompts
    empty = [place for place, ids in enumerate(found) if not ids]
    if empty:
        message = f"{len(empty)} of {len(found)} prompts have no tokens, e.g. row {rows[empty[0]]}"
        if len(empty) == len(found):
            raise StudyError(f"{path}: {message}, so there is nothing to answer. Use a prompt format with text.")
        logger.warning("%s: %s; they are left out", path, message)
        rows = [row for row, ids in zip(rows, found, strict=True) if ids]
        found = [ids for ids in found if ids]
    fits = [room is None or len(ids) <= room for ids in found]
    if not all(fits):
        place = fits.index(False)
        message = f"{len(fits) - sum(fits)} of {len(fits)} prompts have more than {room} tokens, e.g. row {rows[place]}"
        if too_long == "error" or not any(fits):
            raise StudyError(
                f"{path}: {message}, which leaves no room for max_new_tokens. Lower max_new_tokens, raise max_length "
                "(up to the model's context)" + (", or set too_long: truncate." if any(fits) else ".")
            )
        logger.warning("%s: %s; they are left out", path, message)
    places = [place for place, fit in enumerate(fits) if fit]
    kept = [rows[place] for place in places]
    return Asked(kept, [texts[row] for row in kept], [found[place] for place in places])


def sample_answers(
    model: CausalModel,
    scorer: Scorer,
    asked: Asked,
    sampling: Sampling,
    unfinished: Unfinished,
    progress: Progress = silent,
) -> pa.Table:
    """`sampling.n` answers to each prompt, with their scores (`SCHEMA`).

    Args:
        model: the model, on the device where it computes.
        scorer: of answers that are tokenized as the model's.
        asked: the prompts.
        sampling: how answers are drawn.
        unfinished: where finished parts are kept; what is there is gone on from. The last part is kept as well.
        progress: called with (answers, answers asked for).

    Raises:
        StudyError: as `sample_rollouts` and `Scorer.score`.
        Stopped: the process was asked to stop; finished parts are kept.
    """
    size, total = max(1, answers_file.ROWS_OF_A_PART // sampling.n), len(asked.rows)
    parts, done = _kept(unfinished, asked, sampling.n, size)
    try:
        while done < total:
            stopping.check()
            places = range(done, min(done + size, total))
            parts.append(_part(model, scorer, asked, places, sampling))
            done = places.stop
            progress(done * sampling.n, total * sampling.n)
            if done == total or unfinished.is_due():
                unfinished.save(pa.concat_tables(parts).combine_chunks())
    except stopping.Stopped:
        if parts:
            unfinished.save(pa.concat_tables(parts).combine_chunks())
        raise
    return pa.concat_tables(parts).combine_chunks()


def on_device(model: CausalModel, device: str) -> CausalModel:
    """The model on the device where it is to be trained."""
    return replace(model, network=model.network.to(device), device=torch.device(device))


def _kept(unfinished: Unfinished, asked: Asked, n: int, size: int) -> tuple[list[pa.Table], int]:
    """What an earlier run has finished, and of how many prompts, if this one would make the same."""
    table = unfinished.load()
    if table is None:
        return [], 0
    done, rest = divmod(table.num_rows, n)
    whole = done == len(asked.rows) or done % size == 0
    prompts = [row for row in asked.rows[:done] for _ in range(n)]
    if rest or not whole or table["prompt"].to_pylist() != prompts:
        logger.warning("answers of an earlier run are not used: they are to other prompts, or in other parts")
        return [], 0
    logger.info("going on after the answers to %d of %d prompts", done, len(asked.rows))
    return [table.replace_schema_metadata(None)], done


def _part(model: CausalModel, scorer: Scorer, asked: Asked, places: range, sampling: Sampling) -> pa.Table:
    rows = [place for place in places for _ in range(sampling.n)]
    prompts = {str(asked.rows[place]): asked.ids[place] for place in places}
    numbered = [(str(asked.rows[place]), answer) for place in places for answer in range(sampling.n)]
    with _casting(model, sampling.dtype):
        answers = sample_rollouts(
            model, prompts, numbered, sampling.temperature, sampling.max_new_tokens, sampling.stream
        )
    tokens = [answer.tokens for answer in answers]
    scores = scorer.score([asked.texts[row] for row in rows], [asked.ids[row] for row in rows], tokens)
    decode: Any = model.tokenizer.decode
    texts = [decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in tokens]
    columns = [[asked.rows[row] for row in rows], tokens, [answer.ended for answer in answers], texts, scores]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _casting(model: CausalModel, dtype: str) -> AbstractContextManager[Any]:
    return torch.autocast(model.device.type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()
