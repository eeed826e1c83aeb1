"""Measured values by stage, each with its interval, beside that of the stage before."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from modecollapse.analysis.attribution import row_index
from modecollapse.analysis.bootstrap import Bootstrap, estimate
from modecollapse.analysis.grid import Block
from modecollapse.lineage import Lineage, nearest_before

WHOLE, DEFINITION = 0, "corrected"
"""`words` and `definition` of values that are not of cut texts, and come in one definition."""


def beside_parents(block: Block, lineage: Lineage, bootstrap: Bootstrap) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row of a block: its place there, and the columns that all tables of this kind have.

    These are `size`, `stage`, `quantity`, `value` with `low` and `high`, `parent`, `before`, `difference` with
    `difference_low` and `difference_high`, and `n_seeds`. Before and difference are over the units that both stages
    have. What is undefined in all of its units is NaN, with 0 seeds.

    Args:
        block: values that are `WHOLE` and of the `DEFINITION`, the quantities in the place of metrics.
        lineage: a stage is compared with its first parent, or the next one up the line that was measured, under the
            same prompt format.
    """
    befores = nearest_before(lineage, set(block.rows["stage"]))
    index = row_index(block)
    base = np.full_like(block.values, np.nan)
    for place, row in enumerate(block.rows.itertuples()):
        key = (befores.get(str(row.stage)), row.format, row.temperature, WHOLE, row.metric, DEFINITION)
        if key in index:
            base[place] = block.values[index[key]]
    found = estimate(block.values, block.prompts, bootstrap)
    before = estimate(np.where(np.isnan(block.values), np.nan, base), block.prompts, bootstrap)
    change = estimate(block.values - base, block.prompts, bootstrap)
    for place, row in enumerate(block.rows.itertuples()):
        yield place, {
            "size": block.size, "stage": row.stage, "quantity": row.metric, "value": found.value[place],
            "low": found.low[place], "high": found.high[place],
            "parent": befores.get(str(row.stage)) if change.n_prompts[place] else None,
            "before": before.value[place], "difference": change.value[place],
            "difference_low": change.low[place], "difference_high": change.high[place],
            "n_seeds": int(found.n_seeds[place]),
        }  # fmt: skip
