"""What transformations of data sets have in common: each says of every row whether it is kept, and why.

A transformation is a pure function of texts, its settings and what it is given beside: it reads no file and loads no
model. It only ever selects rows, and may say of what task they are, so that what it kept stands in the order, and in
the words, of its input.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.data.sources.sampling import Sample
from modecollapse.schema import Strict

Columns = Mapping[str, Sequence[str]]
"""The texts of a data set by column, all of one length."""

SELECTING = ("data.transformations.base", "data.sources.sampling", "data.columns")
"""Modules whose code decides what any transformation selects."""

KEPT = "kept"
EQUAL = "equal answers"
"""The outcome of a pair whose answers are equal: it prefers nothing, and no derived set has it."""

ALL_TASKS = "all"
"""What the rows of a set without the column `task` are counted as."""


@dataclass(frozen=True)
class Perplexities:
    """What a scorer gives to the answers of pairs, and to its own."""

    chosen: Sequence[float]
    """Of every row of the set, in its order."""
    rejected: Sequence[float]
    own: Mapping[str, Sequence[float]]
    """Of the scorer's own responses, by task."""


@dataclass(frozen=True)
class Given:
    """What transformations may need beside the rows and their settings."""

    seed: int = 0
    """Decides draws."""
    prompts: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """Evaluation prompts: prompt set → id → its text and its accepted answers."""
    perplexities: Perplexities | None = None


@dataclass(frozen=True)
class Selection:
    """What becomes of every row."""

    outcomes: Sequence[str]
    """`KEPT`, or in a few words why the row is dropped or what is noted of it."""
    kept: Sequence[bool]
    found: Mapping[str, Any] = field(default_factory=dict)
    """What else a reader wants to know, as JSON."""

    @classmethod
    def of(cls, outcomes: Sequence[str], found: Mapping[str, Any] | None = None) -> "Selection":
        """Every row is dropped whose outcome is not `KEPT`."""
        return cls(outcomes, [outcome == KEPT for outcome in outcomes], found or {})


@dataclass(frozen=True)
class Transformation:
    """One way to make a data set of others."""

    name: str
    """Its key in `data.NAME`."""
    settings: type[Strict]
    select: Callable[[Columns, Any, Given], Selection]
    """(columns, settings, what it is given beside) → what becomes of every row."""
    needs: Callable[[Any], Sequence[str]]
    """The columns that it cannot do without, by its settings."""
    relax: str
    """What to do if it leaves nothing."""
    tasks: Callable[[Columns, Any], list[str]] | None = None
    """(columns, settings) → what it says that the tasks of the rows are, which then stands in their column `task`; None
    if it does not."""
    draws: bool = False
    """Whether the seed of the set decides anything."""
    reads_prompts: bool = False
    """Whether it looks at the evaluation prompts of the study."""
    elsewhere: Sequence[str] = ()
    """Settings that do not decide what it selects of what it is given: other jobs make that by them."""
    revision: int = 1
    """Raise it when a change of code changes what it selects."""
    modules: tuple[str, ...] = ()
    """Further modules whose code decides that."""


def tasks_of(columns: Columns) -> Sequence[str]:
    """The task of every row; `ALL_TASKS` in a set without the column."""
    return columns["task"] if "task" in columns else [ALL_TASKS] * rows_of(columns)


def rows_of(columns: Columns) -> int:
    """How many rows there are."""
    return len(next(iter(columns.values()), ()))


def is_pairs(columns: Columns) -> bool:
    """Whether the rows are preference pairs."""
    return set(PAIR_COLUMNS) <= set(columns)


def drawn(rows: Iterable[int], size: int, seed: int) -> set[int]:
    """`size` of these rows, all alike probable; fewer are a part of more. Depends on numbers and seed alone."""
    sample: Sample[int] = Sample(size, seed)
    if size > 0:
        for row in rows:
            sample.offer(row, row)
    return set(sample.rows())


def counted(tasks: Sequence[str], selection: Selection) -> list[dict[str, Any]]:
    """One entry for each task and outcome: `task`, `outcome`, `kept` and `n`, by task and falling n."""
    counts = Counter(zip(tasks, selection.outcomes, selection.kept, strict=True))
    order = sorted(counts.items(), key=lambda entry: (entry[0][0], -entry[1], entry[0][1]))
    return [{"task": task, "outcome": outcome, "kept": kept, "n": n} for (task, outcome, kept), n in order]


def merge(columns: Columns) -> Selection:
    """What every derived set leaves out whatever its transformation is: pairs whose answers are equal."""
    if not is_pairs(columns):
        return Selection.of([KEPT] * rows_of(columns))
    answers = zip(columns["chosen"], columns["rejected"], strict=True)
    return Selection.of([EQUAL if chosen.strip() == rejected.strip() else KEPT for chosen, rejected in answers])
