"""The columns of text that data sets have, under our names."""

from typing import Literal, get_args

TextColumn = Literal["text", "prompt", "completion", "chosen", "rejected"]
TEXT_COLUMNS: tuple[TextColumn, ...] = get_args(TextColumn)
"""Columns of data sets, all of text."""
