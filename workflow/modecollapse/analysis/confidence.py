"""How sure models are of every token of a continuation that they sampled themselves."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from modecollapse.analysis.table_files import SCHEMAS


def confidence_tokens_part(tokens: pd.DataFrame, questions: Mapping[str, str]) -> pd.DataFrame:
    """The rows of `confidence_tokens` of one model.

    Args:
        tokens: `measures.probes.CONTINUATION_TOKENS` with size, seed and stage.
        questions: name → text, in the order of the table.
    """
    order = tokens["question"].map({name: place for place, name in enumerate(questions)})
    ordered = tokens.assign(order=order).sort_values(["order", "position"], kind="stable")
    before = ordered["question"].map(questions)
    return ordered.assign(before=before, probability=np.exp(ordered["log_prob"]))[SCHEMAS["confidence_tokens"].names]


def confidence_table(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The table `confidence` from the rows of `confidence_tokens` of all models: over the tokens of all seeds."""
    keys, names = ["size", "stage", "question"], SCHEMAS["confidence"].names
    rows = [part for part in parts if len(part)]
    if not rows:
        return pd.DataFrame(columns=names)
    grouped = pd.concat(rows, ignore_index=True).groupby(keys, sort=False)
    found = grouped["probability"].agg(mean="mean", median="median", n_tokens="size")
    return found.assign(top_mean=grouped["top_prob"].mean(), n_seeds=grouped["seed"].nunique()).reset_index()[names]
