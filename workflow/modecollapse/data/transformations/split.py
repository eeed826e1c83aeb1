"""Splitting: a share of the prompts, drawn at random, and the rest, in two sets that complement each other."""

from typing import Literal

from pydantic import Field

from modecollapse.data.transformations.base import (
    KEPT,
    SELECTING,
    Columns,
    Given,
    Selection,
    Transformation,
    drawn,
    rows_of,
)
from modecollapse.data.transformations.words import normalised
from modecollapse.schema import Strict

OTHER_PART = "other part"


class SplitSettings(Strict):
    """A random part of the rows, e.g. for training, or what it leaves, for validation: two sets of the same `from`,
    `share` and `seed` with different `part` have no row in common, and all rows together. Different prompts are drawn,
    not rows, so that none stands in both; of rows without prompts, the rows."""

    share: float = Field(gt=0, lt=1)
    """Share of the different prompts that the part `drawn` has, rounded to whole ones. Compatible characters (NFKC),
    case and white space make no difference. With the same seed, a smaller share is part of a larger one."""
    part: Literal["drawn", "rest"] = "drawn"
    """`drawn`: that share; `rest`: all others."""


def split(columns: Columns, settings: SplitSettings, given: Given) -> Selection:
    """Which rows are of the part; prompts are numbered in the order of their first rows."""
    rows = range(rows_of(columns))
    if "prompt" in columns:
        numbers: dict[str, int] = {}
        groups = [numbers.setdefault(normalised(prompt), len(numbers)) for prompt in columns["prompt"]]
    else:
        groups = list(rows)
    count = len(set(groups))
    chosen = drawn(range(count), round(settings.share * count), given.seed)
    wanted = settings.part == "drawn"
    return Selection.of([KEPT if (groups[row] in chosen) == wanted else OTHER_PART for row in rows])


SPLIT = Transformation(
    name="split",
    settings=SplitSettings,
    select=split,
    needs=lambda _: (),
    relax="Set share nearer to 0.5, or name larger sets",
    draws=True,
    modules=("data.transformations.split", "data.transformations.words", *SELECTING),
)
