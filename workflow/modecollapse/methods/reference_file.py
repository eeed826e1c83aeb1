"""The file of reference log-probabilities: what the parent of a preference-tuned stage gives to every pair."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from modecollapse.digests import digest
from modecollapse.errors import CorruptFile
from modecollapse.schema import Strict
from modecollapse.sealed import SEAL, read_metadata, read_sealed

ANSWERS = ("chosen", "rejected")

SCHEMA = pa.schema(
    [
        ("pair", pa.int32()),
        *((f"{answer}_tokens", pa.int32()) for answer in ANSWERS),
        *((f"{answer}_logp", pa.float32()) for answer in ANSWERS),
    ]
)
"""One row per pair, in the order of the data: its number, tokens of each answer (end-of-text included), and the sums of
their log-probabilities in nats, in the precision in which trainers compute with them."""

POSITIONS = {"cpu": 2**11, "cuda": 2**15}
"""Positions that go through the model together on a device, padding included; at least one pair."""

Ids = Sequence[int]


class PairSettings(Strict):
    """How a model is shown the pairs of a data set, and what it computes with."""

    max_length: int
    max_prompt_length: int
    too_long: Literal["error", "truncate"]
    dtype: Literal["float32", "bfloat16"]
    quantization: Literal["nf4"] | None = None
    """How its weights are held, if they are while an adapter is trained: both models are equal then at the start."""

    def __str__(self) -> str:
        numbers = "-".join(filter(None, [self.dtype, self.quantization]))
        return f"{self.max_length}-{self.max_prompt_length}-{self.too_long}-{numbers}"


def reference_key(spec: Mapping[str, object], parent: str, data: str) -> str:
    """What a file of reference log-probabilities is known by: its spec, and the digests of the model and the data."""
    return digest({"spec": spec, "parent": parent, "data": data})


def check_key(path: Path, key: str) -> str:
    """The seal of the file at `path`, which must be of this key.

    Raises:
        CorruptFile: it is of another key, or not what was published.
    """
    read_sealed(path, [])
    metadata = read_metadata(path)
    if metadata.get("key") != key:
        raise CorruptFile(
            f"{path} is corrupt: it holds the log-probabilities of another model, other data or other settings (key "
            f"{metadata.get('key', 'none')}, not {key}). Delete this file and run the same command again to make it "
            "anew."
        )
    return metadata[SEAL]


def read_reference(path: Path, pairs: Mapping[str, Sequence[Ids]]) -> dict[str, list[float]]:
    """Columns `ref_chosen_logps` and `ref_rejected_logps` for `pairs`, in nats, summed over the tokens of an answer.

    Args:
        path: the file.
        pairs: columns `chosen_ids` and `rejected_ids`.

    Raises:
        CorruptFile: the file is not what was published, is of other pairs, or holds what is not a finite number.
    """
    table = read_sealed(path)
    wrong = "" if table.schema.remove_metadata().equals(SCHEMA) else f"its columns are {', '.join(table.column_names)}"
    expected = len(pairs["chosen_ids"])
    if not wrong and table.num_rows != expected:
        wrong = f"it is of {table.num_rows} pairs, but there are {expected}"
    columns = {}
    for answer in ANSWERS if not wrong else ():
        values = table[f"{answer}_logp"].to_numpy()
        tokens = np.array([len(ids) for ids in pairs[f"{answer}_ids"]])
        others = np.flatnonzero(table[f"{answer}_tokens"].to_numpy() != tokens)
        if others.size:
            wrong = f"the {answer} answer of pair {others[0]} has another number of tokens in training"
        elif not np.isfinite(values).all():
            pair = np.flatnonzero(~np.isfinite(values))[0]
            wrong = f"the log-probability of the {answer} answer of pair {pair} is {values[pair]}"
        columns[f"ref_{answer}_logps"] = values.tolist()
    if wrong:
        raise CorruptFile(
            f"{path} is corrupt: it does not fit the data: {wrong}. Delete this file and run the same command again to "
            "make it anew."
        )
    return columns
