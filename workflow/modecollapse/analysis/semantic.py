"""Semantic modes by stage: similarities and clusters of outputs, beside those of the stage before.

A value is the mean over prompts; its interval and that of the difference to the parent stage, paired over seeds and
prompts, are those of `analysis.bootstrap`. A stage that is asked a single prompt with one seed has no interval.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from modecollapse.analysis.attribution import row_index
from modecollapse.analysis.bootstrap import Bootstrap, estimate
from modecollapse.analysis.grid import Block, blocks
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.lineage import Lineage, nearest_before

_WHOLE, _DEFINITION = 0, "corrected"


def semantic_parts(values: Iterable[pd.DataFrame], lineage: Lineage, bootstrap: Bootstrap) -> Iterator[pd.DataFrame]:
    """The rows of the table `semantic`, those of one size and prompt set at a time.

    Args:
        values: of each model its file of values (`jobs.semantic`) with size, seed and stage; those of a size together.
        lineage: a stage is compared with its first parent, or the next one up the line that was measured, under the
            same prompt format.
    """
    scores = (
        frame.rename(columns={"quantity": "metric"}).assign(words=_WHOLE, definition=_DEFINITION) for frame in values
    )
    for block in blocks(scores):
        yield pd.DataFrame(_rows(block, lineage, bootstrap), columns=SCHEMAS["semantic"].names)


def _rows(block: Block, lineage: Lineage, bootstrap: Bootstrap) -> Iterator[dict[str, object]]:
    befores = nearest_before(lineage, set(block.rows["stage"]))
    index = row_index(block)
    base = np.full_like(block.values, np.nan)
    for place, row in enumerate(block.rows.itertuples()):
        key = (befores.get(str(row.stage)), row.format, row.temperature, _WHOLE, row.metric, _DEFINITION)
        if key in index:
            base[place] = block.values[index[key]]
    found = estimate(block.values, block.prompts, bootstrap)
    before = estimate(np.where(np.isnan(block.values), np.nan, base), block.prompts, bootstrap)
    change = estimate(block.values - base, block.prompts, bootstrap)
    for place, row in enumerate(block.rows.itertuples()):
        if not found.n_prompts[place]:
            continue
        yield {
            "size": block.size, "stage": row.stage, "prompts": block.prompts, "format": row.format,
            "temperature": row.temperature, "quantity": row.metric, "value": found.value[place],
            "low": found.low[place], "high": found.high[place],
            "parent": befores.get(str(row.stage)) if change.n_prompts[place] else None, "before": before.value[place],
            "difference": change.value[place], "difference_low": change.low[place],
            "difference_high": change.high[place], "n_seeds": found.n_seeds[place], "n_prompts": found.n_prompts[place],
            "n_outputs": int(block.completions[place].sum()),
        }  # fmt: skip


def outputs_part(outputs: pd.DataFrame) -> pd.DataFrame:
    """The rows of `semantic_outputs` of one model."""
    return outputs[SCHEMAS["semantic_outputs"].names]


def clusters_part(outputs: pd.DataFrame) -> pd.DataFrame:
    """The rows of `semantic_clusters` of one model: how large each cluster is, and the output closest to its centre."""
    keys = ["prompts", "format", "temperature", "prompt"]
    asked = outputs.groupby(keys, sort=False)["cluster"].transform("size")
    of_cluster = outputs.groupby([*keys, "cluster"], sort=False)["cluster"].transform("size")
    found = outputs.assign(n=of_cluster, share=of_cluster / asked)[outputs["central"]]
    return found.sort_values([*keys, "cluster"], kind="stable")[SCHEMAS["semantic_clusters"].names]
