"""Sentence vectors of the texts of cells."""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from modecollapse.generation.progress import reporter
from modecollapse.jobs.running import Job, device
from modecollapse.measures.embedder import EmbedderSettings, embedder_digest
from modecollapse.measures.embedding import Sharing, embed
from modecollapse.measures.vectors import EmbeddingCache, Lookup, vector_array
from modecollapse.metrics.lexical import first_words
from modecollapse.sealed import read_sealed, write_sealed
from modecollapse.store import Store

logger = logging.getLogger(__name__)


def embed_cells(
    spec: Mapping[str, Any], cells: Sequence[Path], output: Path, store: Store, job: Job, keep_seconds: float = 60.0
) -> None:
    """Write the vectors of every distinct text of these cells, cut to each number of words.

    Texts whose vectors are in the store's cache are not embedded again, and those that several jobs need at once are
    embedded by one of them. New ones are added to the cache every now and then, and when the process is asked to stop.

    Raises:
        Stopped: the process was asked to stop.
        CorruptFile: a cell or a shard of the cache is not what was published.
        StudyError: the embedder's weights are not the expected ones.
    """
    texts: dict[str, None] = {}
    for path in cells:
        for text in dict.fromkeys(read_sealed(path, ["text"]).column("text").to_pylist()):
            texts.update((first_words(text, words), None) for words in spec["words"])
    known = sentence_vectors(list(texts), spec, store, job, keep_seconds)
    table = pa.table(
        {
            "text": pa.array(list(texts), pa.string()),
            "vector": vector_array(np.stack([known[text] for text in texts])),
        }
    )
    write_sealed(table, output, {"embedder": spec["embedder"]["model"]})


def sentence_vectors(
    texts: Sequence[str], spec: Mapping[str, Any], store: Store, job: Job, keep_seconds: float = 60.0
) -> dict[str, np.ndarray]:
    """Text → its sentence vector, of unit length, from the store's cache or embedded now, as in `embed_cells`.

    Args:
        texts: distinct ones.
        spec: `embedder` and `threads` of it count.

    Raises:
        Stopped: the process was asked to stop.
        CorruptFile: a shard of the cache is not what was published.
        StudyError: the embedder's weights are not the expected ones.
    """
    settings = EmbedderSettings.model_validate(spec["embedder"], strict=False)
    job.load("torch")
    computes_on = device()
    cache = EmbeddingCache(store.cache("embeddings"), embedder_digest(settings, computes_on))
    lookup = Lookup(cache, texts)
    known = dict(lookup.find(texts))
    missing = [text for text in texts if text not in known]
    logger.info("%d distinct texts, %d of them new", len(texts), len(missing))
    if missing:
        job.load("transformers:AutoModel", "transformers.modeling_utils")

        def keep(texts: Sequence[str], vectors: np.ndarray) -> None:
            with store.keeping("embeddings"):
                cache.add(texts, vectors)

        # Texts of equal length are one job's at a time: those of the next length are no one's, or are looked up.
        sharing = Sharing(lambda lengths: _turns(store, cache, lengths), lookup.find)
        vectors = embed(missing, settings, spec["threads"], reporter("texts"), keep, keep_seconds, computes_on, sharing)
        with store.keeping("embeddings"):
            cache.compact()
        known.update(zip(missing, vectors, strict=True))
    return known


def _turns(store: Store, cache: EmbeddingCache, lengths: Sequence[int]) -> Generator[int]:
    keys = {f"embeddings-{cache.embedder_digest}-{length}": length for length in lengths}
    with closing(store.turns(list(keys))) as turns:
        for key in turns:
            yield keys[key]
