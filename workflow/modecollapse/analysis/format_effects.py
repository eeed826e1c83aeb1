"""How much of an apparent stage effect is format: what the words around the prompt change, beside what training does.

A stage asked in format g and its parent asked in format f differ by training and by the words. With both stages
measured under both formats the difference has two decompositions, which change first the stage or first the words:

    D(after, g) - D(before, f) = [D(after, f) - D(before, f)] + [D(after, g) - D(after, f)]
                               = [D(before, g) - D(before, f)] + [D(after, g) - D(before, g)]

Their averages are the two parts (Shapley values): they do not depend on an order, and they sum to the difference, in
the estimate and in each resample. The four effects are in the table as well; where they disagree, stage and format
interact, and a split says less.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from modecollapse.analysis.attribution import (
    MEAN_TEMPERATURE,
    mean_over_temperatures,
    row_index,
    rows_of,
    shares_of,
)
from modecollapse.analysis.bootstrap import Bootstrap, estimate
from modecollapse.analysis.grid import Block, blocks
from modecollapse.analysis.table_files import joined
from modecollapse.analysis.variance import Array
from modecollapse.wordings import Change, Formats

BOTH = "both"
"""`within` of rows that average over the two orders: the parts that sum to the apparent effect."""

APPARENT, STAGE, FORMAT = "apparent", "stage", "format"

# Columns: (before, f), (before, g), (after, f), (after, g). The last row is what the others may be a share of.
_SPLIT = (
    (STAGE, BOTH, (-0.5, -0.5, 0.5, 0.5)),
    (FORMAT, BOTH, (-0.5, 0.5, -0.5, 0.5)),
    (STAGE, "{format_before}", (-1.0, 0.0, 1.0, 0.0)),
    (STAGE, "{format_after}", (0.0, -1.0, 0.0, 1.0)),
    (FORMAT, "{before}", (-1.0, 1.0, 0.0, 0.0)),
    (FORMAT, "{after}", (0.0, 0.0, -1.0, 1.0)),
    (APPARENT, "", (-1.0, 0.0, 0.0, 1.0)),
)
_WITHIN = ((FORMAT, "{before}", (-1.0, 1.0)),)


@dataclass(frozen=True)
class _Comparison:
    """Cells whose means are combined: a step that changes the format as well, or one stage under two formats."""

    change: Change

    @property
    def cells(self) -> list[tuple[str, str]]:
        one = self.change
        before = [(one.before, one.format_before), (one.before, one.format_after)]
        return before if self.one_stage else [*before, *((one.after, form) for _, form in before)]

    @property
    def one_stage(self) -> bool:
        return self.change.before == self.change.after

    @property
    def effects(self) -> list[tuple[str, str, tuple[float, ...]]]:
        """(effect, within, coefficients of the cells)"""
        names = vars(self.change)
        return [(effect, within.format(**names), c) for effect, within, c in (_WITHIN if self.one_stage else _SPLIT)]

    @property
    def step(self) -> str:
        return self.change.before if self.one_stage else f"{self.change.before}>{self.change.after}"


def format_effect_table(
    scores: Iterable[pd.DataFrame], changes: Sequence[Change], formats: Formats, bootstrap: Bootstrap
) -> pd.DataFrame:
    """The split of every one of `changes`, and under every stage what each further format changes beside its first.

    Prompts undefined in one of the cells of a comparison count in none. Shares are of the apparent effect, and known
    only where it is known to differ from zero.
    """
    return joined("format_effect", format_effect_parts(scores, changes, formats, bootstrap))


def format_effect_parts(
    scores: Iterable[pd.DataFrame], changes: Sequence[Change], formats: Formats, bootstrap: Bootstrap
) -> Iterator[pd.DataFrame]:
    """The rows of `format_effect_table`, a few at a time."""
    stages = [
        _Comparison(Change(stage, stage, names[0], name)) for stage, names in formats.items() for name in names[1:]
    ]
    comparisons = [*map(_Comparison, changes), *stages]
    for block in blocks(scores):
        for one in comparisons:
            yield from _rows(block, one, bootstrap)


def _rows(block: Block, comparison: _Comparison, bootstrap: Bootstrap) -> Iterator[pd.DataFrame]:
    keys, values, errors = _effects(block, comparison)
    if not keys:
        return
    count, names, *units = values.shape
    result = estimate(values.reshape(-1, *units), block.prompts, bootstrap, errors.reshape(-1, *units))
    delta, low, high = (array.reshape(count, names) for array in (result.value, result.low, result.high))
    columns: dict[str, Any] = {"delta": delta, "low": low, "high": high}
    share = [np.full_like(delta, np.nan)] * 3
    if not comparison.one_stage:
        share = list(shares_of(values, delta, low, high, block.prompts, bootstrap))
    columns |= dict(zip(("share", "share_low", "share_high"), share, strict=True))
    columns |= {"completion_se": result.completion_se, "n_prompts": result.n_prompts, "n_seeds": result.n_seeds}
    effects, change = comparison.effects, comparison.change
    frame = pd.DataFrame(keys, columns=["temperature", "words", "metric", "definition"])
    frame = frame.loc[frame.index.repeat(names)].reset_index(drop=True)
    yield frame.assign(
        size=block.size, prompts=block.prompts, step=comparison.step,
        format_before=change.format_before, format_after=change.format_after,
        effect=[effect for effect, _, _ in effects] * count, within=[within for _, within, _ in effects] * count,
        **{name: column.ravel() for name, column in columns.items()},
    )  # fmt: skip


def _effects(block: Block, comparison: _Comparison) -> tuple[list[tuple[object, ...]], Array, Array]:
    """Keys (temperature, words, metric, definition), and effects with errors [keys, effects, seeds, prompts]."""
    index, cells = row_index(block), comparison.cells
    matrix = np.array([coefficients for _, _, coefficients in comparison.effects])
    keys: list[tuple[object, ...]] = []
    values: list[Array] = []
    errors: list[Array] = []
    for key, group in rows_of(block, *cells[0]).groupby(["words", "metric", "definition"], sort=False):
        first = len(values)
        for temperature in sorted(group["temperature"], key=float):
            places = [index.get((*cell, temperature, *key)) for cell in cells]
            if None in places:
                continue
            at = np.array(places, dtype=np.intp)
            found = block.values[at]
            found = np.where(np.isnan(found).any(axis=0), np.nan, found)
            keys.append((temperature, *key))
            values.append(np.tensordot(matrix, found, axes=1))
            # Completions of different cells are drawn independently.
            errors.append(np.sqrt(np.tensordot(matrix**2, block.errors[at] ** 2, axes=1)))
        if len(values) > first:
            value, error = mean_over_temperatures(np.stack(values[first:]), np.stack(errors[first:]))
            keys.append((MEAN_TEMPERATURE, *key))
            values.append(value)
            errors.append(error)
    return keys, np.stack(values) if values else np.empty(0), np.stack(errors) if errors else np.empty(0)
