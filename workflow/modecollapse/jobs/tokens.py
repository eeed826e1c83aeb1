"""Token-level statistics of one model on held-out text."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modecollapse.cells import Model
from modecollapse.digests import digest
from modecollapse.generation.progress import reporter
from modecollapse.identities import identity_metadata
from modecollapse.jobs.running import Job, device
from modecollapse.manifest import read_manifest
from modecollapse.measures.tokens import TokenSettings, token_statistics
from modecollapse.sealed import SEAL, SealedTexts, read_metadata
from modecollapse.store import Store
from modecollapse.unfinished import Unfinished

logger = logging.getLogger(__name__)


def measure_tokens(
    spec: Mapping[str, Any],
    identity: Model,
    model: tuple[Path, Path],
    reference: tuple[Path, Path],
    documents: Path,
    outputs: tuple[Path, Path],
    store: Store,
    job: Job,
    save_seconds: float = 60.0,
) -> None:
    """Write the document and vocabulary statistics of one model; KL is against `reference`, its first stage.

    A job that was killed goes on from the sums that it kept in the store last.

    Args:
        spec: the tokens spec.
        model: manifest and weights.
        reference: manifest and weights of the model's root.
        documents: sealed Parquet with `text`.
        outputs: files for the document and the vocabulary table.
        store: where a finished result is found again.
        job: the running job, to count imports as start-up.
        save_seconds: time between two savings of unfinished sums at least.

    Raises:
        CorruptFile: an input is not what was published.
        Stopped: the process was asked to stop; its sums are kept in the store.
    """
    digests = {}
    for role, (manifest, weights) in {"model": model, "reference": reference}.items():
        read = read_manifest(manifest)
        read.verify(weights)
        digests[role] = read.weights
    texts = SealedTexts(documents, "text")
    key = digest({"spec": spec, "of": str(identity), **digests, "documents": read_metadata(documents)[SEAL]})
    kinds = ("token_documents", "token_vocabulary")
    if all([store.restore_table(kind, key, path) for kind, path in zip(kinds, outputs, strict=True)]):
        logger.info("both tables came back from the store")
        return
    job.load("torch", "transformers:AutoModelForCausalLM", "transformers.modeling_utils")
    settings = TokenSettings.model_validate(spec["settings"], strict=False)
    progress = reporter(f"documents of {identity}")
    with store.locked(key):
        unfinished = Unfinished(
            lambda: store.read_table("state", key),
            lambda sums: store.write_table("state", key, sums),
            save_seconds,
        )
        tables = token_statistics(
            model[1], reference[1], texts, settings, spec["threads"], device(), progress, unfinished
        )
        for table, path, kind in zip(tables, outputs, kinds, strict=True):
            store.publish_table(kind, key, table, path, identity_metadata(identity))
        store.drop_state(key)
