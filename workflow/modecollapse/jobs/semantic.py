"""Semantic modes of one model's completions."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from modecollapse import stopping
from modecollapse.cells import Model
from modecollapse.digests import digest
from modecollapse.identities import identity_metadata
from modecollapse.jobs.embeddings import sentence_vectors
from modecollapse.jobs.running import Job
from modecollapse.measures.semantic import ModeSettings, semantic_modes
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed
from modecollapse.store import Store

logger = logging.getLogger(__name__)

KINDS = ("semantic_outputs", "semantic_values")
"""Kinds of tables in the store, and names of the job's outputs."""

_CELL = ("temperature", "format", "prompts")


def measure_semantic(
    spec: Mapping[str, Any],
    model: Model,
    cells: Sequence[Path],
    outputs: Mapping[str, Path],
    store: Store,
    job: Job,
) -> None:
    """Write how alike the outputs of each prompt are and which clusters they form; those of a cell are found once.

    The columns are those of `measures.semantic.OUTPUTS` and `VALUES` behind `prompts`, `format` and `temperature`.

    Raises:
        CorruptFile: a cell is not what was published.
        StudyError: the embedder's weights are not the expected ones.
        Stopped: the process was asked to stop.
    """
    settings = ModeSettings.model_validate(spec["settings"], strict=False)
    read = {path: read_metadata(path) for path in cells}
    keys = {path: digest({"spec": dict(spec), "cell": metadata[SEAL]}) for path, metadata in read.items()}
    found = {path: [store.read_table(kind, keys[path]) for kind in KINDS] for path in cells}
    new = {
        path: read_sealed(path, ["prompt", "sample", "text"])
        for path in cells
        if any(part is None for part in found[path])
    }
    texts = dict.fromkeys(text for table in new.values() for text in table.column("text").to_pylist())
    vectors: dict[str, np.ndarray] = {}
    if texts:
        job.load("sklearn.cluster", "sklearn.feature_extraction.text", "sklearn.manifold")
        vectors = sentence_vectors(list(texts), spec["embedding"], store, job)
    for number, (path, table) in enumerate(new.items(), 1):
        stopping.check()
        logger.info("cell %d of %d: %s", number, len(new), path)
        found[path] = list(semantic_modes(table, vectors, settings))
        for kind, part in zip(KINDS, found[path], strict=True):
            store.write_table(kind, keys[path], part)
    for place, kind in enumerate(KINDS):
        parts = [_of_cell(found[path][place], json.loads(read[path]["cell"])) for path in cells]
        write_sealed(pa.concat_tables(parts), outputs[kind], identity_metadata(model))


def _of_cell(table: pa.Table, identity: Mapping[str, str]) -> pa.Table:
    for column in _CELL:
        table = table.add_column(0, column, pa.array([identity[column]] * table.num_rows, pa.string()))
    return table
