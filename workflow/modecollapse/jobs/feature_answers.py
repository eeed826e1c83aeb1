"""What a model answers to the prompts of preference pairs, for its text features."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from modecollapse import stopping
from modecollapse.cells import Model
from modecollapse.data.compared_pairs import pairs_compared
from modecollapse.digests import digest
from modecollapse.errors import StudyError
from modecollapse.generation.progress import reporter
from modecollapse.identities import identity_metadata
from modecollapse.jobs.running import Job, device
from modecollapse.manifest import read_manifest
from modecollapse.measures.asking import AskingSettings
from modecollapse.measures.text_features import ANSWERS
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import SEAL, read_metadata, write_sealed
from modecollapse.store import Store
from modecollapse.unfinished import Unfinished

if TYPE_CHECKING:
    from modecollapse.measures.experimenter import Experimenter, Output

logger = logging.getLogger(__name__)

KIND = "feature_answers"
"""Kind of tables in the store."""

_ROWS = 2**10
"""Answers that are sampled before they are kept, about."""


def answer_pairs(
    spec: Mapping[str, Any],
    identity: Model,
    model: tuple[Path, Path],
    data: Sequence[Path],
    output: Path,
    store: Store,
    job: Job,
    save_seconds: float = 60.0,
) -> None:
    """Publish a model's answers (`measures.text_features.ANSWERS`) to the prompts of sets of preference pairs.

    Those to one set are kept in the store as soon as they are there, and a job that was killed goes on after the
    answers that it kept last.

    Args:
        spec: the spec of feature answers; its `sets` name the files of `data` in their order.
        identity: the model.
        model: its manifest and weights.
        data: sealed Parquet files with `prompt`.
        output: the file.
        store: where a finished result is found again.
        job: the running job, to count imports as start-up.
        save_seconds: time between two savings of unfinished work at least.

    Raises:
        CorruptFile: an input is not what was published.
        StudyError: no prompt of a set leaves room for an answer, or a chat template cannot give one.
        Stopped: the process was asked to stop; what it has is kept in the store.
    """
    manifest, weights = model
    read = read_manifest(manifest)
    read.verify(weights)
    shared = {key: value for key, value in spec.items() if key != "sets"}
    loaded: Experimenter | None = None
    parts = []
    for name, path in zip(spec["sets"], data, strict=True):
        asked = {"set": name, "of": str(identity), "weights": read.weights, "data": read_metadata(path)[SEAL]}
        key = digest({"spec": shared, **asked})
        with store.locked(key):
            table = store.read_table(KIND, key)
            if table is None:
                loaded = loaded or _asking(spec, weights, job)
                unfinished = Unfinished(
                    lambda key=key: store.read_table("state", key),  # type: ignore[misc]
                    lambda answers, key=key: store.write_table("state", key, answers),  # type: ignore[misc]
                    save_seconds,
                )
                stream = f"{spec['sampling']['seed']}/{KIND}/{name}/{identity}"
                table = _answers(spec, stream, loaded, path, name, unfinished)
                store.write_table(KIND, key, table)
                store.drop_state(key)
            parts.append(table.replace_schema_metadata(None))
    write_sealed(pa.concat_tables(parts), output, identity_metadata(identity))


def _asking(spec: Mapping[str, Any], weights: Path, job: Job) -> "Experimenter":
    job.load("torch", "transformers:AutoModelForCausalLM", "transformers.modeling_utils")
    from modecollapse.generation.models import load_causal_model
    from modecollapse.measures.experimenter import Experimenter

    model = load_causal_model(weights, spec["dtype"], spec["threads"], device())
    return Experimenter(model, spec["stop"], spec["rows_per_batch"])


def _rendered(spec: Mapping[str, Any], model: "Experimenter", path: Path) -> dict[str, str]:
    """Row → its prompt as the model is shown it, of those rows that leave room for an answer."""
    form = PromptFormat.from_spec(spec["format"]["name"], spec["format"]["spec"])
    rows, table = pairs_compared(path, spec["count"], spec["sampling"]["seed"])
    prompts = zip(rows, table["prompt"].take(rows).to_pylist(), strict=True)
    rendered = {str(row): model.rendered(form, prompt) for row, prompt in prompts}
    most = spec["sampling"]["max_new_tokens"]
    fitting = {row: text for row, text in rendered.items() if text and model.room(text) >= most}
    if not fitting:
        raise StudyError(
            f"{path}: no prompt leaves room in the model's context for an answer of measures.text_features."
            f"max_new_tokens, {most} tokens. Lower it."
        )
    if len(fitting) < len(rendered):
        logger.warning("%s: %d of %d prompts leave no room for an answer of %d tokens, or are empty, and are left out",
                       path, len(rendered) - len(fitting), len(rendered), most)  # fmt: skip
    return fitting


def _answers(
    spec: Mapping[str, Any], stream: str, model: "Experimenter", path: Path, name: str, unfinished: Unfinished
) -> pa.Table:
    sampling = AskingSettings(**spec["sampling"])
    prompts = list(_rendered(spec, model, path).items())
    size = max(1, _ROWS // sampling.completions)
    table = unfinished.load()
    parts = [] if table is None else [table.replace_schema_metadata(None)]
    done = sum(part.num_rows for part in parts) // sampling.completions
    report = reporter(f"answers to {name}")
    try:
        while done < len(prompts):
            stopping.check()
            asked = dict(prompts[done : done + size])
            # A part by itself, so that a run that goes on draws the same bits.
            parts.append(_table(name, model.outputs(asked, sampling, stream)))
            done += len(asked)
            report(done, len(prompts))
            if done < len(prompts) and unfinished.is_due():
                unfinished.save(pa.concat_tables(parts).combine_chunks())
    except stopping.Stopped:
        if parts:
            unfinished.save(pa.concat_tables(parts).combine_chunks())
        raise
    return pa.concat_tables(parts).combine_chunks()


def _table(name: str, outputs: "Sequence[Output]") -> pa.Table:
    rows = [
        {
            **{"set": name, "item": output.prompt, "sample": output.sample, "text": output.completion.text},
            "ended": output.completion.finish_reason != "length",
        }
        for output in outputs
    ]
    return pa.Table.from_pylist(rows, ANSWERS)
