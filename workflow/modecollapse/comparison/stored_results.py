"""Results that others computed and stored: read, checked, and called by our names.

Layout `analyse-llms`, of O'Mahony et al. (2024): a `.npy` file with a dictionary {"creative", "factual"} of
dictionaries {metric: float32 array (temperatures, prompts, 1)}. The axes carry no names: the study's order of
temperatures and prompts gives them, as for the completions of that layout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from modecollapse.analysis.bootstrap import Array
from modecollapse.completions.npy import read_numeric_dict, refuse
from modecollapse.metrics.registry import ORDERS

KEYS = ("creative", "factual")
"""The keys of a file of this layout, each said to hold the results of the prompt set of its name."""

EMBEDDER = "all-MiniLM-L12-v2"
"""Sentence embedder of the stored cosines, as named in the code that the authors used (CarperAI/diversity_metrics)."""


class Kind(StrEnum):
    """How near a stored value and ours should be."""

    EXACT = "exact"
    """The same formula on the same texts: equal up to the stored float32."""
    EMBEDDER = "other embedder"
    """The same formula on vectors of another embedder: no tolerance."""
    MONTE_CARLO = "Monte Carlo"
    """An unseeded estimate of what we compute exactly: it should scatter around our value."""
    BOTH = "Monte Carlo, other embedder"
    """Neither the same vectors nor the exact value."""


@dataclass(frozen=True)
class StoredMetric:
    """What a file calls by another name is our `metric`."""

    metric: str
    kind: Kind
    order: int = 0
    """q of a diversity of order q; 0 for other metrics."""


_STORED: dict[str, StoredMetric] = {
    "selfBleuSmoothed": StoredMetric("self_bleu", Kind.EXACT),
    "average_pairwise_ncd": StoredMetric("ncd", Kind.EXACT),
    **{f"average_pairwise_jaccard_{n}": StoredMetric(f"jaccard_{n}", Kind.EXACT) for n in (2, 3, 4)},
    "avg_compression_ratio_full": StoredMetric("compression_ratio_full", Kind.EXACT),
    "avg_compression_ratio_target": StoredMetric("compression_ratio_target", Kind.EXACT),
    "vendi_jaccard_2": StoredMetric("vendi_jaccard", Kind.EXACT),
    "cosine_similarity": StoredMetric("cosine", Kind.EMBEDDER),
    "vendi_cosine": StoredMetric("vendi_cosine", Kind.EMBEDDER),
    **{f"order_{q}_jaccard_2": StoredMetric(f"order_{q}_jaccard", Kind.MONTE_CARLO, q) for q in ORDERS},
    **{f"order_{q}_cosine": StoredMetric(f"order_{q}_cosine", Kind.BOTH, q) for q in ORDERS},
}
STORED: Mapping[str, StoredMetric] = MappingProxyType(_STORED)
"""The metrics of a file of this layout by the names that stand in it, in the order of tables."""

Values = Mapping[str, Mapping[str, Array]]
"""Key (or prompt set) → our name of a metric → values [temperatures, prompts]."""


def read_results(path: Path, temperatures: Sequence[str], prompts: Mapping[str, Sequence[str]]) -> Values:
    """The stored results in a file of layout `analyse-llms`.

    Nothing in the file is executed. A flipped bit within a number cannot be told from another number; it shows as a
    difference in the comparison.

    Args:
        path: the file.
        temperatures: the study's, in order: the first axis.
        prompts: ids of each prompt set, in order: the second axis of the key of the set's name.

    Raises:
        StudyError: the file is missing, damaged or foreign: other keys, metrics, types or shapes, or infinite values
            where none can be.
    """
    content = read_numeric_dict(path)
    if set(content) != set(KEYS):
        raise refuse(path, f"the keys {_names(content)}", f"exactly {_names(KEYS)}")
    return {key: _read_key(path, key, content[key], (len(temperatures), len(prompts[key]), 1)) for key in KEYS}


def _read_key(path: Path, key: str, metrics: Any, shape: tuple[int, ...]) -> dict[str, Array]:
    if not isinstance(metrics, dict):
        raise refuse(path, f"an array as {key!r}", "a dictionary of metrics under each key")
    missing, unknown = set(STORED) - set(metrics), set(metrics) - set(STORED)
    if missing or unknown:
        found = "; ".join(
            f"{what} {_names(sorted(names))}" for what, names in (("no", missing), ("unknown", unknown)) if names
        )
        raise refuse(path, f"under {key!r} {found}", f"the metrics {_names(STORED)}")
    return {entry.metric: _values(path, f"{key}.{name}", metrics[name], shape) for name, entry in STORED.items()}


def _values(path: Path, place: str, array: Any, shape: tuple[int, ...]) -> Array:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise refuse(path, f"values of type {kind} as {place!r}", "floating-point arrays")
    if array.shape != shape:
        allowed = f"shape {shape}, for the study's {shape[0]} temperatures and {shape[1]} prompts"
        raise refuse(path, f"an array of shape {array.shape} as {place!r}", allowed)
    if np.isinf(array).any() and not STORED[place.partition(".")[2]].order:
        raise refuse(path, f"an infinite value in {place!r}", "finite values, or NaN where a metric is undefined")
    return array[..., 0].astype(np.float64)


def _names(names: Any) -> str:
    return ", ".join(map(repr, names))
