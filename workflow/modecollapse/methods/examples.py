"""From texts to token ids: what a fine-tuned model is shown, and on which of it the loss is."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.errors import StudyError
from modecollapse.prompts import PromptFormat
from modecollapse.rendering import joint, render, token_ids
from modecollapse.sealed import read_sealed

logger = logging.getLogger(__name__)

Ids = list[int]


def read_texts(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> dict[str, list[str]]:
    """The named text columns of a sealed data set, and those of the `optional` ones that it has.

    Raises:
        StudyError: a column is missing or holds something else than text, or there are no rows.
        CorruptFile: the file is not what was published.
    """
    table = read_sealed(path)
    for column in columns:
        if column not in table.column_names:
            raise StudyError(
                f"{path} has no column {column!r}; it has {', '.join(table.column_names)}. "
                "Name a data set that fits the method."
            )
    if not table.num_rows:
        raise StudyError(f"{path} holds no rows, so there is nothing to train on. Ask for a larger n.")
    present = [*columns, *(column for column in optional if column in table.column_names)]
    texts = {column: table[column].to_pylist() for column in present}
    for column, values in texts.items():
        for row, value in enumerate(values):
            if not isinstance(value, str):
                raise StudyError(f"{path}: {column} of row {row} is {value!r}, not text. Mend the data set.")
    return texts


@dataclass(frozen=True)
class Encoded:
    """Token ids of prompts, and of one or more answers to each, an answer ending with end-of-text."""

    prompts: list[Ids]
    answers: list[list[Ids]]


def encode(tokenizer: Any, form: PromptFormat, prompts: Sequence[str], answers: Sequence[Sequence[str]]) -> Encoded:
    """Ids of every rendered prompt, and of " " + answer + end-of-text for each list of answers.

    After a prompt that ends with a line break, as a format may have it, the answer follows without the space. Prompt
    and answer are tokenized as one text, and the answer must begin on a token boundary: then training shows the very
    prompt that sampling starts from.

    Raises:
        StudyError: the tokenizer merges the end of a prompt with the beginning of its answer, or cannot put a prompt
            into a chat format; or prompts hold their turns already, so that the format would add them once more.
    """
    _check_turns(form, prompts)
    rendered = [render(form, tokenizer, prompt) for prompt in prompts]
    prompt_ids = token_ids(tokenizer, rendered)
    encoded = []
    for texts in answers:
        whole = [prompt + joint(prompt) + text for prompt, text in zip(rendered, texts, strict=True)]
        full = token_ids(tokenizer, whole)
        encoded.append([_answer(*pair, tokenizer, row) for row, pair in enumerate(zip(prompt_ids, full, strict=True))])
    return Encoded(prompts=prompt_ids, answers=encoded)


def _check_turns(form: PromptFormat, prompts: Sequence[str]) -> None:
    """Prompts such as those of `Dahoas/static-hh` end with the mark of the assistant's turn."""
    if not form.is_chat and form.fill("x") == "x":
        return
    for row, prompt in enumerate(prompts):
        mark = next((mark for mark in form.markers if prompt.rstrip().endswith(mark)), None)
        if mark is not None:
            raise StudyError(
                f"The prompt of row {row} ends with {mark!r}: it holds its turns already, and the format would put "
                "words of its own around them. Set train_format: dialogue, which adds none."
            )


def _answer(prompt: Ids, full: Ids, tokenizer: Any, row: int) -> Ids:
    eos = tokenizer.eos_token_id
    if full[: len(prompt)] != prompt:
        raise StudyError(
            f"In row {row} the tokenizer merges the end of the prompt, {tokenizer.decode(prompt[-4:])!r}, with the "
            "answer, so the model would be trained on another prompt than it is sampled with. "
            "End the format's template with a word or a mark of its own."
        )
    return [*full[len(prompt) :], eos]


