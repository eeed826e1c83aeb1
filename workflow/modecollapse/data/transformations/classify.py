"""Classification: the column `task`, told from the words of the prompts."""

from modecollapse.data.task_types import task_types
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


def _all_stay(columns: Columns, settings: ClassifySettings, given: Given) -> Selection:
    return Selection.of([KEPT] * rows_of(columns))


CLASSIFY = Transformation(
    name="classify",
    settings=ClassifySettings,
    select=_all_stay,
    needs=lambda _: ("prompt",),
    relax="Name other sets",
    tasks=lambda columns: task_types(columns["prompt"]),
    modules=("data.transformations.classify", "data.transformations.words", "data.task_types", *SELECTING),
)
