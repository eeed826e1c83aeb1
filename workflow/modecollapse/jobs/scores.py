"""Sentence vectors and scores of cells."""

import json
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from modecollapse.cells import Model
from modecollapse.digests import canonical, digest
from modecollapse.generation.progress import reporter
from modecollapse.jobs.running import Job, device
from modecollapse.measures.diversity import score_cell
from modecollapse.measures.embedding import (
    EmbedderSettings,
    EmbeddingCache,
    Embeddings,
    Lookup,
    Sharing,
    embed,
    embedder_digest,
    vector_array,
)
from modecollapse.measures.token_entropy import entropy_scores
from modecollapse.metrics.lexical import first_words
from modecollapse.metrics.registry import METRICS
from modecollapse.sealed import read_metadata, read_sealed, write_sealed
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
    settings = EmbedderSettings.model_validate(spec["embedder"], strict=False)
    job.load("torch")
    computes_on = device()
    cache = EmbeddingCache(store.cache("embeddings"), embedder_digest(settings, computes_on))
    lookup = Lookup(cache, list(texts))
    known = lookup.find(list(texts))
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
    table = pa.table(
        {
            "text": pa.array(list(texts), pa.string()),
            "vector": vector_array(np.stack([known[text] for text in texts])),
        }
    )
    write_sealed(table, output, {"embedder": settings.model})


def _turns(store: Store, cache: EmbeddingCache, lengths: Sequence[int]) -> Generator[int]:
    keys = {f"embeddings-{cache.embedder_digest}-{length}": length for length in lengths}
    with closing(store.turns(list(keys))) as turns:
        for key in turns:
            yield keys[key]


def score_model(
    spec: Mapping[str, Any], model: Model, cells: Sequence[Path], embeddings: Sequence[Path], output: Path, store: Store
) -> None:
    """Write the scores of all cells of one model; cells that were scored before are not scored again.

    Raises:
        CorruptFile: a cell or the vectors are not what was published.
    """
    names = [name for name in spec["metrics"] if name in METRICS]
    vectors: Embeddings | None = None
    parts = []
    for path in cells:
        metadata = read_metadata(path)
        seal, identity = metadata["modecollapse.sha256"], json.loads(metadata["cell"])
        markers = spec["markers"][identity["format"]]
        prompts = {entry[0]: entry for entry in spec["prompts"][identity["prompts"]]}
        table = read_sealed(path, ["prompt", "text", "log_probs"])
        # Of the study's formats only the cell's own counts: a further one does not touch the scores of the others.
        own = {**spec, "prompts": prompts, "markers": {identity["format"]: markers}}
        key = digest({"spec": own, "cell": seal})
        scores = store.read_table("scores", key)
        if scores is None:
            if vectors is None and embeddings:
                vectors = Embeddings.read(embeddings[0])
            texts: dict[str, list[str]] = {prompt: [] for prompt in prompts}
            log_probs: dict[str, list[list[float] | None]] = {prompt: [] for prompt in prompts}
            columns = (table.column(name).to_pylist() for name in ("prompt", "text", "log_probs"))
            for prompt, text, of_tokens in zip(*columns, strict=True):
                texts[prompt].append(text)
                log_probs[prompt].append(of_tokens)
            scores = score_cell(
                texts,
                words=tuple(spec["words"]),
                metrics=names,
                vectors=vectors,
                quality=_quality(spec.get("world"), prompts),
                controlled=spec["controlled"],
                markers=[*markers, *json.loads(metadata.get("markers", "[]"))],
            )
            # Columns that one of the two does not have are null there.
            scores = pa.concat_tables([scores, entropy_scores(log_probs)], promote_options="default")
            store.write_table("scores", key, scores)
        for column in ("temperature", "format", "prompts"):
            scores = scores.add_column(0, column, pa.array([identity[column]] * scores.num_rows, pa.string()))
        parts.append(scores)
    write_sealed(pa.concat_tables(parts), output, {"model": canonical(asdict(model))})


def _quality(
    world_spec: Mapping[str, Any] | None, prompts: Mapping[str, Sequence[Any]]
) -> dict[str, Callable[[str, str], float | None]]:
    """Quality scores that exist for these prompts: accepted answers, and the annotators' utility in the nano world."""
    functions: dict[str, Callable[[str, str], float | None]] = {}
    if any(entry[3] for entry in prompts.values()):
        from modecollapse.metrics.quality import contains_answer

        functions["correct"] = lambda prompt, text: contains_answer(text, prompts[prompt][3])
    if world_spec is not None:
        from modecollapse.data.nano.world import World, WorldSettings

        world = World(WorldSettings.model_validate(world_spec["settings"], strict=False))
        functions["utility"] = lambda prompt, text: world.utility(prompts[prompt][1], text)
    return functions
