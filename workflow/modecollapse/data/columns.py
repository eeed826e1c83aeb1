"""The columns of text that data sets have, under our names."""

from typing import Literal, get_args

TextColumn = Literal["text", "prompt", "completion", "chosen", "rejected"]
TEXT_COLUMNS: tuple[TextColumn, ...] = get_args(TextColumn)
"""Columns of texts that models are shown."""

PAIR_COLUMNS: tuple[TextColumn, ...] = ("prompt", "chosen", "rejected")
"""Columns of a set of preference pairs."""

LabelColumn = Literal["task"]
LABEL_COLUMNS: tuple[LabelColumn, ...] = get_args(LabelColumn)
"""Columns of words about a row, which no model is shown; they are optional."""
TASK: LabelColumn = "task"
"""The kind of task that a row is of."""

COLUMNS = (*TEXT_COLUMNS, *LABEL_COLUMNS)
"""Columns of data sets, all of text."""
