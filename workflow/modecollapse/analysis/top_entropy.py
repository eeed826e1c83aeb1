"""Entropy along sampled outputs by stage: over the most probable tokens, and over all.

A completion's value is the mean over its tokens, as in Mohammadi (2024), section 3.3; a stage's is the mean over
completions and training seeds. Its interval, and that of the difference to the parent stage, are those of
`analysis.bootstrap` with completions in the place of prompts; p-values are those of a permutation test, completions
shuffled between the two models of each training seed.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from scipy.special import entr

from modecollapse.analysis.beside_parents import DEFINITION, WHOLE, beside_parents
from modecollapse.analysis.bootstrap import Bootstrap, within
from modecollapse.analysis.grid import Block, blocks
from modecollapse.analysis.permutation import permutation_p
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.analysis.variance import Array
from modecollapse.lineage import Lineage

PER_TOKEN = ("top_entropy", "top_entropy_renormalised", "entropy", "mass_of_top")
"""Of the most probable tokens −Σ p log2 p, with their probabilities as they are (the paper's formula) and divided by
their sum; the entropy of the whole distribution; and the sum of these probabilities. Entropies are in bits."""

PER_OUTPUT = "entropy_per_output"
"""The sum of whole entropies along an output, in bits: its mean over outputs estimates the entropy of the answer."""

ENDED = 0.95
"""The true entropy is that of whole answers: it stands beside outputs of which at least this share ended."""


def entropy_bits(probabilities: Array) -> float:
    """−Σ p log2 p over these probabilities, which need not sum to 1; what has probability 0 adds nothing."""
    return float(entr(probabilities).sum() / np.log(2))


def renormalised(probabilities: Array) -> Array:
    """The probabilities divided by their sum; NaN if that is 0."""
    total = probabilities.sum()
    return probabilities / total if total > 0 else np.full_like(probabilities, np.nan)


def with_entropies(tokens: pd.DataFrame) -> pd.DataFrame:
    """The rows of a file of `measures.top_entropy.TOKENS` with the columns of `PER_TOKEN`."""
    tops = [np.asarray(top, dtype=np.float64) for top in tokens["top_probs"]]
    return tokens.assign(
        top_entropy=[entropy_bits(top) for top in tops],
        top_entropy_renormalised=[entropy_bits(renormalised(top)) for top in tops],
        mass_of_top=[float(top.sum()) for top in tops],
    )


def outputs_part(tokens: pd.DataFrame, max_new_tokens: int) -> pd.DataFrame:
    """The rows of `top_entropy_outputs` of one model: means over the tokens of each output, and how long it is.

    Args:
        tokens: `with_entropies`, with size, seed and stage.
        max_new_tokens: how long outputs may be. One that is shorter ended by itself; of one as long as that it is not
            known, and it counts as cut.
    """
    model = [name for name in ("size", "seed", "stage") if name in tokens]
    grouped = tokens.groupby([*model, "sample"], sort=True)
    means = grouped[list(PER_TOKEN)].mean()
    means[PER_OUTPUT] = grouped["entropy"].sum()
    means["n_tokens"] = grouped.size()
    means["ended"] = means["n_tokens"] < max_new_tokens
    return means.reset_index()[SCHEMAS["top_entropy_outputs"].names]


def sample_part(tokens: pd.DataFrame, shown: int) -> pd.DataFrame:
    """The rows of `top_entropy_tokens` of one model: the first `shown` tokens of its first output.

    One row per token and each of the most probable tokens in its place, the most probable first.
    """
    of_first = tokens[(tokens["sample"] == 0) & (tokens["position"] < shown)].sort_values("position", kind="stable")
    rows = of_first.explode(["top_tokens", "top_probs"], ignore_index=True)
    rows = rows.rename(columns={"top_tokens": "top_token", "top_probs": "top_probability"})
    rows = rows.assign(probability=np.exp(rows["log_prob"]), rank=1 + rows.groupby("position").cumcount())
    return rows.astype({"top_probability": np.float64})[SCHEMAS["top_entropy_tokens"].names]


def top_entropy_parts(
    outputs: Iterable[pd.DataFrame], lineage: Lineage, bootstrap: Bootstrap, truth: float | None
) -> Iterator[pd.DataFrame]:
    """The rows of the table `top_entropy`, those of one size at a time.

    Args:
        outputs: of each model its `outputs_part`; those of a size together.
        lineage: a stage is compared with its first parent, or the next one up the line that was measured.
        bootstrap: how intervals are made; its resamples and seed are those of permutations as well.
        truth: entropy in bits of a true answer to the prompt; None where it is not known.
    """
    for block in blocks(_scores(part) for part in outputs):
        yield pd.DataFrame(_rows(block, lineage, bootstrap, truth), columns=SCHEMAS["top_entropy"].names)


def _scores(outputs: pd.DataFrame) -> pd.DataFrame:
    """As `analysis.grid` reads scores: outputs in the place of prompts, quantities in that of metrics."""
    values = outputs.assign(ended=outputs["ended"].astype(np.float64), prompt=outputs["sample"].astype(str))
    keys = ["size", "seed", "stage", "prompt"]
    long = values.melt(keys, [*PER_TOKEN, PER_OUTPUT, "ended"], var_name="metric", value_name="value")
    return long.assign(
        prompts="outputs", format="", temperature="", words=WHOLE, definition=DEFINITION, n=1
    )  # fmt: skip


def _rows(block: Block, lineage: Lineage, bootstrap: Bootstrap, truth: float | None) -> Iterator[dict[str, object]]:
    at = {(str(row.stage), str(row.metric)): place for place, row in enumerate(block.rows.itertuples())}
    for place, row in beside_parents(block, lineage, bootstrap):
        if row["quantity"] == "ended" or not row["n_seeds"]:
            continue
        values, share = block.values[place], float(np.nanmean(block.values[at[row["stage"], "ended"]]))
        most = 1.0 if row["quantity"] == "mass_of_top" else np.inf
        row["low"], row["high"] = within(row["low"], row["high"], most=most)
        if row["parent"] is not None:
            before = block.values[at[row["parent"], row["quantity"]]]
            row["p_value"] = permutation_p(list(values), list(before), bootstrap.resamples, bootstrap.seed)
        known = row["quantity"] == PER_OUTPUT and share >= ENDED
        yield {
            **row, "sd": _sd(values), "truth": truth if known else None, "ended": share,
            "n_outputs": int((~np.isnan(values)).sum()),
        }  # fmt: skip


def _sd(values: Array) -> float:
    """Standard deviation over the outputs of one model, pooled over models; values are [seeds, outputs]."""
    of_seeds = [row[~np.isnan(row)] for row in values]
    variances = [row.var(ddof=1) for row in of_seeds if len(row) > 1]
    return float(np.sqrt(np.mean(variances))) if variances else float("nan")
