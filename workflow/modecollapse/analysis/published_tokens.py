"""A study's token statistics beside the published ones of O'Mahony et al. (2024), where it has the same models.

The published numbers, in the file of this module's name, are those of their Tables 1 and 2, as printed, and the finer
digits of their result files. Theirs are of 10,000 documents of the Pile's validation set; `n_documents` says how many
ours are of.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from modecollapse.analysis.table_files import SCHEMAS

_KEYS = ["published_model", "published_stage", "metric"]


def read_published_tokens(path: Path) -> pd.DataFrame:
    """The published values, one row per source, model, stage and metric; `decimals` is empty where all are known."""
    return pd.read_csv(path, dtype={"decimals": "Int64"})


def published_tokens_table(
    tokens: pd.DataFrame, models: Sequence[tuple[str, str, str, str]], published: pd.DataFrame
) -> pd.DataFrame:
    """One row per published value and definition of ours: both, their difference, and the difference over theirs.

    Args:
        tokens: the table `tokens_pooled`.
        models: (size, stage, published model, published stage), as the study says.
        published: see `read_published_tokens`.
    """
    same = pd.DataFrame(models, columns=["size", "stage", *_KEYS[:2]])
    theirs = published.rename(columns={"model": _KEYS[0], "stage": _KEYS[1], "value": "published"})
    table = same.merge(tokens, on=["size", "stage"]).merge(theirs, on=_KEYS)
    difference = table["value"] - table["published"]
    table = table.assign(difference=difference, relative_difference=difference / table["published"])
    return table[SCHEMAS["published_tokens"].names]
