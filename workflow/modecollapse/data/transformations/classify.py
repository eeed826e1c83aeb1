"""Classification: the column `task`, told from the words of the prompts."""

from collections import Counter

from pydantic import Field

from modecollapse.data.task_types import TaskType, task_types
from modecollapse.data.transformations.base import (
    KEPT,
    SELECTING,
    Columns,
    Given,
    Selection,
    Transformation,
    rows_of,
)
from modecollapse.schema import Strict


class ClassifySettings(Strict):
    """The column `task` becomes what the rules of docs/data.md say of the prompt: brainstorm, chat, classification,
    closed_qa, extract, generation, open_qa, rewrite, summarization, translation, or other. They are English. A column
    that there is already is replaced. All rows stay."""

    least: float = Field(0, ge=0, lt=1)
    """Share of the rows that every task has at least: rarer ones become `other`, and where these are too few together,
    so do the next rarest. What tells a percentile for each task, or makes tasks of similar size, goes by the rarest.
    0: all are told apart."""


def tasks_told(columns: Columns, settings: ClassifySettings) -> list[str]:
    """The task of every row, none of which has fewer rows than `least` allows."""
    other = str(TaskType.OTHER)
    types = task_types(columns["prompt"])
    sizes, fewest = Counter(types), settings.least * len(types)
    together, size = {other}, sizes.pop(other, 0)
    for name, own in sorted(sizes.items(), key=lambda entry: (entry[1], entry[0])):
        if own < fewest or 0 < size < fewest:
            together.add(name)
            size += own
    return [other if name in together else name for name in types]


def _all_stay(columns: Columns, settings: ClassifySettings, given: Given) -> Selection:
    return Selection.of([KEPT] * rows_of(columns))


CLASSIFY = Transformation(
    name="classify",
    settings=ClassifySettings,
    select=_all_stay,
    needs=lambda _: ("prompt",),
    relax="Name other sets",
    tasks=tasks_told,
    # 2: rare tasks may be put together.
    revision=2,
    modules=("data.transformations.classify", "data.transformations.words", "data.task_types", *SELECTING),
)
