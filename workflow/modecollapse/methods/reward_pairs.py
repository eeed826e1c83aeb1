"""Which pairs a reward model is trained on: those of different answers, balanced by length if asked for."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modecollapse.errors import StudyError

logger = logging.getLogger(__name__)

Ids = Sequence[int]


def different_pairs(texts: Mapping[str, Sequence[str]], equal: Literal["error", "drop"], path: Path) -> list[int]:
    """The rows whose `chosen` and `rejected` differ; others are dropped with a line in the log, or refused.

    Raises:
        StudyError: there is such a pair and `equal` is "error", or there are no others.
    """
    answers = list(zip(texts["chosen"], texts["rejected"], strict=True))
    rows = [row for row, (chosen, rejected) in enumerate(answers) if chosen != rejected]
    same = len(answers) - len(rows)
    if same and equal == "error":
        first = min(set(range(len(answers))) - set(rows))
        raise StudyError(
            f"{path}: chosen and rejected of row {first} are equal, {answers[first][0][:60]!r} ({same} of "
            f"{len(answers)} pairs are such), so neither is better. Mend the data set, or set equal_answers: drop."
        )
    if not rows:
        raise StudyError(f"{path}: all {same} pairs hold two equal answers, so there is nothing to learn. Mend it.")
    if same:
        logger.warning("%d of %d pairs hold two equal answers and are left out", same, len(answers))
    return rows


def distinguishable(pairs: Mapping[str, Sequence[Ids]], rows: Sequence[int]) -> list[int]:
    """Those of `rows` whose answers differ in what is left of them after truncation (`chosen_ids`, `rejected_ids`)."""
    kept = [row for row in rows if list(pairs["chosen_ids"][row]) != list(pairs["rejected_ids"][row])]
    if len(kept) < len(rows):
        logger.warning("%d pairs are equal as far as max_length goes, and are left out", len(rows) - len(kept))
    return kept


def balanced(
    pairs: Mapping[str, Sequence[Ids]], tasks: Sequence[str] | None, rows: Sequence[int], seed: int
) -> list[int]:
    """Those of `rows` that make a sample in which, per task, better answers are as often longer as they are shorter.

    Of the more frequent kind as many are drawn as there are of the other; pairs of equally long answers all stay. The
    order is kept.

    Args:
        pairs: columns `chosen_ids` and `rejected_ids`.
        tasks: the task of each pair; None if all are of one.
        rows: the pairs to choose among, in increasing order.
        seed: decides which are drawn.
    """
    kinds: dict[Any, list[int]] = defaultdict(list)
    for row in rows:
        chosen, rejected = len(pairs["chosen_ids"][row]), len(pairs["rejected_ids"][row])
        kinds["" if tasks is None else tasks[row], (chosen > rejected) - (chosen < rejected)].append(row)
    generator = np.random.default_rng([seed, _BALANCE])
    kept: list[int] = []
    for task in sorted({task for task, _ in kinds}):
        longer, shorter = kinds[task, 1], kinds[task, -1]
        number = min(len(longer), len(shorter))
        for kind in (longer, shorter):
            kept.extend(generator.choice(kind, number, replace=False).tolist() if number else [])
        kept.extend(kinds[task, 0])
        logger.info(
            "balance_length%s: better is longer in %d pairs, shorter in %d, of which %d each stay; %d are left out",
            f", task {task!r}" if task else "",
            len(longer),
            len(shorter),
            number,
            len(longer) + len(shorter) - 2 * number,
        )
    return sorted(kept)


_BALANCE = 1
"""Tells this stream of chance from others of the same seed."""
