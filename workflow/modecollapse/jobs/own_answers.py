"""What a model answers itself, and how likely it finds that: what a perplexity filter sets its bounds by."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modecollapse.digests import canonical, digest
from modecollapse.manifest import read_manifest
from modecollapse.sealed import SEAL, read_metadata
from modecollapse.store import Store
from modecollapse.unfinished import Unfinished

logger = logging.getLogger(__name__)

SCHEMA = pa.schema([("task", pa.string()), ("text", pa.string()), ("ended", pa.bool_()), ("logp", pa.float32())])
"""One row per answer: the task of its prompt (null in a set without tasks), what it says, whether the model ended it,
and the mean log-probability of its tokens in nats, end-of-text token included (null unless it ended and says
something)."""


def sample_own_answers(
    spec: Mapping[str, Any],
    name: str,
    model: tuple[Path, Path],
    prompts: Sequence[Path],
    output: Path,
    store: Store,
    load: Callable[..., None],
    save_seconds: float = 60.0,
) -> None:
    """Publish answers of a model to prompts, with their mean log-probabilities (`SCHEMA`).

    A job that was killed goes on after the answers that it kept in the store last.

    Args:
        spec: the spec of own answers.
        name: what they are called, for the progress.
        model: its manifest and weights.
        prompts: sealed Parquet files with `prompt`, and perhaps `task`, one after another.
        output: the file.
        store: where a finished result is found again.
        load: called with the libraries to import before the clock of the work starts.
        save_seconds: time between two savings of unfinished work at least.

    Raises:
        CorruptFile: an input is not what was published.
        StudyError: as `ask`, `sample_answers` and `load_start`.
        Stopped: the process was asked to stop; what it has is kept in the store.
    """
    from modecollapse.data.sets import read_sets

    manifest = read_manifest(model[0])
    manifest.verify(model[1])
    table = read_sets(prompts)
    digests = {"weights": manifest.weights, "prompts": digest([read_metadata(path)[SEAL] for path in prompts])}
    key = digest({"spec": spec, **digests})
    with store.locked(key):
        # Filters that differ in their percentile have the same answers: the second job waits for those of the first.
        if store.restore_table("answers", key, output):
            logger.info("the answers came back from the store")
            return
        load("torch", "transformers:AutoModelForCausalLM", "modecollapse.methods.likelihood")
        unfinished = Unfinished(
            lambda: store.read_table("state", key),
            lambda answers: store.write_table("state", key, answers),
            save_seconds,
        )
        answers = _answers(spec, name, model[1], table["prompt"].to_pylist(), prompts[0], unfinished)
        # No names in it: equal answers under two names have the same file.
        metadata = {"spec": canonical(dict(spec)), **digests}
        store.publish_table("answers", key, _with_tasks(answers, table), output, metadata)
        store.drop_state(key)


def _answers(
    spec: Mapping[str, Any], name: str, weights: Path, texts: Sequence[str], path: Path, unfinished: Unfinished
) -> pa.Table:
    from modecollapse.generation.progress import reporter
    from modecollapse.jobs.running import device
    from modecollapse.methods.likelihood import LikelihoodScorer
    from modecollapse.methods.reference_file import PairSettings
    from modecollapse.methods.sampled_answers import Sampling, ask, sample_answers
    from modecollapse.methods.start import load_start
    from modecollapse.prompts import PromptFormat

    sampling, settings = spec["sampling"], PairSettings.model_validate(spec["settings"])
    form, where = PromptFormat.from_spec("train_format", spec["format"]), device()
    model = load_start(weights, form, settings.max_length, settings.dtype, None, spec["threads"], where)
    room = settings.max_length - sampling["max_new_tokens"]
    asked = ask(model, form, texts, sampling["count"], spec["seed"], room, "truncate", path)
    scorer = LikelihoodScorer(model, form, settings, where)
    drawing = Sampling(
        sampling["n"], sampling["temperature"], sampling["max_new_tokens"], spec["stream"], settings.dtype
    )
    return sample_answers(model, scorer, asked, drawing, unfinished, reporter(f"own answers for {name}"))


def _with_tasks(answers: pa.Table, prompts: pa.Table) -> pa.Table:
    has = "task" in prompts.column_names
    tasks = prompts["task"].take(answers["prompt"]) if has else pa.nulls(answers.num_rows, pa.string())
    known = pc.if_else(pc.is_nan(answers["score"]), None, answers["score"])
    columns = {"task": tasks, "text": answers["text"], "ended": answers["ended"], "logp": known}
    return pa.table(columns, schema=SCHEMA).combine_chunks()
