"""The prompts of reinforcement learning: which are used, and in which order."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, cycle, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modecollapse.errors import StudyError
from modecollapse.methods.examples import Ids, encode, read_texts
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import read_sealed

logger = logging.getLogger(__name__)

TASK = "task"
"""The column that says what kind of task a prompt is, of data that has it."""


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts that leave room for an answer."""

    texts: list[str]
    """As they stand in the data."""
    ids: list[Ids]
    """Rendered and tokenized."""
    tasks: list[str]
    """Empty where the data does not tell."""

    def at(self, places: Sequence[int]) -> "Prompts":
        """Those at `places`, any of which may come several times."""
        return Prompts(
            [self.texts[place] for place in places],
            [self.ids[place] for place in places],
            [self.tasks[place] for place in places],
        )

    def order(self, number: int, seed: int, balance_tasks: bool) -> list[int]:
        """Places of the first `number` that are asked (see `prompt_order`); unless balanced, as if of one task."""
        return prompt_order(self.tasks if balance_tasks else [""] * len(self.tasks), number, seed)


def read_prompts(
    path: Path, model: Any, form: PromptFormat, longest: int, too_long: Literal["error", "drop"]
) -> Prompts:
    """The distinct prompts of the sealed data set at `path`, in the order in which they first stand there.

    Args:
        path: any data set with the column `prompt`.
        model: has the `tokenizer`, and a `prefix_token` that stands for an empty prompt.
        form: the prompt format of training.
        longest: tokens that a prompt may have.
        too_long: what becomes of longer ones.

    Raises:
        StudyError: as `read_texts` and `encode`; a prompt is too long and `too_long` is "error", or all are.
    """
    tasked = TASK in read_sealed(path).column_names
    columns = read_texts(path, ("prompt", TASK) if tasked else ("prompt",))
    kinds = columns[TASK] if tasked else [""] * len(columns["prompt"])
    first = dict(zip(reversed(columns["prompt"]), reversed(kinds), strict=True))
    texts = list(dict.fromkeys(columns["prompt"]))
    ids = [row or [model.prefix_token] for row in encode(model.tokenizer, form, texts, ()).prompts]
    fitting = [place for place, row in enumerate(ids) if len(row) <= longest]
    if len(fitting) < len(ids):
        lengths = sorted(len(row) for row in ids)
        what = f"{len(ids) - len(fitting)} of {len(ids)} prompts in {path} have more than {longest} tokens"
        if too_long == "error" or not fitting:
            raise StudyError(
                f"{what} (the longest {lengths[-1]}, the shortest {lengths[0]}), so that max_new_tokens more do not "
                "fit in max_length. Raise max_length (up to the model's context), lower max_new_tokens, or set "
                "too_long: drop to leave those out that do not fit."
            )
        logger.warning("%s and are left out", what)
    return Prompts(texts, ids, [first[text] for text in texts]).at(fitting)


def prompt_order(tasks: Sequence[str], number: int, seed: int) -> list[int]:
    """Places of the first `number` prompts that are asked, a function of `tasks` and `seed`.

    Tasks take turns, so any stretch of the order has as many prompts of each as can be. Those of one task come in a
    random order, all of them before any comes again.
    """
    names = sorted(set(tasks))
    groups = [[place for place, task in enumerate(tasks) if task == name] for name in names]
    streams = [_endless(group, [seed, task]) for task, group in enumerate(groups)]
    return [next(stream) for stream in islice(cycle(streams), number)]


def _endless(places: Sequence[int], seed: list[int]) -> Iterator[int]:
    shuffled = (np.random.default_rng([*seed, epoch]).permutation(places).tolist() for epoch in count())
    return chain.from_iterable(shuffled)
