"""Data sets that a model writes: preference pairs among its answers, labelled by their scores or by annotators, or
candidates that are to be labelled."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from modecollapse.data.columns import TASK
from modecollapse.data.nano.world import World
from modecollapse.digests import canonical, digest
from modecollapse.errors import StudyError
from modecollapse.jobs.answer_sources import AnswerSources, world_of
from modecollapse.labelling.candidates import Scored, candidate_table
from modecollapse.labelling.settings import COSINE
from modecollapse.methods.answer_distances import DISTANCES, Distance, cosine_distances
from modecollapse.methods.answers_file import by_prompt
from modecollapse.methods.base import RewardSource
from modecollapse.methods.pair_choice import (
    Pair,
    RepetitionCounts,
    best_and_worst,
    better_and_worse,
    candidates,
    clean_and_repetitive,
    farthest,
    first_two,
    preferred,
)
from modecollapse.methods.reward_functions import ANNOTATORS
from modecollapse.methods.selection import Answer, Counts
from modecollapse.metrics.repetition import find_repetition
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import SEAL, read_metadata, read_sealed
from modecollapse.store import Store
from modecollapse.unfinished import Unfinished

if TYPE_CHECKING:
    from modecollapse.methods.sampled_answers import Asked

logger = logging.getLogger(__name__)


def sample_pairs(
    spec: Mapping[str, Any],
    name: str,
    sources: AnswerSources,
    prompts: Path,
    output: Path,
    store: Store,
    load: Callable[..., None],
    save_seconds: float = 60.0,
) -> None:
    """Publish preference pairs among the answers of a model: `prompt`, `chosen`, `rejected`, and `task` if prompts do.

    If the spec says so, candidates are published instead, unlabelled (`labelling.candidates.SCHEMA`). A job that was
    killed goes on after the answers that it kept in the store last. The file's metadata has `counts`: what became of
    all answers.

    Args:
        spec: the spec of a sampled set.
        name: what it is called, for the progress.
        sources: the model that answers, and what scores.
        prompts: sealed Parquet with `prompt`.
        output: the file.
        store: where a finished result is found again.
        load: called with the libraries to import before the clock of the work starts.
        save_seconds: time between two savings of unfinished work at least.

    Raises:
        CorruptFile: an input is not what was published.
        StudyError: no pair is left, or as `ask` and `sample_answers`.
        Stopped: the process was asked to stop; what it has is kept in the store.
    """
    digests = sources.digests()
    table = read_sealed(prompts)
    digests["prompts"] = read_metadata(prompts)[SEAL]
    key = digest({"spec": spec, **digests})
    if store.restore_table("sampled", key, output):
        logger.info("the pairs came back from the store")
        return
    load("torch", "transformers:AutoModelForCausalLM", "modecollapse.methods.sampled_answers")
    with store.locked(key):
        unfinished = Unfinished(
            lambda: store.read_table("state", key),
            lambda answers: store.write_table("state", key, answers),
            save_seconds,
        )
        answers, asked = _answers(spec, name, sources, prompts, unfinished)
        pairs, counts = _pairs(spec, by_prompt(answers), asked)
        if not pairs:
            way = "Raise max_new_tokens, so that answers end, or raise temperature or n, so that they differ."
            if isinstance(counts, RepetitionCounts):
                way = "Raise n or count, so that some prompts have both a clean and a repetitive answer."
            raise StudyError(f"{name}: no pair is left. {counts}. {way}")
        logger.info("%s: %s", name, counts)
        # No names in it: equal data under two names have the same file.
        metadata = {"spec": canonical(dict(spec)), **digests, "counts": canonical(asdict(counts))}
        published = _candidates if spec.get("publishes") == "candidates" else _table
        found = published(spec, pairs, answers["prompt"].to_pylist(), table)
        store.publish_table("sampled", key, found, output, metadata)
        store.drop_state(key)


def _answers(
    spec: Mapping[str, Any], name: str, sources: AnswerSources, prompts: Path, unfinished: Unfinished
) -> "tuple[pa.Table, Asked]":
    from modecollapse.generation.models import load_causal_model
    from modecollapse.generation.progress import reporter
    from modecollapse.jobs.running import device
    from modecollapse.methods.examples import read_texts
    from modecollapse.methods.sampled_answers import Sampling, ask, sample_answers
    from modecollapse.methods.scoring import Scorer, Unscored, open_scorer

    settings, threads = spec["sampling"], spec["threads"]
    model = load_causal_model(sources.weights, spec["dtype"], threads, device())
    asked = ask(
        model,
        PromptFormat.from_spec("train_format", spec["format"]),
        read_texts(prompts, ("prompt",))["prompt"],
        settings["count"],
        spec["seed"],
        None if model.context is None else model.context - settings["max_new_tokens"],
        "truncate",
        prompts,
    )
    scorer: Scorer = Unscored()
    if spec["reward"] is not None:
        # The annotators go by the utility, too; their noise comes when they choose.
        reward = RewardSource("utility") if sources.reward == ANNOTATORS else sources.scored_by
        scorer = open_scorer(reward, world_of(spec["reward"]), model.tokenizer, threads, device())
    sampling = Sampling(settings["n"], settings["temperature"], settings["max_new_tokens"], spec["stream"])
    return sample_answers(model, scorer, asked, sampling, unfinished, reporter(f"answers for {name}")), asked


def _pairs(
    spec: Mapping[str, Any], answers: Sequence[Sequence[Answer]], asked: "Asked"
) -> tuple[Sequence[Pair], Counts]:
    """(chosen, rejected) for each prompt, or two candidates in any order."""
    from modecollapse.generation.streams import uniforms

    rule = spec.get("choose", {}).get("rule")
    if rule == "repetition":
        return clean_and_repetitive(answers, lambda text, ended: find_repetition(text, ended).any)
    choice = farthest(_distance(spec, answers)) if rule == "most_different" else first_two
    if spec.get("publishes") == "candidates":
        return candidates(answers, choice)
    if spec["reward"].get("function") == ANNOTATORS:
        annotators = World(world_of(spec["reward"])).annotators
        rows = [(str(row), 0) for row in asked.rows]
        drawn = uniforms(f"{spec['stream']}/{ANNOTATORS}", rows, 1)[:, 0]
        return preferred(answers, annotators.preference, drawn, choice)
    return best_and_worst(answers) if rule is None else better_and_worse(answers, choice)


def _distance(spec: Mapping[str, Any], answers: Sequence[Sequence[Answer]]) -> Distance:
    name = spec["choose"]["distance"]
    if name != COSINE:
        return DISTANCES[name]
    from modecollapse.jobs.running import device
    from modecollapse.measures.embedder import EmbedderSettings
    from modecollapse.measures.embedding import embed

    texts = list(dict.fromkeys(answer.text.strip() for each in answers for answer in each if answer.usable))
    settings = EmbedderSettings.model_validate(spec["choose"]["embedder"], strict=False)
    vectors = embed(texts, settings, spec["threads"], device=device()) if texts else ()
    return cosine_distances(dict(zip(texts, vectors, strict=True)))


def _candidates(
    spec: Mapping[str, Any], pairs: Sequence[Pair], prompt_of: Sequence[int], prompts: pa.Table
) -> pa.Table:
    rows = [prompt_of[first.place] for first, _ in pairs]
    taken = prompts.take(pa.array(rows))
    scored = spec["reward"] is not None
    texts = [[Scored(each.text.strip(), each.score if scored else None) for each in pair] for pair in pairs]
    tasks = taken[TASK].to_pylist() if TASK in taken.column_names else None
    return candidate_table(
        rows, taken["prompt"].to_pylist(), [(first, second) for first, second in texts], tasks, spec["seed"]
    )


def _table(_: Mapping[str, Any], pairs: Sequence[Pair], prompt_of: Sequence[int], prompts: pa.Table) -> pa.Table:
    rows = [prompt_of[chosen.place] for chosen, _ in pairs]
    columns = {
        "prompt": prompts["prompt"].take(pa.array(rows)),
        # Training puts exactly one space between prompt and answer.
        "chosen": pa.array([chosen.text.strip() for chosen, _ in pairs], pa.string()),
        "rejected": pa.array([rejected.text.strip() for _, rejected in pairs], pa.string()),
    }
    if TASK in prompts.column_names:
        columns[TASK] = prompts[TASK].take(pa.array(rows))
    return pa.table(columns).combine_chunks()
