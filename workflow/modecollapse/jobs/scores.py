"""Scores of cells."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from modecollapse.cells import Model
from modecollapse.digests import digest
from modecollapse.identities import identity_metadata
from modecollapse.measures.diversity import score_cell
from modecollapse.measures.token_entropy import entropy_scores
from modecollapse.measures.vectors import Embeddings
from modecollapse.metrics.registry import METRICS
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed
from modecollapse.store import Store

logger = logging.getLogger(__name__)


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
        seal, identity = metadata[SEAL], json.loads(metadata["cell"])
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
    write_sealed(pa.concat_tables(parts), output, identity_metadata(model))


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
