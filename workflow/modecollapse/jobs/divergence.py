"""How far the answers of one model are from those of its reference."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from modecollapse.cells import Model
from modecollapse.digests import digest
from modecollapse.generation.progress import reporter
from modecollapse.identities import identity_metadata
from modecollapse.jobs.running import Job, device
from modecollapse.manifest import read_manifest
from modecollapse.prompts import PromptFormat, PromptSet
from modecollapse.rendering import render
from modecollapse.store import Store

logger = logging.getLogger(__name__)


def measure_divergence(
    spec: Mapping[str, Any],
    identity: Model,
    model: tuple[Path, Path],
    reference: tuple[Path, Path],
    prompts: Mapping[str, PromptSet],
    output: Path,
    store: Store,
    job: Job,
) -> None:
    """Publish `measures.divergence.divergence_table` of every prompt set, with a column `prompts`.

    Args:
        spec: the divergence spec.
        identity: the model.
        model: its manifest and weights.
        reference: those of the reference.
        prompts: the prompt sets by name.
        output: the file.
        store: where a finished result is found again.
        job: the running job, to count imports as start-up.

    Raises:
        CorruptFile: an input is not what was published.
        StudyError: as `divergence_table`.
        Stopped: the process was asked to stop.
    """
    digests = {}
    for role, (manifest, weights) in {"model": model, "reference": reference}.items():
        read = read_manifest(manifest)
        read.verify(weights)
        digests[role] = read.weights
    key = digest({"spec": spec, "of": str(identity), **digests})
    if store.restore_table("divergence", key, output):
        logger.info("the divergence came back from the store")
        return
    job.load("torch", "transformers:AutoModelForCausalLM", "transformers.modeling_utils")
    from modecollapse.generation.models import load_tokenizer
    from modecollapse.measures.divergence import divergence_table

    form = PromptFormat.from_spec(spec["format"]["name"], spec["format"]["spec"])
    tokenizer = load_tokenizer(model[1]) if form.is_chat else None
    parts = []
    with store.locked(key):
        for name, prompt_set in prompts.items():
            rendered = [
                (prompt.id, render(form, tokenizer, prompt.text or "", prompt.start)) for prompt in prompt_set.prompts
            ]
            table = divergence_table(
                model[1],
                reference[1],
                rendered,
                spec["settings"]["samples"],
                spec["max_new_tokens"],
                f"{spec['seed']}/{identity}/{name}",
                spec["threads"],
                device(),
                reporter(f"{name} answers of {identity}"),
            )
            parts.append(table.add_column(0, "prompts", pa.array([name] * table.num_rows)))
        store.publish_table("divergence", key, pa.concat_tables(parts), output, identity_metadata(identity))
