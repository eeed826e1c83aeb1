"""Personas of one model: what its outputs hold, and the clusters of the reviews' sentences."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modecollapse import stopping
from modecollapse.cells import Model
from modecollapse.digests import digest
from modecollapse.identities import identity_metadata
from modecollapse.jobs.embeddings import sentence_vectors
from modecollapse.jobs.running import Job
from modecollapse.measures.persona_outputs import cluster_sentences, read_personas
from modecollapse.measures.persona_parsing import PersonaReader
from modecollapse.measures.personas import FieldKind
from modecollapse.measures.semantic import ModeSettings
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed
from modecollapse.store import Store

logger = logging.getLogger(__name__)

KINDS = ("persona_outputs", "persona_answers", "persona_sentences", "persona_clusters")
"""Kinds of tables in the store, and names of the job's outputs."""


def measure_personas(
    spec: Mapping[str, Any], model: Model, sampled: Path, outputs: Mapping[str, Path], store: Store, job: Job
) -> None:
    """Write what a model's outputs hold: `READ`, `ANSWERS`, `SENTENCES` and `CLUSTERS` of `measures.persona_outputs`.

    Args:
        spec: `specs.personas_spec`.
        sampled: the model's outputs (`measures.personas.OUTPUTS`).
        outputs: a file for each of `KINDS`.

    Raises:
        CorruptFile: the outputs are not what was published.
        StudyError: the embedder's weights are not the expected ones.
        Stopped: the process was asked to stop.
    """
    key = digest({"spec": dict(spec), "sampled": read_metadata(sampled)[SEAL]})
    found = [store.read_table(kind, key) for kind in KINDS]
    if any(part is None for part in found):
        job.load("sklearn.cluster", "sklearn.manifold", "vaderSentiment.vaderSentiment")
        kinds = {name: FieldKind(kind) for name, kind in spec["fields"].items()}
        reader = PersonaReader(spec["lead"], spec["pattern"], kinds, spec["review"])
        read, answers, sentences = read_personas(read_sealed(sampled), reader)
        texts = list(dict.fromkeys(sentences.column("text").to_pylist()))
        logger.info(
            "%d of %d outputs have a persona; %d sentences of reviews, %d of them distinct",
            sum(read.column("parsed").to_pylist()), read.num_rows, sentences.num_rows, len(texts),
        )  # fmt: skip
        vectors: dict[str, np.ndarray] = {}
        if texts:
            vectors = sentence_vectors(texts, spec["embedding"], store, job)
        stopping.check()
        settings = ModeSettings.model_validate(spec["clusters"], strict=False)
        found = [read, answers, *cluster_sentences(sentences, vectors, settings)]
        for kind, part in zip(KINDS, found, strict=True):
            store.write_table(kind, key, part)
    for kind, part in zip(KINDS, found, strict=True):
        assert part is not None
        write_sealed(part, outputs[kind], identity_metadata(model))
