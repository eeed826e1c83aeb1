"""Balancing: tasks of similar size, and in each as many pairs whose better answer is longer as shorter.

Length is counted in characters: it is known without a tokenizer, and answers tie less often than in words.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.data.transformations.base import (
    KEPT,
    SELECTING,
    Columns,
    Given,
    Selection,
    Transformation,
    drawn,
    tasks_of,
)
from modecollapse.schema import Strict

TaskRatio = Annotated[float, Field(ge=1)]

LENGTH, TASK_SIZE = "length balance", "task balance"


class BalanceSettings(Strict):
    """Rows are left out at random until the set is balanced. Pairs whose answers have the same length always stay
    while there is room for them."""

    task_ratio: TaskRatio | None = None
    """No task has more than this many times the rows of the smallest one; null: sizes stay as they are."""
    length: bool = False
    """In every task, as many pairs whose better answer is longer, in characters, as pairs in which it is shorter."""

    @model_validator(mode="after")
    def _balances(self) -> "BalanceSettings":
        if self.task_ratio is None and not self.length:
            raise ValueError("nothing is balanced. Give `task_ratio: 2.0`, `length: true`, or both")
        return self


def balance(columns: Columns, settings: BalanceSettings, given: Given) -> Selection:
    """Which rows stay.

    With `length` alone, as many of the more frequent kind as there are of the other. A limit of the task's size then
    takes longer and shorter ones alike, and of pairs of equal length their share. A task that has rows of one kind only
    and none of equal length is left out as a whole, and does not count as the smallest.
    """
    outcomes = [KEPT] * len(tasks_of(columns))
    groups = {task: _kinds(columns, rows, settings.length) for task, rows in _by_task(tasks_of(columns)).items()}
    level = {task: min(len(longer), len(shorter)) for task, (longer, shorter, _) in groups.items()}
    whole = {task: 2 * level[task] + len(other) for task, (_, _, other) in groups.items()}
    limit = task_limit(whole.values(), settings.task_ratio)
    for task, (longer, shorter, other) in groups.items():
        each, rest = _shares(level[task], len(other), limit)
        for rows, before, after in ((longer, level[task], each), (shorter, level[task], each), (other, None, rest)):
            _drop(outcomes, rows, before, LENGTH, given.seed)
            _drop(outcomes, rows, after, TASK_SIZE, given.seed)
    return Selection.of(outcomes)


def task_limit(sizes: Iterable[int], ratio: float | None) -> int | None:
    """Rows that a task may have: `ratio` times those of the smallest that has any, rounded down; None: any number."""
    present = [size for size in sizes if size]
    return int(ratio * min(present)) if ratio is not None and present else None


def balance_tasks(outcomes: list[str], tasks: Sequence[str], ratio: float | None, seed: int) -> None:
    """Mark kept rows as left out (`TASK_SIZE`) until no task has more than `ratio` times those of the smallest."""
    kept = _by_task(tasks, [outcome == KEPT for outcome in outcomes])
    limit = task_limit(map(len, kept.values()), ratio)
    for rows in kept.values():
        _drop(outcomes, rows, limit, TASK_SIZE, seed)


def _by_task(tasks: Sequence[str], chosen: Sequence[bool] | None = None) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, task in enumerate(tasks):
        if chosen is None or chosen[row]:
            rows.setdefault(task, []).append(row)
    return rows


def _kinds(columns: Columns, rows: Sequence[int], by_length: bool) -> tuple[list[int], list[int], list[int]]:
    """Rows whose better answer is longer, those in which it is shorter, and all others."""
    if not by_length:
        return [], [], list(rows)
    difference = {row: len(columns["chosen"][row]) - len(columns["rejected"][row]) for row in rows}
    signs: Mapping[int, list[int]] = {1: [], -1: [], 0: []}
    for row in rows:
        signs[(difference[row] > 0) - (difference[row] < 0)].append(row)
    return signs[1], signs[-1], signs[0]


def _shares(level: int, others: int, limit: int | None) -> tuple[int, int]:
    """How many of each of the two kinds, and how many others, a task keeps."""
    size = 2 * level + others
    if limit is None or size <= limit:
        return level, others
    each = limit * level // size
    rest = min(others, limit - 2 * each)
    return min(level, each + (limit - 2 * each - rest) // 2), rest


def _drop(outcomes: list[str], rows: Sequence[int], size: int | None, why: str, seed: int) -> None:
    """Keep `size` of these rows, as far as they are kept."""
    kept = [row for row in rows if outcomes[row] == KEPT]
    if size is None or len(kept) <= size:
        return
    stay = drawn(kept, size, seed)
    for row in kept:
        if row not in stay:
            outcomes[row] = why


def _needs(settings: BalanceSettings) -> tuple[str, ...]:
    return (*(PAIR_COLUMNS if settings.length else ()), *(("task",) if settings.task_ratio is not None else ()))


BALANCE = Transformation(
    name="balance",
    settings=BalanceSettings,
    select=balance,
    needs=_needs,
    relax="Set length: false, or add pairs whose better answer is shorter (or longer) than the other",
    draws=True,
    modules=("data.transformations.balance", *SELECTING),
)
