"""Whether two samples of completions can come from the same distribution: an exact permutation test."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MEASURES = ("characters", "beginnings", "length", "log-probability", "reasons")
"""What is compared: how often each character is written, with which the texts begin, how many tokens there are, how
probable they were, and why they end."""


def disagreement(
    one: pa.Table, other: pa.Table, permutations: int = 2000, seed: int = 0
) -> tuple[float, Mapping[str, float]]:
    """The probability of a difference as large as that of two samples of completions if their distribution is the same.

    Rows of two cells are exchangeable within a prompt if both were drawn from the same distribution, so that every way
    of telling them apart at random is as probable as the true one. Each measure is compared by the sum over its columns
    of squared differences of means, in units of the column's variance.

    Args:
        one, other: tables of `CELL_SCHEMA` for the same prompts.
        permutations: random ways of telling rows apart; no p-value is below 1 / (permutations + 1).

    Returns:
        A p-value, and that of each of `MEASURES`. It is the smallest of these times their number (Bonferroni): where it
        is called a difference if it is at most alpha, the rate of false alarms is at most alpha, at any sample size.
    """
    both = pa.concat_tables([one, other]).to_pylist()
    ours = np.arange(len(both)) < one.num_rows
    prompts = np.unique([row["prompt"] for row in both], return_inverse=True)[1]
    # The mean of a prompt is no matter of either sample.
    features = {name: _standardised(columns, prompts) for name, columns in _features(both).items()}
    chance = np.random.default_rng(seed)
    labels = np.array([ours, *(_shuffled(ours, prompts, chance) for _ in range(permutations))]).astype(np.float64)
    signs = labels / one.num_rows - (1 - labels) / other.num_rows
    found = {}
    for name, columns in features.items():
        distances = ((signs @ columns) ** 2).sum(-1)
        # Sums of the same numbers in another order are the same distance.
        found[name] = float((distances >= distances[0] * (1 - 1e-9)).mean())
    return min(1.0, len(found) * min(found.values())), found


def _features(rows: list[dict[str, object]]) -> dict[str, NDArray[np.float64]]:
    texts = [str(row["text"]) for row in rows]
    characters = sorted(set("".join(texts)))
    return {
        "characters": np.array([[text.count(each) for each in characters] for text in texts], dtype=np.float64),
        "beginnings": np.array([[text[:1] == each for each in characters] for text in texts], dtype=np.float64),
        "length": np.array([[row["n_tokens"]] for row in rows], dtype=np.float64),
        "log-probability": np.array([[np.mean(row["log_probs"])] for row in rows], dtype=np.float64),  # type: ignore[arg-type]
        "reasons": np.array([[row["finish_reason"] == each for each in ("eos", "stop")] for row in rows], dtype=float),
    }


def _standardised(columns: NDArray[np.float64], prompts: NDArray[np.intp]) -> NDArray[np.float64]:
    columns = columns.copy()
    for prompt in np.unique(prompts):
        columns[prompts == prompt] -= columns[prompts == prompt].mean(0)
    spread = columns.std(0)
    return columns[:, spread > 0] / spread[spread > 0]


def _shuffled(labels: NDArray[np.bool_], prompts: NDArray[np.intp], chance: np.random.Generator) -> NDArray[np.bool_]:
    shuffled = labels.copy()
    for prompt in np.unique(prompts):
        shuffled[prompts == prompt] = chance.permutation(labels[prompts == prompt])
    return shuffled