def labelled(encoded: Encoded, max_length: int, too_long: Literal["error", "truncate"], path: Path) -> dict[str, Any]:
    """Columns `input_ids` and `labels` (-100 on the prompt); over-long examples lose tokens from the left.

    Raises:
        StudyError: an example is longer than `max_length` and `too_long` is "error".
    """
    ids, labels, cut = [], [], 0
    for row, (prompt, answer) in enumerate(zip(encoded.prompts, encoded.answers[0], strict=True)):
        length = len(prompt) + len(answer)
        if length > max_length:
            _refuse(too_long, path, row, length, max_length)
            cut += 1
        ids.append([*prompt, *answer][-max_length:])
        labels.append([*([-100] * len(prompt)), *answer][-max_length:])
    if cut:
        logger.warning("%d of %d examples are longer than %d tokens and were truncated", cut, len(ids), max_length)
    return {"input_ids": ids, "labels": labels}


def paired(
    encoded: Encoded, max_length: int, max_prompt_length: int, too_long: Literal["error", "truncate"], path: Path
) -> dict[str, list[Ids]]:
    """Columns `prompt_ids`, `chosen_ids` and `rejected_ids`, truncated as Rafailov et al. do where too long.

    Raises:
        StudyError: a pair is longer than `max_length` and `too_long` is "error".
    """
    columns: dict[str, list[Ids]] = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    cut = 0
    for row, (prompt, chosen, rejected) in enumerate(zip(encoded.prompts, *encoded.answers, strict=True)):
        longest = max(len(chosen), len(rejected))
        parts = (prompt, chosen, rejected)
        if len(prompt) + longest > max_length:
            _refuse(too_long, path, row, len(prompt) + longest, max_length)
            cut += 1
            room = max_length - max_prompt_length
            kept = prompt[-max_prompt_length:]
            fits = len(kept) + longest <= max_length
            parts = (kept, chosen, rejected) if fits else (kept, chosen[:room], rejected[:room])
        for column, part in zip(columns.values(), parts, strict=True):
            column.append(part)
    if cut:
        logger.warning("%d of %d pairs are longer than %d tokens and were truncated", cut, row + 1, max_length)
    return columns


def read_pairs(
    path: Path,
    tokenizer: Any,
    form: PromptFormat,
    max_length: int,
    max_prompt_length: int,
    too_long: Literal["error", "truncate"],
) -> dict[str, list[Ids]]:
    """The preference pairs of a sealed data set: columns `prompt_ids`, `chosen_ids` and `rejected_ids`.

    A pair whose answers are equal, perhaps because of what truncation left of them, stays: it says nothing about which
    is better, so losses on a difference have no gradient there. How many there are is logged as a warning.

    Raises:
        StudyError: as `read_texts`, `encode` and `paired`; or no pair has two different answers.
    """
    texts = read_texts(path, PAIR_COLUMNS)
    encoded = encode(tokenizer, form, texts["prompt"], [texts["chosen"], texts["rejected"]])
    pairs = paired(encoded, max_length, max_prompt_length, too_long, path)
    _check_differences(pairs, path)
    return pairs


def _check_differences(pairs: Mapping[str, Sequence[Ids]], path: Path) -> None:
    answers = zip(pairs["chosen_ids"], pairs["rejected_ids"], strict=True)
    equal = [row for row, (chosen, rejected) in enumerate(answers) if chosen == rejected]
    count = len(pairs["chosen_ids"])
    if len(equal) == count:
        raise StudyError(
            f"{path}: chosen and rejected are the same tokens in all {count} rows, row 0 first, so there is no "
            "preference to learn. Name other columns in data.SET.columns, or raise max_length if they differ only "
            "beyond it."
        )
    if equal:
        logger.warning(
            "%s: chosen and rejected are the same tokens in %d of %d rows, first in row %d: they prefer nothing",
            path, len(equal), count, equal[0],
        )  # fmt: skip


def _refuse(too_long: str, path: Path, row: int, length: int, max_length: int) -> None:
    if too_long == "error":
        raise StudyError(
            f"{path}: row {row} is {length} tokens long, but max_length allows {max_length}. "
            "Raise max_length (up to the model's context), or set too_long: truncate."
        )
