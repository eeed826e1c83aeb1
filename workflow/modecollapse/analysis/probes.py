"""How models spread their choice over the answers to a question, by stage and beside the true distribution."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.special import rel_entr

from modecollapse.analysis.beside_parents import DEFINITION, WHOLE, beside_parents
from modecollapse.analysis.bootstrap import Bootstrap, within
from modecollapse.analysis.grid import blocks
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.analysis.top_entropy import entropy_bits, renormalised
from modecollapse.analysis.variance import Array
from modecollapse.lineage import Lineage

_SHARES = ("mass", "total_variation", "most_probable")


def summary(probabilities: Array) -> dict[str, float]:
    """What a distribution over n choices is like; all but the mass after division by the mass, NaN where that is 0.

    `mass` is the sum of the probabilities, what is missing to 1 being anything else; `entropy` is in bits, at most
    log2 n; `effective_number` is 2 ** entropy, how many equally probable choices have this entropy (Hill 1973, of order
    1); `total_variation`, half the sum of absolute differences, and `kl`, the Kullback–Leibler divergence in bits, are
    from the uniform distribution; `most_probable` is the largest share.
    """
    shares = renormalised(probabilities)
    uniform, entropy = np.full(len(shares), 1 / len(shares)), entropy_bits(shares)
    return {
        "mass": float(probabilities.sum()),
        "entropy": entropy,
        "effective_number": float(2**entropy),
        "total_variation": float(np.abs(shares - uniform).sum() / 2),
        "kl": float(rel_entr(shares, uniform).sum() / np.log(2)),
        "most_probable": float(shares.max()),
    }


def choices_part(choices: pd.DataFrame, truth: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """The rows of `choices` of one model, of `measures.probes.CHOICES` with size, seed and stage.

    `truth` is the true probability of each choice of the questions of which it is known.
    """
    asked = zip(choices["question"], choices["choice"], strict=True)
    true = [truth.get(question, {}).get(choice, np.nan) for question, choice in asked]
    return choices.assign(true_probability=np.array(true, dtype=np.float64))[SCHEMAS["choices"].names]


def choice_summary_parts(
    choices: Iterable[pd.DataFrame],
    lineage: Lineage,
    bootstrap: Bootstrap,
    truth: Mapping[str, Mapping[str, float]],
) -> Iterator[pd.DataFrame]:
    """The rows of the table `choice_summary`, those of one size and question at a time.

    A value is the mean over training seeds, with an interval over these where there are several; `truth` is the same
    of the true probabilities, where they are known.

    Args:
        choices: of each model its file of `CHOICES`; those of a size together.
        lineage: a stage is compared with its first parent, or the next one up the line that was measured.
        bootstrap: how intervals are made.
        truth: as in `choices_part`.
    """
    true = {question: summary(np.array(list(shares.values()))) for question, shares in truth.items()}
    for block in blocks(map(_scores, choices)):
        rows = [row for _, row in beside_parents(block, lineage, bootstrap)]
        for row in rows:
            most = 1.0 if row["quantity"] in _SHARES else np.inf
            row["low"], row["high"] = within(row["low"], row["high"], most=most)
            row |= {"question": block.prompts, "truth": true.get(block.prompts, {}).get(row["quantity"])}
        yield pd.DataFrame(rows, columns=SCHEMAS["choice_summary"].names)


def _scores(choices: pd.DataFrame) -> pd.DataFrame:
    """As `analysis.grid` reads scores: questions in the place of prompt sets, quantities in that of metrics."""
    rows = []
    for question, part in choices.groupby("question", sort=False):
        model = part[["size", "seed", "stage"]].iloc[0].to_dict()
        values = summary(part["probability"].to_numpy())
        rows += [{**model, "prompts": question, "metric": name, "value": value} for name, value in values.items()]
    scores = pd.DataFrame(rows, columns=["size", "seed", "stage", "prompts", "metric", "value"])
    return scores.assign(prompt="", format="", temperature="", words=WHOLE, definition=DEFINITION, n=1)
