"""Semantic modes by stage: similarities and clusters of outputs, beside those of the stage before.

A value is the mean over prompts; its interval and that of the difference to the parent stage, paired over seeds and
prompts, are those of `analysis.bootstrap`. A stage that is asked a single prompt with one seed has no interval.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from modecollapse.analysis.beside_parents import DEFINITION, WHOLE, beside_parents
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.grid import Block, blocks
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.lineage import Lineage


def semantic_parts(values: Iterable[pd.DataFrame], lineage: Lineage, bootstrap: Bootstrap) -> Iterator[pd.DataFrame]:
    """The rows of the table `semantic`, those of one size and prompt set at a time.

    Args:
        values: of each model its file of values (`jobs.semantic`) with size, seed and stage; those of a size together.
        lineage: a stage is compared with its first parent, or the next one up the line that was measured, under the
            same prompt format.
    """
    scores = (
        frame.rename(columns={"quantity": "metric"}).assign(words=WHOLE, definition=DEFINITION) for frame in values
    )
    for block in blocks(scores):
        yield pd.DataFrame(_rows(block, lineage, bootstrap), columns=SCHEMAS["semantic"].names)


def _rows(block: Block, lineage: Lineage, bootstrap: Bootstrap) -> Iterator[dict[str, object]]:
    for place, row in beside_parents(block, lineage, bootstrap):
        if not row["n_seeds"]:
            continue
        asked, values = block.rows.iloc[place], block.values[place]
        yield {
            **row, "prompts": block.prompts, "format": asked["format"], "temperature": asked["temperature"],
            "n_prompts": int((~np.isnan(values)).any(axis=0).sum()), "n_outputs": int(block.completions[place].sum()),
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
