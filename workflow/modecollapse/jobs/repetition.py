"""Repetitive completions of one model, counted."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from modecollapse.cells import Model
from modecollapse.digests import digest
from modecollapse.identities import identity_metadata
from modecollapse.measures.repetition import RepetitionSettings, count_repetition
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed
from modecollapse.store import Store

KIND = "repetition"


def measure_repetition(
    spec: Mapping[str, Any], model: Model, cells: Sequence[Path], output: Path, store: Store
) -> None:
    """Write how many completions of each cell of a model repeat themselves; those of a cell are counted once.

    The columns are those of `measures.repetition.SCHEMA` behind `prompts`, `format` and `temperature`.

    Raises:
        CorruptFile: a cell is not what was published.
    """
    settings = RepetitionSettings.model_validate(spec["settings"])
    parts = []
    for path in cells:
        metadata = read_metadata(path)
        identity = json.loads(metadata["cell"])
        completions = read_sealed(path, ["prompt", "text", "finish_reason"])
        key = digest({"spec": dict(spec), "cell": metadata[SEAL]})
        counts = store.read_table(KIND, key)
        if counts is None:
            counts = count_repetition(completions, settings)
            store.write_table(KIND, key, counts)
        for column in ("temperature", "format", "prompts"):
            counts = counts.add_column(0, column, pa.array([identity[column]] * counts.num_rows, pa.string()))
        parts.append(counts)
    write_sealed(pa.concat_tables(parts), output, identity_metadata(model))
