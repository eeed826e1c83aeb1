"""Reference log-probabilities: computed once for all stages that are tuned from the same model on the same pairs."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modecollapse.digests import canonical
from modecollapse.generation.progress import reporter
from modecollapse.jobs.running import Job
from modecollapse.manifest import read_manifest
from modecollapse.methods.processes import computes_on
from modecollapse.methods.reference_file import PairSettings, reference_key
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import SEAL, read_metadata, read_sealed
from modecollapse.store import Store
from modecollapse.unfinished import Unfinished

logger = logging.getLogger(__name__)


def score_reference(
    spec: Mapping[str, Any],
    name: str,
    model: tuple[Path, Path],
    data: Path,
    output: Path,
    store: Store,
    job: Job,
    save_seconds: float = 60.0,
) -> None:
    """Publish what a model gives to preference pairs (`methods.reference_file.SCHEMA`).

    A job that was killed goes on after the pairs that it kept in the store last.

    Args:
        spec: the reference spec.
        name: what the model is called, for the progress.
        model: its manifest and weights.
        data: sealed Parquet with `prompt`, `chosen` and `rejected`.
        output: the file.
        store: where a finished result is found again.
        job: the running job: where it computes, and to count imports as start-up.
        save_seconds: time between two savings of unfinished work at least.

    Raises:
        CorruptFile: an input is not what was published.
        StudyError: as `methods.reference.score_pairs`.
        Stopped: the process was asked to stop; what it has is kept in the store.
    """
    manifest = read_manifest(model[0])
    manifest.verify(model[1])
    read_sealed(data, [])
    digests = {"parent": manifest.weights, "data": read_metadata(data)[SEAL]}
    key = reference_key(spec, **digests)
    if store.restore_table("references", key, output):
        logger.info("the log-probabilities came back from the store")
        return
    job.load("torch", "transformers:AutoModelForCausalLM", "modecollapse.methods.reference")
    from modecollapse.methods.reference import score_pairs

    with store.locked(key):
        unfinished = Unfinished(
            lambda: store.read_table("state", key),
            lambda pairs: store.write_table("state", key, pairs),
            save_seconds,
        )
        table = score_pairs(
            model[1],
            data,
            PromptFormat.from_spec("train_format", spec["format"]),
            PairSettings.model_validate(spec["settings"]),
            spec["threads"],
            computes_on(job.layout()),
            reporter(f"pairs in {name}"),
            unfinished,
        )
        # No names in it: equal models under two names have the same file.
        store.publish_table("references", key, table, output, {"spec": canonical(dict(spec)), **digests})
        store.drop_state(key)
